"""`bareboat run`: what a program meets in a container, and what is said of one that cannot be run."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launching import bareboat, make_tiny, out, snapshot


@pytest.fixture
def tiny(shared_path: Path) -> Path:
    return make_tiny(shared_path)


# What the program meets


def test_the_root_is_the_images_and_the_program_this_process(plain: Path) -> None:
    assert "trixie" in out(bareboat("run", plain, "--", "cat", "/etc/os-release"))


def test_dashes_may_be_left_out(plain: Path) -> None:
    assert out(bareboat("run", plain, "echo", "-n", "--", "a")) == "-- a"


def test_the_programs_exit_code_signal_and_streams_are_its_own(plain: Path) -> None:
    assert bareboat("run", plain, "--", "sh", "-c", "exit 7").returncode == 7
    assert bareboat("run", plain, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert out(bareboat("run", plain, "--", "cat", input="hello")) == "hello"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_closed_streams(tiny: Path, closed: str) -> None:
    packed = tiny.with_suffix(".sqsh")
    subprocess.run(["mksquashfs", tiny, packed, "-no-progress", "-quiet"], check=True, timeout=60)
    under = ("sh", "-c", f'exec "$0" "$@" {closed}')
    for image in (tiny, packed):
        done = bareboat("run", image, "--", "sh", "-c", "echo inside >&2; exit 7", under=under)
        assert (done.returncode, done.stdout, done.stderr) == (7, "", "inside\n")


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
