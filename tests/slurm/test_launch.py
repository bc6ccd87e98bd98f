"""`srun --container=IMG app` on a real Slurm of two nodes, as an unprivileged user."""

from __future__ import annotations

import os
import pty
import pwd
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.testbed import Testbed

HELLO = "/opt/bareboat-tests/bin/mpi_hello"
LATENCY = "/opt/bareboat-tests/bin/mpi_latency"
Run = subprocess.CompletedProcess[str]
Srun = Callable[..., Run]


@pytest.fixture
def mpich(image: Callable[[str], Path]) -> Path:
    return image("deb13-mpich")


@pytest.fixture
def plain(image: Callable[[str], Path]) -> Path:
    return image("deb13-plain")


@pytest.fixture
def srun(cluster: Testbed, user: pwd.struct_passwd) -> Srun:
    """Runs ``srun ARGS`` as the user, with the given variables on top of a clean environment."""

    def run(*arguments: object, input: str | None = None, cwd: str | None = None, **variables: str) -> Run:
        argv = ["srun", *map(str, arguments)]
        return cluster.run(argv, user=user.pw_name, environment=variables, input=input, cwd=cwd)

    return run


def good(result: Run) -> list[str]:
    """Its lines, after a check that it succeeded and said nothing on standard error."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


# -- the main job


def test_ranks_on_two_nodes_call_the_hosts_mpi(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N2", "-n4", "--ntasks-per-node=2", f"--container={mpich}", HELLO))
    found = sorted(re.findall(r"rank (\d) of 4 on (n[12]) library MPICH Version: 4\.0\.2", "\n".join(lines)))
    assert found == [("0", "n1"), ("1", "n1"), ("2", "n2"), ("3", "n2")]


def test_the_images_own_mpi_when_asked_for(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N2", "-n4", f"--container={mpich}", HELLO, BAREBOAT_MPI="image"))
    assert len(lines) == 4
    assert all(
        re.fullmatch(r"rank \d of 4 on n[12] library MPICH Version:\s+4\.2\.1", line) for line in lines
    )


def test_the_ranks_of_a_node_share_their_namespaces(srun: Srun, mpich: Path) -> None:
    script = "echo $(hostname) $(readlink /proc/self/ns/user) $(readlink /proc/self/ns/mnt)"
    lines = good(srun("-N2", "-n6", "--ntasks-per-node=3", f"--container={mpich}", "sh", "-c", script))
    outside = good(srun("-N2", "-n2", "sh", "-c", script))
    assert len(lines) == 6
    assert len(set(lines)) == 2
    assert not {line.split()[1] for line in lines} & {line.split()[1] for line in outside}


def test_ranks_of_a_node_read_each_others_memory(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N1", "-n3", f"--container={mpich}", HELLO, "--cma"))
    assert [line for line in lines if "cma" in line] == [line for line in lines if "cma ok" in line] != []


def test_bytes_between_nodes_cross_the_cable(cluster: Testbed, srun: Srun, mpich: Path) -> None:
    payload = 1 << 20
    rounds = 20
    before = cluster.counters("n1")
    good(
        srun(
            "-N2",
            "-n2",
            f"--container={mpich}",
            LATENCY,
            "latency",
            "-m",
            f"{payload}:{payload}",
            "-i",
            rounds,
        )
    )
    after = cluster.counters("n1")
    assert after.sent_bytes - before.sent_bytes > payload * rounds
    assert after.received_bytes - before.received_bytes > payload * rounds


def test_the_same_with_open_mpi_and_pmix(srun: Srun, image: Callable[[str], Path]) -> None:
    directory = image("deb13-openmpi")
    arguments = ("--mpi=pmix", "-N2", "-n4", "--ntasks-per-node=2", f"--container={directory}")
    lines = good(srun(*arguments, HELLO))
    found = sorted(re.findall(r"rank (\d) of 4 on (n[12]) library Open MPI v4\.1\.4", "\n".join(lines)))
    assert found == [("0", "n1"), ("1", "n1"), ("2", "n2"), ("3", "n2")]
    assert "cma ok" in "\n".join(
        good(srun("--mpi=pmix", "-N1", "-n2", f"--container={directory}", HELLO, "--cma"))
    )


def test_open_mpi_of_the_image_speaks_pmix_with_slurm(srun: Srun, image: Callable[[str], Path]) -> None:
    directory = image("deb13-openmpi")
    result = srun("--mpi=pmix", "-N2", "-n2", f"--container={directory}", HELLO, BAREBOAT_MPI="image")
    lines = [line for line in result.stdout.splitlines() if line.startswith("rank")]
    assert len(lines) == 2
    assert all("of 2" in line and "library Open MPI v5.0" in line for line in lines)


# -- what stays Slurm's


def test_exit_codes_are_the_programs(srun: Srun, plain: Path) -> None:
    assert srun(f"--container={plain}", "sh", "-c", "exit 42").returncode == 42
    assert srun(f"--container={plain}", "true").returncode == 0


def test_signals_are_the_programs(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "sh", "-c", "kill -USR1 $$")
    assert result.returncode == 128 + signal.SIGUSR1
    assert "User defined signal 1" in result.stderr


def test_standard_input_and_labels(srun: Srun, plain: Path) -> None:
    lines = good(srun("-n2", "--label", f"--container={plain}", "cat", input="from outside\n"))
    assert sorted(lines) == ["0: from outside", "1: from outside"]


def test_multi_prog(srun: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    Path(user.pw_dir, "multi.conf").write_text("0 /bin/echo first\n1-2 /bin/echo other %t\n")
    lines = good(srun("-n3", "--multi-prog", f"--container={plain}", "multi.conf"))
    assert sorted(lines) == ["first", "other 1", "other 2"]


def test_a_terminal(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    main, side = pty.openpty()
    try:
        process = subprocess.Popen(
            ["srun", "--pty", f"--container={plain}", "sh", "-c", "tty; cat /etc/debian_version"],
            stdin=side,
            stdout=side,
            stderr=side,
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
        )
        os.close(side)
        assert process.wait(timeout=60) == 0
        text = b""
        while select.select([main], [], [], 0.5)[0]:
            try:
                text += os.read(main, 4096)
            except OSError:
                break
    finally:
        os.close(main)
    assert re.match(rb"/dev/pts/\d+\r\n13\.", text)


def test_a_step_without_the_flag_is_outside(srun: Srun) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    assert good(srun("cat", "/etc/debian_version")) == [host]
    assert good(srun("cat", "/etc/debian_version", SLURM_CONTAINER="/left/behind")) == [host]


def test_no_variables_but_slurms(srun: Srun, plain: Path) -> None:
    result = srun(
        "--export=NONE", f"--container={plain}", "sh", "-c", "echo [$MINE]; cat /etc/debian_version", MINE="x"
    )
    lines = good(result)
    assert lines[0] == "[]"
    assert lines[1].startswith("13.")


def test_no_new_privileges(srun: Srun, plain: Path) -> None:
    assert good(srun(f"--container={plain}", "grep", "NoNewPrivs", "/proc/self/status")) == ["NoNewPrivs:\t1"]


# -- sbatch and salloc


def test_a_batch_script_in_a_container(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    script = "#!/bin/sh\ncat /etc/debian_version\necho $SLURM_CONTAINER\nexit 3\n"
    result = cluster.run(
        ["sbatch", "--wait", f"--container={plain}", "--output=batch.out"], user=user.pw_name, input=script
    )
    assert result.returncode == 3
    version, container = Path(user.pw_dir, "batch.out").read_text().split()
    assert version.startswith("13.")
    assert container == str(plain)


def test_a_batch_scripts_missing_interpreter_is_named(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    result = cluster.run(
        ["sbatch", "--wait", f"--container={plain}", "--output=batch.out"],
        user=user.pw_name,
        input="#!/opt/not/there/perl\n",
    )
    assert result.returncode != 0
    assert "its interpreter /opt/not/there/perl" in Path(user.pw_dir, "batch.out").read_text()


def test_steps_of_a_batch_script(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    script = (
        f"#!/bin/sh\ncat /etc/debian_version\nsrun cat /etc/debian_version\n"
        f"srun --container={plain} cat /etc/debian_version\nsrun cat /etc/debian_version\n"
    )
    command = ["sbatch", "--wait", "--output=batch.out"]
    assert cluster.run(command, user=user.pw_name, input=script).returncode == 0
    outside, step, inside, again = Path(user.pw_dir, "batch.out").read_text().split()
    assert outside == step == again == host
    assert inside.startswith("13.")


def test_a_nested_step_does_not_inherit_the_container(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    command = ["salloc", f"--container={plain}", "srun", "cat", "/etc/debian_version"]
    assert cluster.run(command, user=user.pw_name).stdout.split() == [host]


def test_the_interactive_step_of_salloc(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    text = cluster.run(
        ["script", "-qec", f"salloc --container={plain}", "/dev/null"],
        user=user.pw_name,
        input="cat /etc/debian_version; exit\n",
    ).stdout
    assert re.search(r"13\.\d+\s", text)


# -- the image


def test_a_path_relative_to_the_submitting_directory(srun: Srun, plain: Path) -> None:
    lines = good(srun(f"--container=./{plain.name}", "cat", "/etc/debian_version", cwd=str(plain.parent)))
    assert lines[0].startswith("13.")
    lines = good(srun(f"--container={plain.name}/../{plain.name}", "id", "-u", cwd=str(plain.parent)))
    assert lines[0].isdigit()


def test_an_image_without_mount_points_starts_and_stays_unchanged(srun: Srun, tiny: Path) -> None:
    before = sorted(str(path) for path in tiny.rglob("*"))
    script = "ls /proc/self/ns/user /sys/class /dev/null /dev/shm -d; touch /x; ls -d /home; pwd"
    result = srun(f"--container={tiny}", "sh", "-c", script)
    assert "touch: /x: Read-only file system" in result.stderr
    assert result.stdout.splitlines()[:4] == ["/dev/null", "/dev/shm", "/proc/self/ns/user", "/sys/class"]
    assert sorted(str(path) for path in tiny.rglob("*")) == before


def test_links_that_point_outside_lead_nowhere(srun: Srun, tiny: Path) -> None:
    (tiny / "etc").mkdir()
    (tiny / "etc/hosts").symlink_to("/../../../../../../etc/shadow")
    (tiny / "outside").symlink_to("../../../../../../../../../../home")
    (tiny / "tmp").symlink_to("/absolute/elsewhere")
    lines = good(srun(f"--container={tiny}", "sh", "-c", "cat /etc/hosts | wc -l; ls -d /tmp/. /outside/."))
    assert int(lines[0]) > 0
    assert lines[1:] == ["/outside/.", "/tmp/."]


def test_the_view_of_the_host(srun: Srun, plain: Path, user: pwd.struct_passwd, cluster: Testbed) -> None:
    Path(user.pw_dir, "mine").write_text("at home\n")
    script = "id -un; cat ~/mine; pwd; grep -c n1 /etc/hosts; ls -d /tmp /dev/shm; echo $KEPT $PATH"
    lines = good(srun(f"--container={plain}", "sh", "-c", script, KEPT="kept"))
    assert lines[:3] == [user.pw_name, "at home", user.pw_dir]
    assert int(lines[3]) > 0
    assert lines[6].startswith("kept /usr/local/sbin:")


def test_the_hosts_preloads_stay_outside(srun: Srun, plain: Path) -> None:
    lines = good(
        srun(
            f"--container={plain}",
            "sh",
            "-c",
            "echo [$LD_PRELOAD$LD_LIBRARY_PATH]",
            LD_LIBRARY_PATH="/x",
            LD_PRELOAD="",
        )
    )
    assert lines == ["[]"]


def test_mounts_that_the_user_adds(srun: Srun, plain: Path, shared_path: Path) -> None:
    (shared_path / "data").write_text("data\n")
    shared_path.chmod(0o777)
    mounts = f"{shared_path}:/mnt:ro,{shared_path}:/made/here,{shared_path}"
    script = f"cat /mnt/data /made/here/data {shared_path}/data; touch /made/here/new; touch /mnt/no"
    result = srun(f"--container={plain}", "sh", "-c", script, BAREBOAT_MOUNTS=mounts)
    assert result.stdout.splitlines() == ["data"] * 3
    assert (shared_path / "new").exists()
    assert "Read-only file system" in result.stderr


def test_views_that_the_user_switches_off(srun: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    result = srun("--chdir=/", f"--container={plain}", "ls", "-d", user.pw_dir, BAREBOAT_WITHOUT="home,cwd")
    assert result.returncode == 2
    assert "No such file or directory" in result.stderr


# -- job_container/tmpfs, prologs


def test_under_job_container_tmpfs(prefix: Path, mpich: Path, user: pwd.struct_passwd) -> None:
    with Testbed(nodes=2, job_container=True, plugin=prefix) as bed:
        lines = good(bed.run(["srun", "-N2", "-n4", f"--container={mpich}", HELLO], user=user.pw_name))
        assert len([line for line in lines if "MPICH Version: 4.0.2" in line]) == 4
        script = "touch /tmp/seen && ls /tmp"
        argv = ["srun", "--quiet", "-N1", f"--container={mpich}", "sh", "-c", script]
        assert good(bed.run(argv, user=user.pw_name)) == ["seen"]
        assert not Path("/tmp/seen").exists()


@pytest.fixture
def prologs(shared_path: Path) -> Path:
    site = shared_path / "site.sh"
    site.write_text(
        "#!/bin/sh\necho export FROM_SITE=$SLURM_PROCID\necho print site prolog\necho unset UNWANTED\n"
    )
    users = shared_path / "user.sh"
    users.write_text(f"#!/bin/sh\necho export FROM_USER=$(cat /etc/debian_version)\ntest -e {shared_path}\n")
    bad = shared_path / "bad.sh"
    bad.write_text("#!/bin/sh\nexit 7\n")
    for script in (site, users, bad):
        script.chmod(0o755)
    return shared_path


def test_prologs_run_on_the_host_and_change_the_environment(
    prefix: Path, plain: Path, user: pwd.struct_passwd, prologs: Path
) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    with Testbed(nodes=1, plugin=prefix, extra={"TaskProlog": str(prologs / "site.sh")}) as bed:
        argv = ["srun", "-n2", f"--task-prolog={prologs / 'user.sh'}", f"--container={plain}"]
        result = bed.run(
            [
                *argv,
                "sh",
                "-c",
                "echo $SLURM_PROCID $FROM_SITE $FROM_USER [$UNWANTED] $(cat /etc/debian_version)",
            ],
            user=user.pw_name,
            environment={"UNWANTED": "x"},
        )
        lines = sorted(good(result))
        assert lines[:2] == [line.strip() for line in lines[:2]]
        assert [line for line in lines if line == "site prolog"] == ["site prolog"] * 2
        for rank in ("0", "1"):
            assert any(re.fullmatch(rf"{rank} {rank} {re.escape(host)} \[\] 13\..*", line) for line in lines)
        bare = bed.run(["srun", "--quiet", "sh", "-c", "echo $FROM_SITE"], user=user.pw_name)
        assert good(bare) == ["site prolog", "0"]


def test_a_failing_prolog_is_named(cluster: Testbed, srun: Srun, plain: Path, prologs: Path) -> None:
    result = srun(f"--task-prolog={prologs / 'bad.sh'}", f"--container={plain}", "true")
    assert result.returncode == 7
    assert f"bareboat: n1: --task-prolog {prologs / 'bad.sh'} failed with exit code 7\n" in result.stderr
    result = srun("--task-prolog=/not/there", f"--container={plain}", "true")
    assert result.returncode == 125
    assert (
        "bareboat: n1: --task-prolog /not/there is missing or not executable on this node\n" in result.stderr
    )


# -- the end of a step


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["scancel", "interrupt"])
def test_a_step_that_is_ended_leaves_nothing(
    cluster: Testbed, mpich: Path, user: pwd.struct_passwd, how: str
) -> None:
    """Interrupted while it starts and while it runs; the leftover check of every test does the rest."""
    for moment in (0.05, 0.15, None):
        marker = Path(user.pw_dir, "started")
        marker.unlink(missing_ok=True)
        process = subprocess.Popen(
            [
                "srun",
                "-N2",
                "-n4",
                "--job-name=ended",
                f"--container={mpich}",
                "sh",
                "-c",
                "touch ~/started; sleep 300",
            ],
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if moment is None:
            wait_until(marker.exists)
        else:
            time.sleep(moment)
        if how == "scancel":
            cluster.run(["scancel", "--name=ended", "--user", user.pw_name])
            wait_until(lambda: not cluster.run(["squeue", "-h", "--name=ended"]).stdout.strip())
        while process.poll() is None:
            # srun asks for a second SIGINT within a second before it gives up a running step.
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.3)
        assert process.returncode != 0
    wait_until(lambda: not cluster.run(["squeue", "-h"]).stdout.strip())
    assert set(cluster.run(["sinfo", "-h", "-o", "%T"]).stdout.split()) <= {"idle", "completing"}


# -- refusals: one message a node, exit code 125, no node drained


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing", "the image {path} does not exist"),
        ("closed", "permission"),
        ("file", "{path} is not an image"),
        ("empty", "{path} is not an image"),
    ],
)
def test_what_is_no_image_is_refused(
    cluster: Testbed, srun: Srun, shared_path: Path, name: str, text: str
) -> None:
    path = shared_path / name
    if name in {"closed", "empty"}:
        path.mkdir(mode=0o700 if name == "closed" else 0o755)
    if name == "file":
        path.write_text("text\n")
    result = srun("-N2", "-n4", f"--container={path}", "true")
    assert result.returncode == 125
    errors = [
        line for line in result.stderr.splitlines() if line.startswith("bareboat: ") and "error:" in line
    ]
    assert [line.split(":")[1].strip() for line in sorted(errors)] == ["n1", "n2"]
    assert all(text.format(path=path).lower() in line.lower() for line in errors)
    assert set(cluster.run(["sinfo", "-h", "-o", "%T"]).stdout.split()) <= {"idle", "completing"}


def test_a_host_mpi_that_does_not_fit_is_refused_with_the_reason(
    srun: Srun, image: Callable[[str], Path]
) -> None:
    directory = image("deb11-mpich")
    result = srun("-n2", f"--container={directory}", HELLO)
    assert result.returncode == 125
    assert "GLIBC_2.3" in result.stderr
    assert "libmpich.so" in result.stderr
    lines = good(srun("-n2", f"--container={directory}", HELLO, BAREBOAT_MPI="image"))
    assert all("MPICH Version:\t3.4" in line or "MPICH Version: 3.4" in line for line in lines)


def test_no_mpi_is_an_error_only_where_one_is_asked_for(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "true", BAREBOAT_MPI="host")
    assert result.returncode == 125
    assert "BAREBOAT_MPI=host, and there is no MPI in" in result.stderr
    assert good(srun(f"--container={plain}", "true")) == []


def test_programs_that_cannot_run_are_named(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "nosuchprogram")
    assert result.returncode == 2
    assert "cannot run 'nosuchprogram': it is not in the container's PATH" in result.stderr
    result = srun(f"--container={plain}", "/etc/passwd")
    assert result.returncode == 13
    assert "/etc/passwd" in result.stderr
    assert "not executable" in result.stderr


def test_a_missing_bind_source_is_named(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "true", BAREBOAT_MOUNTS="/not/there:/mnt")
    assert result.returncode == 125
    assert "/not/there" in result.stderr


def test_an_image_of_another_architecture_is_named(srun: Srun, tiny: Path) -> None:
    program = tiny / "bin/busybox"
    data = bytearray(program.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # e_machine of AArch64 (elf(5))
    program.write_bytes(data)
    result = srun(f"--container={tiny}", "true")
    assert result.returncode == 125
    assert "aarch64" in result.stderr
    assert os.uname().machine in result.stderr


def test_an_oci_conf_is_refused_on_the_submitting_side(cluster: Testbed, srun: Srun, plain: Path) -> None:
    conf = cluster.directory / "oci.conf"
    conf.write_text('RunTimeRun="true"\n')
    try:
        result = srun(f"--container={plain}", "true")
        bare = srun("true")
    finally:
        conf.unlink()
    assert result.returncode == 125
    assert f"this cluster has {conf}, so Slurm would start its own container runtime" in result.stderr
    assert bare.returncode == 0


def test_an_empty_image_name_is_a_usage_error(srun: Srun) -> None:
    result = srun("--container=", "true")
    assert result.returncode in {2, 255}


def test_a_prefix_that_a_node_lacks_is_named(cluster: Testbed, srun: Srun, prefix: Path, plain: Path) -> None:
    python = prefix / "venv/bin/python"
    hidden = python.with_name("python.hidden")
    python.rename(hidden)
    try:
        result = srun(f"--container={plain}", "true")
    finally:
        hidden.rename(python)
    assert result.returncode == 125
    assert f"cannot run {python}: it is missing or not executable on this node" in result.stderr
