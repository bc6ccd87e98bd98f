"""The probe of this host, against the system's own answers."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from launcher.host import MountPoint, mounts_of_types, parse_mountinfo, probe_host

TABLE = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:7 - nfs4 server:/a\134b rw,errors=continue
37 27 0:40 / / rw - nfs4 server:/root rw
"""


def test_a_mount_table_is_read() -> None:
    assert parse_mountinfo(TABLE) == (
        MountPoint("/proc", "proc", "proc"),
        MountPoint("/mnt 2", "nfs4", "server:/a\\b"),
        MountPoint("/", "nfs4", "server:/root"),
    )


def test_lines_of_another_form_are_passed_over() -> None:
    assert parse_mountinfo(b"\nfoo\n1 2 3 4 5 6 - x y\n1 2 3 / /a - nfs\n") == ()


def test_the_hosts_root_is_never_a_network_mount_to_show() -> None:
    assert [mount.target for mount in mounts_of_types(parse_mountinfo(TABLE), ["nfs4"])] == ["/mnt 2"]


def test_this_host_is_what_the_system_says(tmp_path: Path) -> None:
    there, missing = str(tmp_path), str(tmp_path / "missing")
    facts = probe_host([there, missing])
    assert facts.present >= {there}
    assert missing not in facts.present
    assert facts.kernel == os.uname().release
    assert facts.machine == os.uname().machine
    assert (facts.user.uid, facts.user.gid) == (os.getuid(), os.getgid())
    assert facts.user.name == pwd.getpwuid(os.getuid()).pw_name
    assert facts.user.groups[0][0] == os.getgid()
    assert "/proc" in {mount.target for mount in facts.mounts}
    assert facts.libexec.endswith("/libexec/bareboat")
