"""What the tests of squashfs images share."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

from steps import wait_until

from slurm.testbed import Testbed


def pack(directory: Path, file: Path, *options: str) -> Path:
    """Make a squashfs file of a directory, readable by all."""
    file.unlink(missing_ok=True)
    argv = ["mksquashfs", str(directory), str(file), "-no-progress", "-quiet", *options]
    subprocess.run(argv, check=True, capture_output=True, timeout=250)
    file.chmod(0o644)
    return file


def servers(user: pwd.struct_passwd) -> list[int]:
    """The pids of the user's FUSE servers that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
            if name == "squashfuse_ll" and rest[1] != "Z" and process.stat().st_uid == user.pw_uid:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def loops(file: Path) -> list[str]:
    """The loop devices that the file is behind."""
    paths = Path("/sys/block").glob("loop*/loop/backing_file")
    return [path.parts[3] for path in paths if path.read_text().strip() == str(file)]


class Step:
    """A step that runs until it is told to go on."""

    def __init__(self, cluster: Testbed, user: pwd.struct_passwd, directory: Path, *arguments: str) -> None:
        self.go, self.started = directory / "go", directory / "started"
        script = f"echo >> {self.started}; until [ -e {self.go} ]; do sleep 0.05; done; cat /etc/os-release"
        self.process = subprocess.Popen(
            ["srun", *arguments, "sh", "-c", script],
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, ranks: int = 1) -> None:
        wait_until(lambda: self.started.exists() and len(self.started.read_text().splitlines()) >= ranks)

    def end(self) -> tuple[int, str, str]:
        self.go.touch()
        output, errors = self.process.communicate(timeout=120)
        return self.process.returncode, output, errors


def complete(root: Path) -> Path:
    """Give a tiny image all mount points, so that it is "/" itself, without an overlay."""
    for name in ("proc", "sys", "dev", "tmp", "var/tmp", "run", "etc", "home"):
        (root / name).mkdir(parents=True)
    for name in ("passwd", "group", "hosts", "resolv.conf", "hostname", "localtime", "os-release"):
        (root / "etc" / name).touch()
    return root


def make_null(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    path.chmod(0o666)


def processes_of(running: Step) -> tuple[list[int], list[int]]:
    """The pids of a step's ranks and of the slurmstepd above them."""
    ranks, daemons = [], set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:2] == [b"-c"] and str(running.started).encode() in words[2]:
                ranks.append(int(process.name))
                stat = (process / "stat").read_text()
                daemons.add(int(stat.rpartition(")")[2].split()[1]))
        except OSError:
            continue
    return ranks, sorted(daemons)
