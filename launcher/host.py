"""Probe of this host: who runs, what is mounted, what is there to be shown.  Reads only."""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from launcher.devices import NO_DEVICES, Devices
from launcher.errors import BareboatError
from mpi_abi.guards import Recorder

ZONEINFO = "/usr/share/zoneinfo/"
_IDENTITY = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf")
"""Where the C library finds a user's names; of a directory service, nothing tells that it has changed."""


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of mountinfo: where, of which file system type, from which device."""

    target: str
    fstype: str
    source: str


@dataclass(frozen=True, slots=True)
class User:
    """The calling user as the host knows it; ``groups`` are (gid, name) pairs, the primary group first."""

    uid: int
    gid: int
    name: str
    gecos: str
    home: str
    shell: str
    groups: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This host.  ``present`` holds which of the paths that were asked about exist.

    ``machine`` is that of uname(2); ``timezone`` the name that /etc/localtime links to, or "";
    ``max_user_namespaces`` the kernel's limit (user_namespaces(7)), None where it has none to read;
    ``libexec`` the directory of bareboat's compiled programs; ``devices`` are those that were asked for.
    """

    user: User
    kernel: str
    machine: str
    mounts: tuple[MountPoint, ...]
    present: frozenset[str]
    timezone: str
    max_user_namespaces: int | None
    libexec: str
    devices: Devices = NO_DEVICES


def probe_host(
    paths: Iterable[str] = (), *, home: str = "", once: Iterable[str] = (), recorder: Recorder | None = None
) -> HostFacts:
    """Read this host's facts: which of ``paths`` exist, and for a user without passwd entry, ``home``.

    ``recorder`` gets guards of what is read; not of the mount table and of the paths in ``once``, which
    matter for this step alone.
    """
    uname = os.uname()
    recorder = recorder or Recorder()
    for path in _IDENTITY:
        recorder.same(path)
    user = _probe_user(home)
    return HostFacts(
        user=user,
        kernel=uname.release,
        machine=uname.machine,
        mounts=read_mounts(),
        present=frozenset(
            (
                *(path for path in (*paths, user.home) if recorder.exists(path)),
                *(path for path in once if os.access(path, os.F_OK)),
            )
        ),
        timezone=_read_timezone(recorder),
        max_user_namespaces=read_max_user_namespaces(),
        libexec=find_libexec(),
    )


def find_libexec() -> str:
    """Find the directory of bareboat's compiled programs: in this Python environment, or beside it.

    A site's installation has its environment in PREFIX/venv and the programs in PREFIX/libexec.
    """
    places = [posixpath.join(top, "libexec/bareboat") for top in (sys.prefix, posixpath.dirname(sys.prefix))]
    return next((place for place in places if os.access(posixpath.join(place, "noop"), os.F_OK)), places[0])


def read_mounts(pid: str = "self") -> tuple[MountPoint, ...]:
    """Read the mount table of a process (proc_pid_mountinfo(5))."""
    path = f"/proc/{pid}/mountinfo"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BareboatError(
            f"cannot read {path}: {error.strerror}", hint="mount /proc on the host"
        ) from error
    return parse_mountinfo(data)


def parse_mountinfo(data: bytes) -> tuple[MountPoint, ...]:
    """Parse a mount table.  Lines that are not of its form are passed over: no launch fails by one."""
    mounts = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) >= 6 and len(right) >= 2 and left[4].startswith("/"):
            mounts.append(MountPoint(_unescape(left[4]), right[0], _unescape(right[1])))
    return tuple(mounts)


def mounts_of_types(mounts: Iterable[MountPoint], types: Iterable[str]) -> tuple[MountPoint, ...]:
    """Choose the mounts of the given file system types, the host's root excepted.  Pure."""
    wanted = frozenset(types)
    return tuple(mount for mount in mounts if mount.fstype in wanted and mount.target != "/")


def read_max_user_namespaces() -> int | None:
    """Read how many user namespaces a user may have here; None where the kernel does not say."""
    try:
        return int(Path("/proc/sys/user/max_user_namespaces").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _unescape(text: str) -> str:
    """Undo the octal escapes that mountinfo has for space, tab, newline and backslash."""
    return re.sub(r"\\([01][0-7]{2})", lambda match: chr(int(match[1], 8)), text)


def _probe_user(home: str) -> User:
    uid, gid = os.getuid(), os.getgid()
    try:
        entry = pwd.getpwuid(uid)
        name, gecos, home, shell = entry.pw_name, entry.pw_gecos, entry.pw_dir, entry.pw_shell
    except KeyError:
        # A user that only the scheduler knows still has an identity; the name is what id(1) would print.
        name, gecos, shell = str(uid), "", "/bin/sh"
    gids = dict.fromkeys([gid, *os.getgroups()])
    return User(uid, gid, name, gecos, home, shell, tuple((number, _group_name(number)) for number in gids))


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _read_timezone(recorder: Recorder) -> str:
    """Name the zone that /etc/localtime links to (localtime(5)), "" where it is no link into the database."""
    recorder.link("/etc/localtime")
    real = posixpath.realpath("/etc/localtime")
    return real.removeprefix(ZONEINFO) if real.startswith(ZONEINFO) else ""
