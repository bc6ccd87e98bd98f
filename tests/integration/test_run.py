"""`bareboat run`, `plan`, `doctor` and the plugin's entry, with real images, namespaces and MPIs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from launcher.apply import check
from launcher.errors import BareboatError
from launcher.host import find_libexec
from launcher.program import Verb, decode

HELLO = "/opt/bareboat-tests/bin/mpi_hello"
Run = subprocess.CompletedProcess[str]
Image = Callable[[str], Path]


def bareboat(
    *arguments: object,
    cwd: Path | str = "/",
    input: str | None = None,
    under: tuple[str, ...] = (),
    **more: str,
) -> Run:
    """Run the command with a clean environment and ``more`` of it; ``under`` goes before the command."""
    return start([*under, sys.executable, "-m", "launcher.cli", *map(str, arguments)], cwd, more, input)


def start(argv: list[str], cwd: Path | str, more: Mapping[str, str], input: str | None = None) -> Run:
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", **more}
    return subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        input=input,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        timeout=120,
    )


def out(done: Run) -> str:
    """What it printed, after a check that it ended well and complained of nothing."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    """Every file of a tree with its mode, size and time of change."""
    found = []
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = Path(directory, name)
            status = path.lstat()
            found.append((str(path), status.st_mode, status.st_size, status.st_ctime_ns))
    return sorted(found)


@pytest.fixture
def plain(image: Image) -> Path:
    return image("deb13-plain")


@pytest.fixture
def mpich(image: Image) -> Path:
    return image("deb13-mpich")


@pytest.fixture
def tiny(shared_path: Path) -> Path:
    """A root of a shell, cat and ls of this host, with their libraries and not one mount point."""
    root = shared_path / "tiny"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in ("sh", "cat", "ls", "mkdir"):
        program = Path("/bin", name).resolve()
        shutil.copy(program, root / "usr/bin" / name)
        listed = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for library in (word for word in listed.split() if word.startswith("/")):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    return root


# What the program meets


def test_the_root_is_the_images_and_the_program_this_process(plain: Path) -> None:
    assert "trixie" in out(bareboat("run", plain, "--", "cat", "/etc/os-release"))


def test_dashes_may_be_left_out(plain: Path) -> None:
    assert out(bareboat("run", plain, "echo", "-n", "--", "a")) == "-- a"


def test_the_programs_exit_code_signal_and_streams_are_its_own(plain: Path) -> None:
    assert bareboat("run", plain, "--", "sh", "-c", "exit 7").returncode == 7
    assert bareboat("run", plain, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert out(bareboat("run", plain, "--", "cat", input="hello")) == "hello"


def test_the_user_is_known_and_the_same(plain: Path) -> None:
    done = bareboat(
        "run", plain, "--", "sh", "-c", "id -u; id -un; getent passwd $(id -u) | cut -d: -f6; pwd"
    )
    entry = pwd.getpwuid(os.getuid())
    assert out(done).split() == [str(entry.pw_uid), entry.pw_name, entry.pw_dir, "/"]


def test_no_privileges_can_be_gained_and_run_is_fresh(plain: Path) -> None:
    done = bareboat(
        "run", plain, "--", "sh", "-c", "grep NoNewPrivs /proc/self/status; ls -A /run; stat -fc %T /run"
    )
    assert out(done).split() == ["NoNewPrivs:", "1", "tmpfs"]


def test_the_environment_is_the_jobs_with_the_images_path(plain: Path) -> None:
    done = bareboat(
        "run",
        plain,
        "--",
        "sh",
        "-c",
        'echo "$A|$PATH|$LD_PRELOAD|$LD_LIBRARY_PATH"',
        A="b",
        LD_LIBRARY_PATH="/x",
    )
    assert out(done) == "b|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin||\n"
    kept = bareboat(
        "run",
        plain,
        "--",
        "sh",
        "-c",
        "echo $LD_LIBRARY_PATH",
        LD_LIBRARY_PATH="/x",
        BAREBOAT_PASS="LD_LIBRARY_PATH",
    )
    assert out(kept) == "/x\n"


def test_no_descriptor_of_ours_is_left_to_the_program(plain: Path) -> None:
    assert out(bareboat("run", plain, "--", "sh", "-c", "ls /proc/$$/fd")).split() == ["0", "1", "2"]


def test_the_working_directory_is_bound_where_the_image_lacks_it(plain: Path, shared_path: Path) -> None:
    where = shared_path / "job dir"
    where.mkdir()
    done = bareboat("run", "--without", "tmp", plain, "--", "sh", "-c", "pwd; echo x > made", cwd=where)
    assert out(done) == f"{where}\n"
    assert (where / "made").read_text() == "x\n"


def test_a_working_directory_whose_name_is_no_utf8_works(plain: Path, shared_path: Path) -> None:
    where = os.fsencode(shared_path) + b"/\xff\xfe"
    Path(os.fsdecode(where)).mkdir()
    done = bareboat("run", "--without", "tmp", plain, "--", "pwd", cwd=os.fsdecode(where))
    assert os.fsencode(out(done)) == where + b"\n"


# Mounts


def test_mounts_are_made_where_the_image_has_nothing(plain: Path, shared_path: Path) -> None:
    (shared_path / "file").write_text("text\n")
    done = bareboat(
        *("run", "--mount", f"{shared_path}/file:/new/place/file", plain, "--"),
        *("sh", "-c", "cat /new/place/file; echo 1 > /data/rw/made; echo 2 > /data/ro/made || echo refused"),
        BAREBOAT_MOUNTS=f"{shared_path}:/data/rw,{shared_path}:/data/ro:ro",
    )
    assert done.stdout == "text\nrefused\n"
    assert (shared_path / "made").read_text() == "1\n"


def test_a_relative_mount_is_of_the_working_directory(plain: Path, shared_path: Path) -> None:
    (shared_path / "sub").mkdir()
    (shared_path / "sub/file").write_text("text\n")
    done = bareboat("run", "--mount", "sub:/x", plain, "--", "cat", "/x/file", cwd=shared_path)
    assert out(done) == "text\n"


def test_a_missing_mount_is_named(plain: Path) -> None:
    done = bareboat("run", plain, "--", "true", BAREBOAT_MOUNTS="/none/x:/y")
    assert done.returncode == 125
    assert done.stderr == (
        "bareboat: error: cannot mount /none/x: it does not exist, or you cannot reach it\n"
        "bareboat: hint: check BAREBOAT_MOUNTS and --mount; the path must exist on every node of the step\n"
    )


def test_a_prolog_of_the_tasks_does_nothing_inside(plain: Path, shared_path: Path) -> None:
    prolog = shared_path / "prolog"
    prolog.write_text("#!/none\n")
    done = bareboat(
        *("run", plain, "--", "sh", "-c", f"/etc/slurm/prolog && {prolog} && echo fine"),
        SLURM_BAREBOAT_TASK_PROLOGS=f"/etc/slurm/prolog:{prolog}",
    )
    assert out(done) == "fine\n"


def test_a_root_without_mount_points_starts_and_stays_as_it_was(tiny: Path) -> None:
    before = snapshot(tiny)
    done = bareboat(
        "run", tiny, "--", "sh", "-c", "cat /proc/1/comm > /dev/null; ls -d /sys /dev/shm /run /etc/passwd"
    )
    assert out(done).split() == ["/dev/shm", "/etc/passwd", "/run", "/sys"]
    assert bareboat("run", tiny, "--", "mkdir", "/made").returncode != 0
    assert snapshot(tiny) == before


def test_links_of_an_image_lead_nowhere_outside(tiny: Path, shared_path: Path) -> None:
    secret = shared_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("host\n")
    (tiny / "up").symlink_to("../../../../../../../.." + str(secret))
    (tiny / "absolute").symlink_to(secret)
    for name in ("up", "absolute"):
        mounted = bareboat(
            *("run", "--without", "tmp,cwd", "--mount", "/etc/hostname:/" + name + "/new/x", tiny, "--"),
            *("sh", "-c", f"cat /{name}/new/x >/dev/null; cat /{name}/file"),
        )
        assert mounted.returncode == 1
        assert "No such file or directory" in mounted.stderr
    assert sorted(path.name for path in secret.iterdir()) == ["file"]


def test_each_part_of_the_view_can_be_left_out(plain: Path) -> None:
    done = bareboat(
        "run", "--without", "dev,home,users", plain, "--", "sh", "-c", "ls -A /root /dev/shm; echo fine"
    )
    assert done.stdout.endswith("fine\n")
    assert done.returncode == 0


# Programs that cannot be run


@pytest.mark.parametrize(
    ("program", "code", "text"),
    [
        (
            "nope",
            127,
            "cannot run 'nope': it is not in the container's PATH (/usr/local/sbin:/usr/local/bin:",
        ),
        ("/opt/nope", 127, "cannot run /opt/nope: it is not in the container"),
        ("/etc/passwd", 126, "cannot run /etc/passwd: it is not executable by you"),
        ("/etc", 126, "cannot run /etc: it is a directory"),
    ],
)
def test_a_program_that_cannot_be_run_is_named(plain: Path, program: str, code: int, text: str) -> None:
    done = bareboat("run", plain, "--", program)
    assert done.returncode == code
    assert done.stderr.startswith(f"bareboat: error: {text}")


def test_a_missing_interpreter_is_named(plain: Path, shared_path: Path) -> None:
    script = shared_path / "script"
    script.write_text("#!/usr/bin/nothing\n")
    script.chmod(0o755)
    done = bareboat("run", plain, "--", script)
    assert done.returncode == 127
    assert done.stderr.startswith(
        f"bareboat: error: cannot run {script}: its interpreter /usr/bin/nothing is not in the container\n"
    )


def test_an_image_of_another_architecture_is_refused(tiny: Path) -> None:
    for path in (tiny / "usr/bin").iterdir():
        data = bytearray(path.read_bytes())
        data[18:20] = (183).to_bytes(2, "little")
        path.write_bytes(data)
    done = bareboat("run", tiny, "--", "sh")
    assert done.returncode == 125
    assert done.stderr.startswith(f"bareboat: error: the image {tiny} is for aarch64, this host is x86_64\n")


def test_without_user_namespaces_the_reason_is_told(plain: Path) -> None:
    without = ("unshare", "--user", "--map-root-user", "sh", "-c")
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = bareboat("run", plain, "--", "true", under=(*without, script, "sh"))
    assert done.returncode == 125
    assert done.stderr == (
        "bareboat: error: cannot make a container: user namespaces are switched off on this host "
        "(/proc/sys/user/max_user_namespaces is 0)\n"
        "bareboat: hint: ask its administrator for: sysctl user.max_user_namespaces=15000\n"
    )
    doctor = bareboat("doctor", under=(*without, script, "sh"))
    assert doctor.returncode == 125
    assert "failed  user namespaces  switched off: user.max_user_namespaces is 0\n" in doctor.stdout
    assert "-> sysctl -w user.max_user_namespaces=15000\n" in doctor.stdout


def test_an_interrupt_during_the_start_ends_it(plain: Path, shared_path: Path) -> None:
    # A FIFO as configuration holds the start up at a known place.
    fifo = shared_path / "fifo.toml"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "launcher.cli", "run", "--config", str(fifo), str(plain), "--", "true"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, fifo.open("w"):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


# MPI


@pytest.mark.parametrize(
    ("name", "library"), [("deb13-mpich", "MPICH Version: 4.0.2"), ("deb13-openmpi", "Open MPI v4.1.4")]
)
def test_the_program_calls_the_hosts_mpi(image: Image, name: str, library: str) -> None:
    for mode in ("auto", "host"):
        done = bareboat("run", image(name), "--", HELLO, BAREBOAT_MPI=mode)
        assert f"rank 0 of 1 on {os.uname().nodename} library {library}" in out(done)


def test_the_images_mpi_on_demand(mpich: Path) -> None:
    assert "MPICH Version:      4.2" in out(bareboat("run", "--mpi", "image", mpich, "--", HELLO))


def test_a_host_that_is_too_new_is_refused_with_library_and_symbol(image: Image) -> None:
    done = bareboat("run", image("deb11-mpich"), "--", HELLO)
    assert done.returncode == 125
    assert done.stderr.startswith(
        f"bareboat: error: this host's MPI cannot take the place of that in {image('deb11-mpich')}: "
    )
    assert "libmpich.so.12" in done.stderr
    assert "GLIBC_2.34" in done.stderr
    assert "BAREBOAT_MPI=image" in done.stderr.splitlines()[1]


def test_force_swaps_all_the_same_and_warns(image: Image) -> None:
    done = bareboat("run", "--mpi", "force", image("deb11-mpich"), "--", HELLO)
    assert done.stderr.startswith("bareboat: warning: the host's MPI does not fit and is used all the same: ")
    assert "GLIBC_2.34' not found" in done.stderr
    assert done.returncode == 1


def test_an_image_without_mpi_runs_unless_the_hosts_is_demanded(plain: Path) -> None:
    assert out(bareboat("run", plain, "--", "true")) == ""
    done = bareboat("run", "--mpi", "host", plain, "--", "true")
    assert done.returncode == 125
    assert done.stderr.splitlines()[0] == (
        "bareboat: error: BAREBOAT_MPI=host, and there is no MPI in /usr/bin/true to put the host's in place of"
    )


# Planning and the plugin's entry


def test_a_plan_changes_nothing_and_says_what_a_run_does(mpich: Path) -> None:
    before = snapshot(mpich / "etc")
    document = json.loads(out(bareboat("plan", "--json", mpich, "--", HELLO)))
    text = out(bareboat("plan", mpich, "--", HELLO))
    assert snapshot(mpich / "etc") == before
    targets = [op["args"][1] for op in document["operations"] if op["verb"] == "bind"]
    assert document["mpi"]["verdict"] == "native"
    assert document["program"]["path"] == HELLO
    for target in targets:
        assert target in text
    check = " ".join(f"[ -e {target} ] &&" for target in targets)
    assert out(bareboat("run", mpich, "--", "sh", "-c", f"{check} echo all")) == "all\n"


def test_a_plan_that_nobody_reads_ends_quietly(plain: Path) -> None:
    command = f"{sys.executable} -m launcher.cli plan {plain} | true"
    done = start(["sh", "-c", command], "/", {})
    assert (done.returncode, done.stderr) == (0, "")


def step(*argv: str, cwd: str = "/", **variables: str) -> Run:
    return start([sys.executable, "-I", "-m", "launcher.step", "--", *argv], cwd, variables)


def test_the_plugins_entry_writes_the_program(mpich: Path) -> None:
    done = step(HELLO, SLURM_CONTAINER=str(mpich), SLURM_JOB_ID="1", SLURM_STEP_ID="0")
    operations = decode(os.fsencode(out(done)))
    assert operations[0].args == (str(mpich),)
    assert any(op.verb is Verb.BIND and op.args[1].startswith("/run/bareboat/mpi/") for op in operations)


def test_the_plugins_entry_warns_of_a_program_that_slurm_will_not_find(plain: Path) -> None:
    done = step("nope", SLURM_CONTAINER=str(plain), SLURM_JOB_ID="1", SLURM_STEP_ID="0")
    assert done.returncode == 0
    assert done.stderr.startswith("bareboat: warning: cannot run 'nope': it is not in the container's PATH")


def test_the_plugins_entry_binds_the_spool_of_a_batch_script(plain: Path, shared_path: Path) -> None:
    spool = shared_path / "job00007"
    spool.mkdir()
    (spool / "slurm_script").write_text("#!/bin/nosuch\n")
    (spool / "slurm_script").chmod(0o700)
    done = step(
        *(str(spool / "slurm_script"),),
        **{"SLURM_CONTAINER": str(plain), "SLURM_JOB_ID": "7", "BAREBOAT_WITHOUT": "tmp"},
    )
    assert done.returncode == 0
    bound = [op.args for op in decode(os.fsencode(done.stdout)) if op.verb is Verb.BIND]
    assert (str(spool), str(spool), "rw,optional") in bound
    assert "its interpreter /bin/nosuch is not in the container" in done.stderr


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "SLURM_CONTAINER is not set: there is no image to run"),
        ({"SLURM_CONTAINER": "/none"}, "the image /none does not exist"),
        (
            {"SLURM_CONTAINER": "/etc/passwd"},
            "/etc/passwd is not an image: it is a file of no known image format",
        ),
        ({"SLURM_CONTAINER": "/etc", "SLURM_JOB_ID": "x"}, "SLURM_JOB_ID is 'x', which is not a number"),
    ],
)
def test_the_plugins_entry_says_what_failed(variables: dict[str, str], text: str) -> None:
    done = step("true", **variables)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"bareboat: error: {text}\n")


def test_the_core_refuses_what_is_no_program() -> None:
    with pytest.raises(
        BareboatError, match=r"cannot read the program at record 1: not a program of bareboat"
    ) as caught:
        check(b"nonsense\0")
    assert isinstance(caught.value.__cause__, OSError)


def test_the_doctor_finds_this_host_fit() -> None:
    done = bareboat("doctor", SLURM_CONF="/none")
    lines = {line[8:].split("  ")[0]: line.split()[0] for line in done.stdout.splitlines() if line[:1] != " "}
    for name in ("kernel", "user namespaces", "overlay", "bareboat-enter", "configuration", "host MPI"):
        assert lines[name] == "ok"
    assert done.stderr == ""


# As an unprivileged user


@pytest.fixture
def prefix(shared_path: Path) -> Iterator[Path]:
    """The compiled programs where every user can reach them; this tree may be root's alone."""
    target = shared_path / "prefix/libexec/bareboat"
    target.mkdir(parents=True)
    for name in ("bareboat-enter", "noop"):
        shutil.copy(Path(find_libexec(), name), target / name)
    yield shared_path / "prefix"


def as_user(account: pwd.struct_passwd, prefix: Path, *arguments: object, **variables: str) -> Run:
    """Run the command in a child that becomes ``account`` after everything is imported."""
    import launcher.apply
    import launcher.explain
    import launcher.launch
    import launcher.messages
    from launcher import _core, cli  # noqa: F401

    launcher.messages.known_errors()
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        try:
            for (_, write), number in zip(pipes, (1, 2), strict=True):
                os.dup2(write, number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.initgroups(account.pw_name, account.pw_gid)
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            os.chdir(account.pw_dir)
            os.environ.clear()
            os.environ.update({"HOME": account.pw_dir, "PATH": "/usr/bin:/bin", **variables})
            sys.argv = ["bareboat", *map(str, arguments)]
            sys.prefix = str(prefix)
            cli.main()
        except SystemExit as error:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.code if isinstance(error.code, int) else 1)
        finally:
            os._exit(99)
    texts = []
    for _, write in pipes:
        os.close(write)
    for read, _ in pipes:
        with os.fdopen(read, encoding="utf-8") as pipe:
            texts.append(pipe.read())
    _, status = os.waitpid(child, 0)
    return subprocess.CompletedProcess(tuple(map(str, arguments)), os.waitstatus_to_exitcode(status), *texts)


def test_a_user_runs_mpi_in_an_image_that_is_roots(
    user: pwd.struct_passwd, prefix: Path, mpich: Path
) -> None:
    done = as_user(user, prefix, "run", mpich, "--", HELLO)
    assert "library MPICH Version: 4.0.2" in out(done)


def test_a_user_is_that_user_at_home_and_nothing_more(
    user: pwd.struct_passwd, prefix: Path, plain: Path
) -> None:
    script = "id -u; id -g; id -un; pwd; echo x > made; cat made; cat /etc/shadow || echo closed"
    done = as_user(user, prefix, "run", plain, "--", "sh", "-c", script)
    home = user.pw_dir
    expected = [str(user.pw_uid), str(user.pw_gid), user.pw_name, home, "x", "closed"]
    assert done.stdout.split() == expected
    assert Path(home, "made").stat().st_uid == user.pw_uid


def test_a_user_starts_a_root_without_mount_points(user: pwd.struct_passwd, prefix: Path, tiny: Path) -> None:
    before = snapshot(tiny)
    assert out(as_user(user, prefix, "run", tiny, "--", "sh", "-c", "ls -d /proc/self; pwd")).split() == [
        "/proc/self",
        user.pw_dir,
    ]
    assert snapshot(tiny) == before
