"""The testbed is a real Slurm on nodes that share what machines share, and leaves nothing behind."""

import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from beds import as_user, assert_gone, bareboat, output
from steps import wait_until

from slurm.testbed import Testbed, leftovers, load, names, processes

MEBIBYTE = 2**20
PING = r"""
#include <mpi.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    int rank, size, count = atoi(argv[1]);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    char *data = calloc(count, 1);
    if (size != 2) return 9;
    if (rank == 0) MPI_Send(data, count, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
    else MPI_Recv(data, count, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Finalize();
    return 0;
}
"""


# -- what it is


def test_a_step_runs_on_two_nodes_for_an_unprivileged_user(testbed: Testbed, user: pwd.struct_passwd) -> None:
    lines = output(testbed.run(["srun", "-N2", "-n4", "sh", "-c", "hostname; id -u"], user=user.pw_name))
    assert sorted(set(lines)) == sorted({"n1", "n2", str(user.pw_uid)})
    assert len(lines) == 8


def test_sixteen_tasks_fit_on_one_node(testbed: Testbed) -> None:
    assert output(testbed.run(["srun", "-N1", "-n16", "hostname"])) == ["n1"] * 16


@pytest.mark.parametrize("namespace", ["net", "uts", "ipc", "mnt"])
def test_a_node_has_namespaces_of_its_own(testbed: Testbed, namespace: str) -> None:
    link = f"/proc/self/ns/{namespace}"
    found = output(testbed.run(["srun", "-N2", "readlink", link]))
    assert len({*found, str(Path(link).readlink())}) == 3


@pytest.mark.parametrize("directory", ["/tmp", "/dev/shm", "/run/lock"])
def test_a_node_has_directories_of_its_own(testbed: Testbed, directory: str) -> None:
    name = f"{directory}/bareboat-of-{testbed.name}"
    output(testbed.run(["srun", "-N1", "-w", "n1", "touch", name]))
    seen = testbed.run(["srun", "-l", "-N2", "sh", "-c", f"test -e {name} && echo there || echo not"])
    assert sorted(output(seen)) == ["0: there", "1: not"]
    assert not Path(name).exists()
    output(testbed.run(["srun", "-N1", "-w", "n1", "rm", name]))


def test_a_node_sees_its_own_interfaces_and_the_cgroups(testbed: Testbed) -> None:
    assert output(testbed.enter("n2", ["ls", "/sys/class/net"])) == ["eth0", "lo"]
    inside = output(testbed.enter("n2", ["ls", "/sys/fs/cgroup"]))
    assert inside == sorted(path.name for path in Path("/sys/fs/cgroup").iterdir())


def test_nodes_know_each_other_and_the_host_by_name(testbed: Testbed) -> None:
    known = output(testbed.enter("n1", ["getent", "hosts", "n2", os.uname().nodename.split(".")[0]]))
    assert [line.split()[0] for line in known] == [testbed.state.node_address("n2"), testbed.state.address]


def test_what_the_host_mounts_later_does_not_disturb(testbed: Testbed) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    output(testbed.run(["srun", "-N2", "true"]))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_batch_script_starts_steps_from_its_node(testbed: Testbed, user: pwd.struct_passwd) -> None:
    script = "#!/bin/sh\nhostname\nsrun -N2 -n2 hostname\n"
    submitted = testbed.run(
        ["sbatch", "--wait", "-N2", "-n2", "--output=batch.out"], user=user.pw_name, input=script
    )
    output(submitted)
    assert sorted(Path(user.pw_dir, "batch.out").read_text().split()) == ["n1", "n1", "n2"]


def test_salloc_gives_a_shell_on_the_first_node(testbed: Testbed, user: pwd.struct_passwd) -> None:
    # salloc without a command is an interactive step (use_interactive_step) and wants a terminal.
    shell = testbed.run(
        ["script", "--quiet", "--return", "--command", "salloc -N2", "/dev/null"],
        user=user.pw_name,
        input='echo "at $(hostname) in $SLURM_STEP_ID"; srun -N2 hostname; exit 7\n',
    )
    assert shell.returncode == 7, shell.stdout
    assert "at n1 in 4294967290" in shell.stdout
    assert "\nn2" in shell.stdout.replace("\r", "")


@pytest.mark.parametrize(("compiler", "mpi"), [("mpicc.mpich", "pmi2"), ("mpicc.openmpi", "pmix")])
def test_mpi_sends_its_bytes_over_the_cable_and_only_between_nodes(
    testbed: Testbed, shared_path: Path, user: pwd.struct_passwd, compiler: str, mpi: str
) -> None:
    program = shared_path / "ping"
    (shared_path / "ping.c").write_text(PING)
    subprocess.run([compiler, "-o", program, shared_path / "ping.c"], check=True)

    def sent(*placement: str) -> int:
        before = testbed.counters("n1").sent_bytes
        argv = ["srun", f"--mpi={mpi}", "-n2", *placement, str(program), str(32 * MEBIBYTE)]
        output(testbed.run(argv, user=user.pw_name))
        return testbed.counters("n1").sent_bytes - before

    assert sent("-N2") > 32 * MEBIBYTE
    assert sent("-N1", "-w", "n1") < MEBIBYTE


# -- settings


def test_an_extra_line_reaches_slurm(shared_path: Path) -> None:
    prolog = shared_path / "prolog"
    prolog.write_text("#!/bin/sh\necho export FROM_PROLOG=yes\n")
    prolog.chmod(0o755)
    with Testbed(nodes=1, extra={"TaskProlog": str(prolog)}) as bed:
        assert output(bed.run(["srun", "sh", "-c", "echo $FROM_PROLOG"])) == ["yes"]


def test_job_container_works_on_every_node_every_time() -> None:
    with Testbed(nodes=2, job_container=True) as bed:
        for _ in range(10):
            seen = output(
                bed.run(["srun", "-N2", "sh", "-c", "grep -c '/job_container/.* /tmp ' /proc/self/mountinfo"])
            )
            assert seen == ["1", "1"]


def test_a_plugin_that_is_missing_stops_every_job(testbed: Testbed, shared_path: Path) -> None:
    testbed.set_plugin(shared_path)
    try:
        refused = testbed.run(["srun", "hostname"])
    finally:
        testbed.set_plugin(None)
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert f"{shared_path}/lib/slurm/bareboat.so" in refused.stderr
    assert output(testbed.run(["srun", "hostname"])) == ["n1"]


def test_two_side_by_side(testbed: Testbed) -> None:
    with Testbed(nodes=1) as other:
        ours, theirs = testbed.state, other.state
        for name in ("name", "index", "port", "subnet", "bridge", "address"):
            assert getattr(ours, name) != getattr(theirs, name)
        assert {ours.name, theirs.name} <= set(names())
        clusters = [output(bed.run(["srun", "printenv", "SLURM_CLUSTER_NAME"])) for bed in (testbed, other)]
        assert clusters == [[ours.name], [theirs.name]]
    assert_gone(theirs)
    assert output(testbed.run(["srun", "hostname"])) == ["n1"]


# -- the command


def test_env_is_for_everybody(testbed: Testbed, user: pwd.struct_passwd) -> None:
    # Not the tree's own interpreter: its home may be closed to this user.
    lines = output(bareboat("env", "--name", testbed.name))
    shell = f"{lines[0]}; srun -N2 hostname"
    result = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, user=user.pw_uid, group=user.pw_gid, check=False
    )
    assert sorted(output(result)) == ["n1", "n2"]


def test_the_command_from_up_to_down() -> None:
    name = f"cli{os.getpid()}"
    try:
        up = bareboat("up", "--nodes", "3", "--name", name, "--set", "KillWait=7")
        assert "is up: 3 nodes, n1, n2, n3." in "\n".join(output(up))
        assert f"{name}: up, nodes n1,n2,n3" in "\n".join(output(bareboat("list")))
        again = bareboat("up", "--name", name)
        assert again.returncode == 125
        assert f"there is a testbed called '{name}' already" in again.stderr
        assert "hint: take it down" in again.stderr
        record = load(name)
    finally:
        gone = bareboat("down", "--name", name)
    assert output(gone) == [f"The testbed {name} is gone."]
    assert_gone(record)
    assert output(bareboat("down", "--name", name)) == []


@pytest.mark.parametrize("arguments", [("--nodes", "0"), ("--mpi", "x"), ("--set", "x"), ("--set", "=x")])
def test_a_wrong_request_is_a_usage_error(arguments: tuple[str, str]) -> None:
    refused = bareboat("up", *arguments)
    assert refused.returncode == 2
    assert "Error: Invalid value for" in refused.stderr


def test_only_root_makes_a_testbed(user: pwd.struct_passwd) -> None:
    text, hint = as_user(user, Testbed().up)
    assert text.startswith(f"a testbed is made by root, not by user {user.pw_uid}: it needs networks")
    assert hint.startswith("use sudo")


def test_a_nodes_slurmd_comes_back_in_its_own_namespaces() -> None:
    with Testbed(nodes=2) as bed:
        assert bed.enter("n1", ["touch", "/run/mark"]).returncode == 0
        old = bed.process("slurmd n1")
        with bed.without_slurmd("n1"):
            assert not processes.is_alive(old)
        assert bed.process("slurmd n1") != old
        assert output(bed.run(["srun", "-w", "n1", "ls", "/run/mark"])) == ["/run/mark"]
        sleep = subprocess.Popen(["srun", "-w", "n1", "sleep", "1000"], env=os.environ | bed.environment)
        network = processes.network_of(str(bed.directory / "nodes/n1/net"))
        assert network is not None
        marks = processes.Marks(Path("/nowhere"), frozenset(), frozenset({network}))
        wait_until(lambda: "sleep" in {process.role for process in processes.find(marks)})
        with bed.without_slurmd("n1", lost=True):
            assert processes.find(marks) == ()
            output(bed.run(["scancel", "--user=root"]))
            sleep.wait(timeout=60)


def test_what_is_left_on_a_node_is_seen(testbed: Testbed) -> None:
    slurmd = testbed.process("slurmd n1").pid
    output(testbed.enter("n1", ["mkdir", "-p", "/run/mount"]))  # mount(8) would
    before = leftovers.take_node(slurmd)
    make = "mkdir /run/left; mount -t tmpfs none /run/left; touch /run/left/file"
    (sleep,) = output(testbed.enter("n1", ["sh", "-c", f"{make}; sleep 1000 > /dev/null 2>&1 & echo $!"]))
    wanted = {"/run/left", "/run/left/file", f"process {sleep} (sleep, S)"}

    def seen() -> set[str]:
        return {thing.removeprefix("on the node: ") for thing in leftovers.take_node(slurmd) - before}

    try:
        wait_until(lambda: wanted <= seen())
        (mount,) = (thing for thing in seen() if thing.startswith("mount "))
        assert mount.endswith(" of tmpfs on /run/left")
    finally:
        os.kill(int(sleep), signal.SIGKILL)
        output(testbed.enter("n1", ["sh", "-c", "umount /run/left; rmdir /run/left"]))
    wait_until(lambda: not leftovers.take_node(slurmd) - before)
