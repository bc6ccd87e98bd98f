"""Facts of steps, from environments as Slurm 22.05 really set them."""

import pytest

from slurm.errors import SlurmError
from slurm.step import Pmi, StepKind, read_pmi, read_pmi_dirs, read_step

PMI2 = {
    "HOME": "/home/u",
    "PMI_FD": "11",
    "PMI_JOBID": "1.0",
    "PMI_RANK": "0",
    "SLURMD_NODENAME": "n2",
    "SLURM_CONF": "/state/slurm.conf",
    "SLURM_JOBID": "1",
    "SLURM_JOB_ID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "3",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_TASKS_PER_NODE": "8,8",
    "SRUN_DEBUG": "3",
    "TMPDIR": "/tmp",
}
PMIX = {
    "PMIX_DSTORE_21_BASE_PATH": "/spool/pmix.2.0//pmix_dstor_ds21_25484",
    "PMIX_NAMESPACE": "slurm.pmix.2.0",
    "PMIX_RANK": "0",
    "PMIX_SERVER_TMPDIR": "/spool/pmix.2.0/",
    "PMIX_SERVER_URI4": "pmix-server.25484;tcp4://127.0.0.1:48669",
    "PMIX_SYSTEM_TMPDIR": "/tmp",
}
BATCH = {
    "SLURM_JOB_ID": "3",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "8",
    "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "4(x2)",
    "SLURMD_NODENAME": "n1",
}
SCRIPT = "/spool/job00003/slurm_script"


def test_a_step() -> None:
    facts = read_step(PMI2, argv=("app", "-x"), cwd="/home/u")
    assert (facts.kind, facts.job_id, facts.step_id) == (StepKind.STEP, 1, 0)
    assert (facts.node_id, facts.node_name, facts.node_count) == (1, "n2", 2)
    assert (facts.task_count, facts.local_task_count) == (3, 1)
    assert (facts.cwd, facts.spool_dir) == ("/home/u", None)
    assert (facts.pmi, facts.pmi_dirs) == (Pmi.PMI2, ())


def test_only_variables_of_slurm_and_pmi_are_taken() -> None:
    names = [name for name, _ in read_step(PMI2, argv=("app",), cwd="/").environment]
    assert names == sorted(set(PMI2) - {"HOME", "TMPDIR"})


def test_a_batch_script() -> None:
    facts = read_step(BATCH, argv=(SCRIPT, "arg"), cwd="/home/u")
    assert (facts.kind, facts.step_id, facts.spool_dir) == (StepKind.BATCH, None, "/spool/job00003")
    assert (facts.node_count, facts.task_count, facts.local_task_count) == (1, 1, 1)


def test_a_batch_script_submitted_from_within_a_step_is_none_the_less_one() -> None:
    inherited = BATCH | {"SLURM_STEP_ID": "7", "SLURM_STEP_NUM_TASKS": "5"}
    facts = read_step(inherited, argv=(SCRIPT,), cwd="/")
    assert (facts.kind, facts.step_id, facts.task_count) == (StepKind.BATCH, None, 1)


@pytest.mark.parametrize("argv0", ["slurm_script", "/spool/job00004/slurm_script", "/spool/job00003/other"])
def test_a_script_that_only_looks_like_slurms_has_no_spool_directory(argv0: str) -> None:
    facts = read_step(BATCH | {"SLURM_STEP_ID": "0"}, argv=(argv0,), cwd="/")
    assert (facts.kind, facts.spool_dir) == (StepKind.STEP, None)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("4294967291", StepKind.BATCH),
        ("4294967292", StepKind.EXTERN),
        ("4294967290", StepKind.INTERACTIVE),
        ("0", StepKind.STEP),
    ],
)
def test_the_numbers_that_slurm_sets_aside(number: str, kind: StepKind) -> None:
    assert read_step({"SLURM_JOB_ID": "1", "SLURM_STEP_ID": number}, argv=("sh",), cwd="/").kind is kind


def test_outside_of_slurm_and_in_the_shell_of_salloc() -> None:
    assert read_step({}, argv=(), cwd="/").kind is StepKind.NONE
    facts = read_step({"SLURM_JOB_ID": "9", "SLURM_NTASKS": "4"}, argv=("sh",), cwd="/")
    assert (facts.kind, facts.job_id, facts.task_count) == (StepKind.NONE, 9, 1)


def test_pmix_is_found_with_its_directories_each_once() -> None:
    assert read_pmi(PMIX | PMI2) is Pmi.PMIX
    assert read_pmi_dirs(PMIX) == ("/spool/pmix.2.0", "/tmp")


def test_a_server_that_listens_on_a_socket_in_the_file_system() -> None:
    old = PMIX | {"PMIX_SERVER_URI": "ns.0:usock:/run/pmix/s.1:0666"}
    assert read_pmi_dirs(old) == ("/run/pmix", "/spool/pmix.2.0", "/tmp")


def test_leftovers_of_pmix_outside_of_it_bind_nothing() -> None:
    assert read_pmi_dirs({"PMIX_SERVER_TMPDIR": "/spool/pmix.2.0"}) == ()


def test_what_slurm_would_not_say_is_an_error_with_the_name() -> None:
    with pytest.raises(SlurmError, match="SLURM_JOB_ID is 'x', which is not a number"):
        read_step({"SLURM_JOB_ID": "x"}, argv=(), cwd="/")
    with pytest.raises(SlurmError, match="'2,,1', which is not a list such as"):
        read_step(PMI2 | {"SLURM_STEP_TASKS_PER_NODE": "2,,1"}, argv=("a",), cwd="/")
