"""The doctor's judgements, each on facts that are written down, and how they are printed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from launcher.doctor import (
    Check,
    Status,
    check_filesystem,
    check_fuse,
    check_kernel,
    check_namespaces,
    check_oci,
    check_overlay,
    check_plugin,
    failed,
    find_slurm_configuration,
    read_plugstack,
    to_text,
)
from launcher.namespaces import Failure

MOUNT = Failure("mount a tmpfs in the user namespace", errno.EACCES)


def no_switch(_name: str) -> str:
    return ""


@pytest.mark.parametrize("release", ["5.14.0-1.el9", "6.1.0-25-amd64", "10.0"])
def test_a_new_kernel_will_do(release: str) -> None:
    assert check_kernel(release) == Check("kernel", Status.OK, release)


@pytest.mark.parametrize("release", ["5.13.9", "4.18.0-553.el8", "plan9"])
def test_an_old_kernel_will_not(release: str) -> None:
    found = check_kernel(release)
    assert (found.status, found.text) == (Status.FAILED, f"{release} is older than 5.14")
    assert found.mend == "install Linux 5.14 or newer"


def test_namespaces_that_work_are_well() -> None:
    assert check_namespaces(None, 1000, no_switch).status is Status.OK


@pytest.mark.parametrize(
    ("failure", "limit", "switches", "text", "mend"),
    [
        (
            Failure("make a user namespace", errno.ENOSPC),
            0,
            {},
            "switched off: user.max_user_namespaces is 0",
            "sysctl -w user.max_user_namespaces=15000",
        ),
        (
            Failure("make a user namespace", errno.EPERM),
            1000,
            {"unprivileged_userns_clone": "0"},
            "for root only: kernel.unprivileged_userns_clone is 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            MOUNT,
            1000,
            {"apparmor_restrict_unprivileged_userns": "1"},
            (
                "cannot mount a tmpfs in the user namespace: Permission denied "
                "(AppArmor lets a user make one, and nothing in it)"
            ),
            (
                "give bareboat-enter, bareboat-hold and slurmstepd an AppArmor profile with userns, "
                "or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            ),
        ),
        (
            Failure("make a user namespace", errno.ENOSPC),
            5,
            {},
            "cannot make a user namespace: No space left on device (limit: 5)",
            "raise user.max_user_namespaces",
        ),
        (
            MOUNT,
            1000,
            {},
            "cannot mount a tmpfs in the user namespace: Permission denied",
            "see the kernel's log; a security module or a chroot forbids it",
        ),
    ],
)
def test_namespaces_that_fail_are_told_apart(
    failure: Failure, limit: int, switches: dict[str, str], text: str, mend: str
) -> None:
    found = check_namespaces(failure, limit, lambda name: switches.get(name, ""))
    assert found == Check("user namespaces", Status.FAILED, text, mend)


def test_an_overlay_that_fails_says_whether_it_is_to_blame() -> None:
    overlay = check_overlay(Failure("mount an overlay in the user namespace", errno.ENODEV))
    assert overlay.text == (
        "cannot mount an overlay in the user namespace: No such device; "
        "roots without all mount points need it"
    )
    assert overlay.mend == "modprobe overlay"
    assert check_overlay(MOUNT).mend == "mend user namespaces first"
    assert check_overlay(None).status is Status.OK


def test_a_file_system_that_the_kernel_lacks_is_a_note() -> None:
    assert check_filesystem("nodev\tproc\n\tsquashfs\n", "squashfs").status is Status.OK
    found = check_filesystem("nodev\tproc\n", "squashfs")
    assert (found.status, found.mend) == (Status.NOTE, "modprobe squashfs")


def test_fuse_has_to_be_open_to_users() -> None:
    assert check_fuse(0o666).status is Status.OK
    assert check_fuse(None).mend == "modprobe fuse"
    closed = check_fuse(0o600)
    assert (closed.status, closed.mend) == (Status.NOTE, "chmod 666 /dev/fuse, by a udev rule")
    assert closed.text.startswith("/dev/fuse is closed to users (mode 0600)")


# Slurm's side


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    path = tmp_path / "slurm.conf"
    path.write_text("ClusterName=test\n")
    return path


def judged(slurm: Path) -> Check:
    return check_plugin(str(slurm), read_plugstack(str(slurm)))


def test_without_slurm_there_is_a_note(tmp_path: Path) -> None:
    found = check_plugin("", ())
    assert (found.status, found.text) == (Status.NOTE, "no slurm.conf here: srun --container needs Slurm")
    assert check_oci("").status is Status.OK
    assert find_slurm_configuration({"SLURM_CONF": str(tmp_path / "none")}) in {
        "",
        "/etc/slurm/slurm.conf",
        "/run/slurm/conf/slurm.conf",
    }


def test_slurm_conf_is_found_where_slurm_looks(slurm: Path) -> None:
    assert find_slurm_configuration({"SLURM_CONF": str(slurm)}) == str(slurm)


def test_a_required_line_is_well(slurm: Path) -> None:
    plugin = slurm.with_name("bareboat.so")
    plugin.touch()
    slurm.with_name("plugstack.conf").write_text(f"# ours\nrequired {plugin}  # the plugin\n")
    assert judged(slurm) == Check("Slurm plugin", Status.OK, f"required {plugin}")


def test_an_included_line_is_found(slurm: Path) -> None:
    slurm.with_name("plugstack.conf.d").mkdir()
    slurm.with_name("plugstack.conf.d").joinpath("b.conf").write_text("required bareboat.so\n")
    slurm.with_name("plugstack.conf").write_text("include plugstack.conf.d/*.conf\n")
    assert judged(slurm).status is Status.OK


def test_includes_in_a_circle_end(slurm: Path) -> None:
    slurm.with_name("plugstack.conf").write_text("include plugstack.conf\nrequired bareboat.so\n")
    assert judged(slurm).status is Status.OK


def test_a_stack_of_another_name_is_read(slurm: Path) -> None:
    other = slurm.with_name("other.conf")
    other.write_text("required bareboat.so\n")
    slurm.write_text(f"plugstackconfig = {other}\n")
    assert judged(slurm).status is Status.OK


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (
            "optional bareboat.so",
            "its line says optional: where it fails to load, --container jobs would run on the bare host",
        ),
        ("required /none/bareboat.so", "/none/bareboat.so is required and does not exist"),
        ("required other.so", "no line for bareboat.so in the plugin stack of {slurm}"),
        ("", "no line for bareboat.so in the plugin stack of {slurm}"),
    ],
)
def test_a_plugin_line_that_would_not_do_fails(slurm: Path, lines: str, text: str) -> None:
    slurm.with_name("plugstack.conf").write_text(f"{lines}\n")
    found = judged(slurm)
    assert (found.status, found.mend) == (Status.FAILED, "bareboat slurm install")
    assert found.text.startswith(text.format(slurm=slurm))


def test_an_oci_conf_fails(slurm: Path) -> None:
    assert check_oci(str(slurm)).status is Status.OK
    oci = slurm.with_name("oci.conf")
    oci.touch()
    found = check_oci(str(slurm))
    assert found.status is Status.FAILED
    assert found.text == f"{oci} exists: slurmstepd starts its own runtime before any plugin is asked"
    assert found.mend == f"remove {oci} on every node"


def test_one_line_a_check_and_one_for_the_mending() -> None:
    checks = (Check("a", Status.OK, "well"), Check("long name", Status.FAILED, "ill", "mend it"))
    assert to_text(checks) == "ok      a          well\nfailed  long name  ill\n                   -> mend it"
    assert failed(checks)
    assert not failed(checks[:1])
    assert not failed([Check("c", Status.NOTE, "x", "y")])
