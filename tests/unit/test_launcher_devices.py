"""Devices in a plan: what is mounted and set, what is refused and why, and the guards of all that."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guard_check import broken
from launcher_facts import HOST, binds, find, laid, request

from launcher.cdi import DeviceMount, DeviceNode, Edits, Hook
from launcher.config import SiteConfig, View, parse_config
from launcher.devices import NO_DEVICES, Devices, NodeFacts, probe_devices
from launcher.errors import BareboatError, UsageError
from launcher.layout import Layout
from launcher.program import Origin
from launcher.request import make_request
from mpi_abi import GuardKind, Recorder

NAME = "vendor.test/null=0"
NODE = NodeFacts("c", (1, 3), 0)


def asked(
    *,
    nodes: dict[str, NodeFacts] | None = None,
    present: tuple[str, ...] = (),
    granted: str = "",
    **edits: Any,
) -> Devices:
    found = {"/dev/x": NODE} if nodes is None else nodes
    return Devices((NAME,), Edits(**edits), found, frozenset(present), granted)


def planned(devices: Devices, without: frozenset[View] = frozenset()) -> Layout:
    return laid(request(without=without), host=replace(HOST, devices=devices))


def refused(devices: Devices) -> BareboatError:
    with pytest.raises(BareboatError) as caught:
        planned(devices)
    assert caught.value.exit_code == 125
    return caught.value


def test_a_node_of_the_hosts_dev_is_there_already() -> None:
    layout = planned(replace(asked(), edits=Edits(nodes=(DeviceNode("/dev/x", "/dev/x"),))))
    assert "/dev/x" not in binds(layout)
    assert f"the device /dev/x of {NAME} is the host's, in /dev" in layout.notes


def test_a_node_is_shown_alone_where_dev_is_not() -> None:
    devices = replace(asked(), edits=Edits(nodes=(DeviceNode("/dev/x", "/dev/x"),)))
    layout = planned(devices, frozenset([View.DEV]))
    assert binds(layout)["/dev/x"] == ("/dev/x", "rw")
    operation = find(layout, "/dev/x")
    assert (operation.origin, operation.reason) == (Origin.USER, f"a device node of {NAME}")


def test_a_node_may_have_another_name_inside() -> None:
    devices = asked()
    inside = replace(devices, edits=Edits(nodes=(DeviceNode("/opt/null", "/dev/x"),)))
    assert binds(planned(inside))["/opt/null"] == ("/dev/x", "rw")
    over = replace(
        devices, edits=Edits(nodes=(DeviceNode("/dev/y", "/dev/x"),)), present=frozenset(["/dev/y"])
    )
    assert binds(planned(over))["/dev/y"] == ("/dev/x", "rw")


def test_a_name_that_the_hosts_dev_does_not_have_is_refused() -> None:
    error = refused(replace(asked(), edits=Edits(nodes=(DeviceNode("/dev/y", "/dev/x"),))))
    assert (
        str(error)
        == "cannot show a device's /dev/y: the directory is the host's, and has nothing of that name"
    )
    assert "BAREBOAT_WITHOUT=dev" in error.hint


def test_mounts_and_variables_come_with_the_device() -> None:
    devices = asked(
        present=("/opt/deep", "/opt/lib"),
        environment=(("A", "1"), ("LD_LIBRARY_PATH", "/b")),
        mounts=(
            DeviceMount("/opt/deep", "/b/c/d", read_only=False),
            DeviceMount("/opt/lib", "/b", read_only=True),
        ),
    )
    layout = planned(devices)
    assert binds(layout)["/b"] == ("/opt/lib", "ro")
    assert binds(layout)["/b/c/d"] == ("/opt/deep", "rw")
    # Else the directory would hide what lies in it.
    assert list(binds(layout)).index("/b") < list(binds(layout)).index("/b/c/d")
    assert ("A", "1") in [op.args for op in layout.environment]
    assert {op.origin for op in layout.environment if op.args[0] == "A"} == {Origin.USER}


def test_a_node_is_not_hidden_by_a_directory_around_it() -> None:
    node, mount = DeviceNode("/opt/v/x", "/dev/x"), DeviceMount("/opt/lib", "/opt/v", read_only=True)
    both = replace(asked(present=("/opt/lib",)), edits=Edits(nodes=(node,), mounts=(mount,)))
    shown = list(binds(planned(both)))
    assert shown.index("/opt/v") < shown.index("/opt/v/x")


def test_a_mount_below_the_working_directory_is_refused() -> None:
    mount = DeviceMount("/opt/lib", "/home/user/job/lib", read_only=True)
    devices = asked(present=("/opt/lib", "/home/user/job/lib"), mounts=(mount,))
    with pytest.raises(BareboatError, match="cannot mount on /home/user/job/lib: it lies below the working"):
        laid(request(without=frozenset([View.HOME])), host=replace(HOST, devices=devices))


@pytest.mark.parametrize(
    ("changes", "text", "hint"),
    [
        (
            {"nodes": {}},
            f"the device {NAME} needs /dev/x, which is not on this host",
            "run the step on a node that has the device",
        ),
        (
            {"nodes": {"/dev/x": NodeFacts("b", (1, 3), 0)}},
            f"the device {NAME} needs /dev/x, which is not the device that its specification means",
            "the driver was loaded anew",
        ),
        (
            {"nodes": {"/dev/x": NodeFacts("c", (1, 4), 0)}},
            f"the device {NAME} needs /dev/x, which is not the device that its specification means",
            "the driver was loaded anew",
        ),
        (
            {"nodes": {"/dev/x": NodeFacts("", (0, 0), 0)}},
            f"the device {NAME} needs /dev/x, which is not the device that its specification means",
            "the driver was loaded anew",
        ),
        (
            {"nodes": {"/dev/x": replace(NODE, refusal=errno.EPERM)}, "granted": "SLURM_STEP_GPUS=1"},
            (
                f"the device {NAME} needs /dev/x, which this step was not given: its device cgroup "
                "forbids it; it has SLURM_STEP_GPUS=1"
            ),
            "ask Slurm for the device (srun --gres, --gpus)",
        ),
        (
            {"nodes": {"/dev/x": replace(NODE, refusal=errno.EACCES, mode="660")}},
            f"the device {NAME} needs /dev/x, which you may not open: Permission denied (mode 660)",
            "ask the site for the group that may",
        ),
    ],
)
def test_a_node_that_cannot_be_used_is_refused(changes: dict[str, Any], text: str, hint: str) -> None:
    node = DeviceNode("/dev/x", "/dev/x", "u", (1, 3))
    error = refused(replace(asked(**changes), edits=Edits(nodes=(node,))))
    assert str(error) == text
    assert error.hint.startswith(hint)


def test_what_is_not_on_the_host_is_refused() -> None:
    error = refused(asked(mounts=(DeviceMount("/opt/lib", "/b", read_only=True),)))
    assert str(error) == f"the device {NAME} needs /opt/lib, which is not on this host"
    assert "another driver version" in error.hint


def test_variables_of_the_scheduler_are_refused() -> None:
    error = refused(asked(environment=(("SLURM_JOB_ID", "1"),)))
    assert str(error) == (
        f"the device {NAME} cannot be used: its specification sets SLURM_JOB_ID, which is the scheduler's"
    )


def test_what_needs_root_is_refused() -> None:
    error = refused(asked(unsupported=("netDevices", "intelRdt")))
    assert str(error) == (
        f"the device {NAME} cannot be used: its specification asks for netDevices and intelRdt, "
        "which needs root"
    )


def hook(*args: str, path: str = "/usr/bin/nvidia-cdi-hook") -> Hook:
    return Hook("createContainer", path, args)


def test_hooks_whose_doing_is_known_are_refused_by_name() -> None:
    layout = planned(
        asked(
            hooks=(
                hook("nvidia-cdi-hook", "create-symlinks", "--link", "a::/b"),
                hook("nvidia-cdi-hook", "create-symlinks", "--link", "c::/d"),
                hook("nvidia-ctk", "hook", "update-ldcache", path="/usr/bin/nvidia-ctk"),
                hook("nvidia-cdi-hook", "chmod", "--mode", "755"),
            )
        )
    )
    symlinks, cache = layout.warnings
    assert symlinks == (
        f"the hook create-symlinks of {NAME} is not run: it would have made links to the device's libraries; "
        "without it, programs that open them by a link's name fail"
    )
    assert cache == (
        f"the hook update-ldcache of {NAME} is not run: it would have put the device's libraries into the "
        "image's loader cache; without it, programs find them only in the image's default directories or by "
        "LD_LIBRARY_PATH"
    )
    # Of this one, nothing is lost.
    chmod = (
        f"the hook chmod of {NAME} is not run: it would have changed modes of device directories, "
        "which are the host's here"
    )
    assert chmod in layout.notes


@pytest.mark.parametrize(
    "other",
    [
        hook("x", "update-ldcache", path="/opt/x"),
        hook("nvidia-cdi-hook", "new-thing"),
        hook(),
        hook("nvidia-ctk", "update-ldcache", path="/usr/bin/nvidia-ctk"),
    ],
)
def test_another_hook_is_an_error(other: Hook) -> None:
    error = refused(asked(hooks=(other,)))
    assert str(error) == (
        f"the device {NAME} cannot be used: its createContainer hook {other.path} "
        f"({' '.join(other.args[1:])}) would have changed the container, and hooks are not run"
    )


def names(variables: dict[str, str], *flags: str) -> tuple[str, ...]:
    made = make_request("img", ["app"], environment=variables, cwd="/", config=SiteConfig(), devices=flags)
    return made.devices


def test_devices_come_from_the_variable_and_the_flags() -> None:
    assert names({"BAREBOAT_DEVICES": "a.b/c=0,a.b/c=1"}, "a.b/d=x,a.b/c=0") == (
        "a.b/c=0",
        "a.b/c=1",
        "a.b/d=x",
    )
    assert names({}) == ()


@pytest.mark.parametrize(
    ("variables", "flags", "text"),
    [
        ({"BAREBOAT_DEVICES": "gpu"}, (), "BAREBOAT_DEVICES: 'gpu' is not the name of a device: has no '='"),
        (
            {"BAREBOAT_DEVICES": "a.b/c=0,"},
            (),
            "BAREBOAT_DEVICES: '' is not the name of a device: has no '='",
        ),
        ({}, ("/dev/x",), "--device: '/dev/x' is not the name of a device: has no '='"),
    ],
)
def test_a_name_that_is_none_is_a_usage_error(
    variables: dict[str, str], flags: tuple[str, ...], text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        names(variables, *flags)
    assert str(caught.value) == text
    assert caught.value.hint == "a name is vendor/class=name, as in nvidia.com/gpu=0"


def test_the_site_says_where_specifications_are() -> None:
    assert SiteConfig().device_directories == ("/etc/cdi", "/var/run/cdi")
    config = parse_config('[devices]\ndirectories = ["/opt/cdi"]\n', "x.toml")
    assert config.device_directories == ("/opt/cdi",)


def write(path: Path, *, name: str = "0", node: str = "/dev/null", **edits: Any) -> Path:
    edits = {"deviceNodes": [{"path": node}], **edits}
    devices = [{"name": name, "containerEdits": edits}]
    path.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "vendor.test/null", "devices": devices}))
    return path


def probe(top: Path, *, recorder: Recorder | None = None, **variables: str) -> Devices:
    directories = (f"{top}/etc", f"{top}/run")
    return probe_devices((NAME,), directories, environment=variables, recorder=recorder)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc/a.json", mounts=[{"hostPath": str(tmp_path / "etc"), "containerPath": "/nowhere"}])
    return tmp_path


def test_nothing_is_read_where_nothing_is_asked_for() -> None:
    recorder = Recorder()
    assert probe_devices((), ("/etc/cdi",), environment={}, recorder=recorder) is NO_DEVICES
    assert recorder.guards == ()


def test_the_probe_finds_nodes_and_mounts(top: Path) -> None:
    (top / "etc/README").write_text("no specification")
    found = probe(top, SLURM_STEP_GPUS="0,1", CUDA_VISIBLE_DEVICES="0")
    assert found.nodes == {"/dev/null": NodeFacts("c", (1, 3), 0, "0666, group 0")}
    assert found.present == {f"{top}/etc"}
    assert found.granted == "SLURM_STEP_GPUS=0,1, CUDA_VISIBLE_DEVICES=0"


def test_a_file_that_is_no_device_is_told(top: Path) -> None:
    write(top / "etc/a.json", node=str(top / "etc/a.json"))
    assert [facts.kind for facts in (probe(top).nodes or {}).values()] == [""]


def test_a_damaged_or_hidden_file_is_told_of_where_the_device_is_missing(top: Path) -> None:
    (top / "etc/a.json").rename(top / "etc/a.yaml")
    (top / "etc/a.yaml").write_text("{")
    (top / "etc/dir.json").mkdir()
    os.mkfifo(top / "etc/pipe.json")
    (top / "etc/loop.json").symlink_to("loop.json")
    (top / "run").symlink_to("run")
    with pytest.raises(BareboatError) as caught:
        probe(top)
    text = str(caught.value)
    assert text.startswith(
        f"there is no device {NAME} on this host: no specification in {top}/etc or {top}/run "
    )
    assert f"the device specification {top}/etc/a.yaml cannot be used: it is not YAML: " in text
    for name in ("dir", "pipe"):
        assert f"{top}/etc/{name}.json cannot be read: it is no file" in text
    for name in ("etc/loop.json", "run"):
        assert f"{top}/{name} cannot be read: Too many levels of symbolic links" in text


def test_everything_that_was_read_is_guarded(top: Path) -> None:
    recorder = Recorder()
    probe(top, recorder=recorder)
    assert recorder.obstacles == ()
    assert broken(recorder.guards) == []
    kinds = {(guard.kind, guard.path) for guard in recorder.guards}
    assert {
        (GuardKind.SAME, f"{top}/etc"),
        (GuardKind.SAME, f"{top}/etc/a.json"),
        (GuardKind.ABSENT, f"{top}/run"),
        (GuardKind.READABLE, "/dev/null"),
        (GuardKind.WRITABLE, "/dev/null"),
        (GuardKind.ABSENT, "/nowhere"),
    } <= kinds


@pytest.mark.parametrize("change", ["file", "new file", "new directory"])
def test_a_change_of_a_specification_breaks_a_guard(top: Path, change: str) -> None:
    recorder = Recorder()
    probe(top, recorder=recorder)
    if change == "file":
        write(top / "etc/a.json", node="/dev/zero")
    elif change == "new file":
        write(top / "etc/b.json", name="1")
    else:
        (top / "run").mkdir()
    assert broken(recorder.guards)


def test_a_node_that_may_not_be_opened_any_more_breaks_a_guard(top: Path) -> None:
    recorder = Recorder()
    recorder.usable("/dev/null", write=True)
    recorder.usable("/dev/null", write=False)
    assert broken(recorder.guards) == []
    node = top / "node"
    node.write_text("")
    recorder.usable(str(node), write=True)
    assert broken(recorder.guards) == []
    node.unlink()
    assert [guard.path for guard in broken(recorder.guards)] == [str(node)]
