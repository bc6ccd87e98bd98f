"""``bareboat doctor``: tries each prerequisite once, and says how to mend what fails."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launcher.apply import check, find_enter
from launcher.config import find_config, read_config
from launcher.errors import BareboatError
from launcher.host import read_max_user_namespaces
from launcher.image.root import find_server
from launcher.namespaces import Failure, try_mount, try_overlay
from launcher.program import Operation, Verb, encode

KERNEL = (5, 14)
_SLURM_CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf")
_LIMIT = 30
"""Longest time that a trial may take, in seconds."""


class Status(StrEnum):
    """How a check ended; a NOTE does not keep a launch from working."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One prerequisite: what was found, and how to mend it."""

    name: str
    status: Status
    text: str
    mend: str = ""


def examine(environment: Mapping[str, str], *, config: str | None = None) -> tuple[Check, ...]:
    """Try every prerequisite on this host.  Changes nothing that outlives the call."""
    slurm = find_slurm_configuration(environment)
    return (
        check_kernel(os.uname().release),
        check_namespaces(try_mount(), read_max_user_namespaces(), read_switch),
        check_overlay(try_overlay()),
        _check_enter(),
        _check_configuration(environment, config),
        _check_mpi(environment, config),
        check_filesystem(_read("/proc/filesystems"), "squashfs"),
        _check_device("/dev/loop-control", "loop devices", "squashfs images of the store", "modprobe loop"),
        check_fuse(_mode_of("/dev/fuse")),
        _check_server(environment, config),
        check_plugin(slurm, read_plugstack(slurm) if slurm else ()),
        check_oci(slurm),
    )


def failed(checks: Iterable[Check]) -> bool:
    """Whether a prerequisite is missing without which nothing can be launched here."""
    return any(item.status is Status.FAILED for item in checks)


def to_text(checks: Iterable[Check]) -> str:
    """Write one line a check, and below it how to mend what did not succeed."""
    checks = tuple(checks)
    width = max(len(item.name) for item in checks)
    lines = []
    for item in checks:
        lines.append(f"{item.status:6}  {item.name:{width}}  {item.text}")
        if item.mend:
            lines.append(f"{'':6}  {'':{width}}  -> {item.mend}")
    return "\n".join(lines)


def check_kernel(release: str) -> Check:
    """Judge the kernel's release, as of uname(2)."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match[1]), int(match[2])) >= KERNEL:
        return Check("kernel", Status.OK, release)
    wanted = ".".join(map(str, KERNEL))
    return Check(
        "kernel", Status.FAILED, f"{release} is older than {wanted}", f"install Linux {wanted} or newer"
    )


def check_namespaces(failure: Failure | None, limit: int | None, switch: Callable[[str], str]) -> Check:
    """Judge the trial of a mount in a user namespace.

    ``limit`` is max_user_namespaces; ``switch`` reads a sysctl below /proc/sys/kernel, "" if there is none.
    """
    name = "user namespaces"
    if failure is None:
        return Check(name, Status.OK, "a user can make one and mount in it")
    if limit == 0:
        mend = "sysctl -w user.max_user_namespaces=15000"
        return Check(name, Status.FAILED, "switched off: user.max_user_namespaces is 0", mend)
    if switch("unprivileged_userns_clone") == "0":
        mend = "sysctl -w kernel.unprivileged_userns_clone=1"
        return Check(name, Status.FAILED, "for root only: kernel.unprivileged_userns_clone is 0", mend)
    text = f"cannot {failure.step}: {failure.reason}"
    if switch("apparmor_restrict_unprivileged_userns") == "1":
        mend = (
            "give bareboat-enter, bareboat-hold and slurmstepd an AppArmor profile with userns, "
            "or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
        return Check(name, Status.FAILED, f"{text} (AppArmor lets a user make one, and nothing in it)", mend)
    if failure.errnum == errno.ENOSPC:
        return Check(name, Status.FAILED, f"{text} (limit: {limit})", "raise user.max_user_namespaces")
    return Check(name, Status.FAILED, text, "see the kernel's log; a security module or a chroot forbids it")


def check_overlay(failure: Failure | None) -> Check:
    """Judge the trial of an overlay in a user namespace."""
    if failure is None:
        return Check("overlay", Status.OK, "can be mounted in a user namespace")
    text = f"cannot {failure.step}: {failure.reason}"
    mend = "mend user namespaces first" if "overlay" not in failure.step else "modprobe overlay"
    return Check("overlay", Status.FAILED, f"{text}; roots without all mount points need it", mend)


def check_filesystem(filesystems: str, name: str) -> Check:
    """Judge whether the kernel knows a file system, by the text of /proc/filesystems."""
    if name in filesystems.split():
        return Check(name, Status.OK, "the kernel can mount it")
    text = "the kernel does not know it now; squashfs images of the store want it"
    return Check(name, Status.NOTE, text, f"modprobe {name}")


def find_slurm_configuration(environment: Mapping[str, str]) -> str:
    """Find slurm.conf as Slurm's commands do; "" where there is no Slurm."""
    places = [environment.get("SLURM_CONF", ""), *_SLURM_CONFIGURATIONS]
    return next((place for place in places if place and Path(place).is_file()), "")


def read_plugstack(slurm: str) -> tuple[str, ...]:
    """Read the lines of the plugin stack of ``slurm`` (slurm.conf), with its includes (spank(8))."""
    named = re.search(r"(?im)^\s*PlugStackConfig\s*=\s*(\S+)", _read(slurm))
    start = Path(named[1]) if named else Path(slurm).with_name("plugstack.conf")
    return _plugstack_lines(start, frozenset())


def _plugstack_lines(path: Path, above: frozenset[Path]) -> tuple[str, ...]:
    if path in above:
        return ()
    found: list[str] = []
    for line in _read(str(path)).splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0].lower() == "include":
            pattern = Path(words[1]) if words[1].startswith("/") else path.parent / words[1]
            for included in sorted(pattern.parent.glob(pattern.name)):
                found += _plugstack_lines(included, above | {path})
        elif words:
            found.append(" ".join(words))
    return tuple(found)


def check_plugin(slurm: str, lines: Iterable[str]) -> Check:
    """Judge the plugin stack's lines; ``slurm`` is the path of slurm.conf, "" where there is no Slurm."""
    name, mend = "Slurm plugin", "bareboat slurm install"
    if not slurm:
        return Check(name, Status.NOTE, "no slurm.conf here: srun --container needs Slurm", "set SLURM_CONF")
    for line in lines:
        kind, path, *_ = [*line.split(), "", ""]
        if path.rpartition("/")[2] != "bareboat.so":
            continue
        if kind != "required":
            text = (
                f"its line says {kind}: where it fails to load, --container jobs would run on the bare host"
            )
            return Check(name, Status.FAILED, text, mend)
        if path.startswith("/") and not Path(path).is_file():
            return Check(name, Status.FAILED, f"{path} is required and does not exist", mend)
        return Check(name, Status.OK, f"required {path}")
    text = f"no line for bareboat.so in the plugin stack of {slurm}: --container would run on the bare host"
    return Check(name, Status.FAILED, text, mend)


def check_oci(slurm: str) -> Check:
    """Judge whether Slurm's own container runtime is configured beside ``slurm`` (slurm.conf)."""
    name = "Slurm's runtime"
    oci = Path(slurm).with_name("oci.conf") if slurm else None
    if oci is None or not oci.exists():
        return Check(name, Status.OK, "no oci.conf: the plugin gets --container")
    text = f"{oci} exists: slurmstepd starts its own runtime before any plugin is asked"
    return Check(name, Status.FAILED, text, f"remove {oci} on every node")


def read_switch(name: str) -> str:
    """Read a sysctl below /proc/sys/kernel; "" where there is none."""
    return _read(f"/proc/sys/kernel/{name}").strip()


def _check_enter() -> Check:
    """Run bareboat-enter for real, into a container whose root is the host's."""
    name = "bareboat-enter"
    program = encode([Operation(Verb.ROOT_DIR, ("/",)), Operation(Verb.NO_NEW_PRIVS, ())])
    try:
        check(program)
        path = find_enter()
        fd = os.memfd_create("bareboat-doctor", 0)
        with os.fdopen(fd, "wb", buffering=0) as file:
            file.write(program)
            done = subprocess.run(
                [path, f"/proc/self/fd/{fd}", "--", "/bin/sh", "-c", "exit 0"],
                pass_fds=(fd,),
                capture_output=True,
                text=True,
                timeout=_LIMIT,
                check=False,
            )
    except BareboatError as error:
        return Check(name, Status.FAILED, str(error), error.hint)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, Status.FAILED, f"cannot be run: {error}", "build it anew with: make setup")
    if done.returncode == 0:
        return Check(name, Status.OK, path)
    said = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
    return Check(name, Status.FAILED, said, "mend what fails above first")


def _check_configuration(environment: Mapping[str, str], option: str | None) -> Check:
    path, asked = find_config(environment, option=option)
    try:
        config = read_config(path, required=asked)
    except BareboatError as error:
        return Check("configuration", Status.FAILED, str(error), error.hint)
    return Check("configuration", Status.OK, config.path or f"defaults: there is no {path}")


def _check_mpi(environment: Mapping[str, str], option: str | None) -> Check:
    import mpi_abi

    path, asked = find_config(environment, option=option)
    try:
        config = read_config(path, required=asked)
        hosts = mpi_abi.probe_host(prefixes=config.mpi_prefixes, search=config.mpi_search)
    except (BareboatError, mpi_abi.AbiError) as error:
        return Check("host MPI", Status.FAILED, str(error), error.hint)
    if hosts:
        return Check(
            "host MPI", Status.OK, ", ".join(f"{host.title} ({host.c_library.path})" for host in hosts)
        )
    mend = "install one, or name its prefix in the configuration: [mpi] prefixes"
    return Check("host MPI", Status.NOTE, "none was found: MPI images run only with BAREBOAT_MPI=image", mend)


def check_fuse(mode: int | None) -> Check:
    """Judge /dev/fuse by its permissions, None where it is missing: users have to open it."""
    if mode is None:
        text = "/dev/fuse does not exist; squashfs images that are in no store want it"
        return Check("FUSE", Status.NOTE, text, "modprobe fuse")
    if mode & 0o006 != 0o006:
        text = f"/dev/fuse is closed to users (mode {mode:04o}); squashfs images that are in no store want it"
        return Check("FUSE", Status.NOTE, text, "chmod 666 /dev/fuse, by a udev rule")
    return Check("FUSE", Status.OK, "/dev/fuse")


def _mode_of(path: str) -> int | None:
    try:
        return stat.S_IMODE(Path(path).stat().st_mode)
    except OSError:
        return None


def _check_server(environment: Mapping[str, str], option: str | None) -> Check:
    path, asked = find_config(environment, option=option)
    try:
        named = read_config(path, required=asked).squashfuse
    except BareboatError as error:
        return Check("squashfuse", Status.FAILED, str(error), error.hint)
    if server := find_server(named):
        return Check("squashfuse", Status.OK, server)
    text = f"{named or 'squashfuse_ll'} is not there; squashfs images that are in no store want it"
    return Check("squashfuse", Status.NOTE, text, "install squashfuse")


def _check_device(path: str, name: str, use: str, mend: str) -> Check:
    if os.access(path, os.F_OK):
        return Check(name, Status.OK, path)
    return Check(name, Status.NOTE, f"{path} does not exist; {use} want it", mend)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
