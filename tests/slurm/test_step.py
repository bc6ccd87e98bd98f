"""What real steps say of themselves is what read_step understands."""

import json
import pwd
from pathlib import Path

import pytest

from slurm.step import Pmi, StepFacts, StepKind, read_step
from slurm.testbed import Testbed

SHOW = """
import json, os, sys
print(json.dumps([dict(os.environ), os.path.realpath("/proc/self/cwd")]))
"""


def facts_of(text: str, *argv: str) -> StepFacts:
    environment, cwd = json.loads(text)
    return read_step(environment, argv=argv, cwd=cwd)


@pytest.mark.parametrize(("mpi", "pmi"), [("none", Pmi.NONE), ("pmi2", Pmi.PMI2), ("pmix", Pmi.PMIX)])
def test_a_step_of_two_nodes(testbed: Testbed, user: pwd.struct_passwd, mpi: str, pmi: Pmi) -> None:
    # A file for each rank: srun writes long lines in pieces, one rank's between another's.
    argv = ["srun", f"--mpi={mpi}", "-N2", "-n3", "--output=facts-%t", "/usr/bin/python3", "-I", "-c", SHOW]
    done = testbed.run(argv, user=user.pw_name)
    assert done.returncode == 0, done.stderr
    facts = [facts_of(Path(user.pw_dir, f"facts-{rank}").read_text()) for rank in range(3)]
    assert [one.node_name for one in facts] == ["n1", "n1", "n2"]
    assert [one.local_task_count for one in facts] == [2, 2, 1]
    assert {(one.kind, one.step_id, one.node_count, one.task_count) for one in facts} == {
        (StepKind.STEP, 0, 2, 3)
    }
    assert {one.cwd for one in facts} == {user.pw_dir}
    assert {one.pmi for one in facts} == {pmi}
    spool = f"{testbed.directory}/spool/pmix.{facts[0].job_id}.0"
    assert {one.pmi_dirs for one in facts} == {(("/tmp", spool) if pmi is Pmi.PMIX else ())}


def test_all_that_a_pmix_server_opens_lies_in_its_directories(
    testbed: Testbed, user: pwd.struct_passwd
) -> None:
    # Every path that the server gives to a rank, and every file of the step's that it made on the node.
    find = "subprocess.run(['find', *sys.argv[1:]], text=True, capture_output=True)"
    show = f"{SHOW}\nimport subprocess\nprint({find}.stdout)"
    spool = str(testbed.directory / "spool")
    argv = ["srun", "--mpi=pmix", "/usr/bin/python3", "-I", "-c", show, spool, "/tmp", "/run", "/dev/shm"]
    done = testbed.run(argv, user=user.pw_name)
    assert done.returncode == 0, done.stderr
    first, *files = done.stdout.splitlines()
    facts = facts_of(first)
    given = [value for name, value in facts.environment if name.startswith("PMIX_") and value.startswith("/")]
    made = [
        path for path in files if "pmix" in path and not path.endswith(f"stepd.slurm.pmix.{facts.job_id}.0")
    ]
    assert len(made) > 3
    for path in (*given, *made):
        if f"{facts.job_id}.0" in path:
            assert any(Path(path).is_relative_to(directory) for directory in facts.pmi_dirs), path


def test_a_batch_script_knows_its_spool_directory(testbed: Testbed, user: pwd.struct_passwd) -> None:
    script = f"#!/bin/sh\necho $0; ls $(dirname $0); /usr/bin/python3 -I -c '{SHOW}'\n"
    out = Path(user.pw_dir, "step.out")
    argv = ["sbatch", "--wait", "-N2", "-n4", f"--output={out}"]
    done = testbed.run(argv, user=user.pw_name, input=script)
    assert done.returncode == 0, done.stderr
    argv0, listed, shown = out.read_text().splitlines()
    assert listed == "slurm_script"
    facts = facts_of(shown, argv0)
    assert (facts.kind, facts.step_id, facts.task_count) == (StepKind.BATCH, None, 1)
    assert facts.spool_dir == f"{testbed.directory}/spool/job{facts.job_id:05d}"


def test_a_batch_script_submitted_by_a_step_is_known_as_one(
    testbed: Testbed, user: pwd.struct_passwd
) -> None:
    inner = Path(user.pw_dir, "inner.sh")
    inner.write_text(f"#!/bin/sh\necho $0; /usr/bin/python3 -I -c '{SHOW}'\n")
    out = Path(user.pw_dir, "inner.out")
    submit = ["srun", "-n2", "--mpi=pmix", "sh", "-c"]
    command = f"test $SLURM_PROCID = 1 || sbatch --wait -n1 --output={out} {inner}"
    done = testbed.run([*submit, command], user=user.pw_name)
    assert done.returncode == 0, done.stderr
    argv0, shown = out.read_text().splitlines()
    facts = facts_of(shown, argv0)
    assert (facts.kind, facts.step_id) == (StepKind.BATCH, None)
    assert (facts.task_count, facts.local_task_count) == (1, 1)
