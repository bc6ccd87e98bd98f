"""Device specifications: what is read of them, which file counts, and what is said of a bad one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from launcher.cdi import (
    LIMIT,
    DeviceMount,
    DeviceNode,
    Edits,
    Hook,
    SpecFile,
    choose,
    parse_spec,
    split_name,
)
from launcher.errors import BareboatError

# After what `nvidia-ctk cdi generate` writes (NVIDIA Container Toolkit 1.17), shortened.
NVIDIA = b"""\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
            - path: /dev/dri/card1
        hooks:
            - hookName: createContainer
              path: /usr/bin/nvidia-cdi-hook
              args: [nvidia-cdi-hook, chmod, --mode, "755", --path, /dev/dri]
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    deviceNodes:
        - path: /dev/nvidiactl
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib64]
    mounts:
        - hostPath: /usr/lib64/libcuda.so.550.54.15
          containerPath: /usr/lib64/libcuda.so.550.54.15
          options: [ro, nosuid, nodev, bind]
"""


def document(**changes: Any) -> dict[str, Any]:
    made = {
        "cdiVersion": "1.1.0",
        "kind": "vendor.test/null",
        "devices": [{"name": "0", "containerEdits": {"env": ["A=1"]}}],
        **changes,
    }
    return {key: value for key, value in made.items() if value is not None}


def parse(value: object, path: str = "/etc/cdi/a.json") -> SpecFile:
    return SpecFile(path, 0, parse_spec(json.dumps(value).encode(), path))


def edits(**parts: Any) -> dict[str, Any]:
    return document(devices=[{"name": "0", "containerEdits": parts}])


def refusal(value: object) -> str:
    with pytest.raises(BareboatError) as caught:
        parse(value)
    assert caught.value.exit_code == 125
    assert caught.value.hint == "have the vendor's tool write it again, or take it away"
    text = str(caught.value)
    assert text.startswith("the device specification /etc/cdi/a.json cannot be used: ")
    return text.removeprefix("the device specification /etc/cdi/a.json cannot be used: ")


def test_a_vendors_yaml_is_read() -> None:
    file = SpecFile("/etc/cdi/nvidia.yaml", 0, parse_spec(NVIDIA, "/etc/cdi/nvidia.yaml"))
    found = choose(["nvidia.com/gpu=0"], [file], ["/etc/cdi"])
    assert found.environment == (("NVIDIA_VISIBLE_DEVICES", "void"),)
    assert [node.path for node in found.nodes] == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dri/card1"]
    library = "/usr/lib64/libcuda.so.550.54.15"
    assert found.mounts == (DeviceMount(library, library, read_only=True),)
    assert [hook.args[1] for hook in found.hooks] == ["update-ldcache", "chmod"]


def test_the_edits_of_a_file_come_once_and_what_two_devices_share_too() -> None:
    file = SpecFile("/etc/cdi/nvidia.yaml", 0, parse_spec(NVIDIA, "/etc/cdi/nvidia.yaml"))
    both = choose(["nvidia.com/gpu=all", "nvidia.com/gpu=0", "nvidia.com/gpu=all"], [file], ["/etc/cdi"])
    assert [node.path for node in both.nodes] == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dri/card1"]


def test_each_field_is_read() -> None:
    file = parse(
        edits(
            env=["A=1", "B=a=b", "A=2"],
            deviceNodes=[
                {"path": "/dev/./x//y", "hostPath": "/host/x", "type": "u", "major": 1, "minor": 3},
                {"path": "/dev/z", "permissions": "r", "fileMode": 438, "uid": 0, "gid": 44},
                {"path": "/dev/n", "permissions": "none"},
            ],
            mounts=[
                {
                    "hostPath": "/opt/a",
                    "containerPath": "/b",
                    "options": ["ro", "rw", "rbind"],
                    "type": "bind",
                },
                {"hostPath": "/opt/a", "containerPath": "/c"},
            ],
            hooks=[
                {"hookName": "poststop", "path": "/bin/x", "args": ["x", "y"], "env": ["A=1"], "timeout": 3}
            ],
            additionalGids=[44],
            intelRdt={"closID": "a"},
            netDevices=[{"hostInterfaceName": "ib0", "name": "ib0"}],
        )
    )
    found = choose(["vendor.test/null=0"], [file], ["/etc/cdi"])
    assert found == Edits(
        environment=(("A", "2"), ("B", "a=b")),
        nodes=(
            DeviceNode("/dev/x/y", "/host/x", "u", (1, 3), "rw"),
            DeviceNode("/dev/z", "/dev/z", access="r"),
            DeviceNode("/dev/n", "/dev/n", access=""),
        ),
        mounts=(
            DeviceMount("/opt/a", "/b", read_only=False),
            DeviceMount("/opt/a", "/c", read_only=False),
        ),
        hooks=(Hook("poststop", "/bin/x", ("x", "y")),),
        unsupported=("netDevices", "intelRdt"),
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "it is not an object"),
        (document(cdiVersion=None), "it has no cdiVersion"),
        (document(cdiVersion="2.0.0"), "its cdiVersion '2.0.0' is not known (0.1.0 to 1.1.0 are)"),
        (document(cdiVersion=1), "it.cdiVersion is not a text"),
        (document(kind=None), "it has no kind"),
        (document(kind="null"), "its kind 'null' is not of the form vendor/class"),
        (document(devices=[]), "it has no devices"),
        (document(devices={}), "it.devices is not a list"),
        (document(other=1), "it has the field 'other', which CDI does not have there"),
        (document(devices=[{"name": 0}]), "devices[0].name is not a text"),
        (document(devices=[{"name": "-"}]), "devices[0].name '-' is not the name of a device"),
        (document(devices=[{"name": "0"}, {"name": "0"}]), "it has two devices '0'"),
        (edits(env=["A"]), "devices[0].containerEdits.env[0] is not of the form NAME=VALUE"),
        (edits(env=["=1"]), "devices[0].containerEdits.env[0] is not of the form NAME=VALUE"),
        (edits(deviceNodes=[{}]), "devices[0].containerEdits.deviceNodes[0] has no path"),
        (edits(env=["A=\ud800"]), "devices[0].containerEdits.env[0] is not a text"),
        (
            edits(deviceNodes=[{"path": "/dev/\udcff"}]),
            "devices[0].containerEdits.deviceNodes[0].path is not a text",
        ),
        (
            edits(deviceNodes=[{"path": "dev/x"}]),
            "devices[0].containerEdits.deviceNodes[0].path 'dev/x' is not an absolute path",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "hostPath": "/dev/../x"}]),
            "devices[0].containerEdits.deviceNodes[0].hostPath '/dev/../x' has '..' in it",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "type": "d"}]),
            "devices[0].containerEdits.deviceNodes[0].type 'd' is none of b, c, u and p",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "permissions": "rx"}]),
            "devices[0].containerEdits.deviceNodes[0].permissions 'rx' has others than r, w and m",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "major": -1}]),
            "devices[0].containerEdits.deviceNodes[0].major is not a device number",
        ),
        (
            edits(mounts=[{"hostPath": "/a", "containerPath": "//"}]),
            "devices[0].containerEdits.mounts[0].containerPath is the container's root",
        ),
        (
            edits(mounts=[{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]),
            "devices[0].containerEdits.mounts[0].type 'tmpfs' is not a bind, and no other mount can be made",
        ),
        (
            edits(mounts=[{"hostPath": "/a", "containerPath": "/b", "options": ["suid"]}]),
            "devices[0].containerEdits.mounts[0].options: 'suid' is not known",
        ),
        (
            edits(hooks=[{"hookName": "prestart", "path": "x"}]),
            "devices[0].containerEdits.hooks[0].path 'x' is not an absolute path",
        ),
    ],
)
def test_a_bad_specification_is_refused_with_the_place(value: object, text: str) -> None:
    assert refusal(value) == text


@pytest.mark.parametrize(("path", "form"), [("/etc/cdi/a.json", "JSON"), ("/etc/cdi/a.yaml", "YAML")])
def test_a_file_that_is_neither_is_refused(path: str, form: str) -> None:
    with pytest.raises(BareboatError) as caught:
        parse_spec(b"{", path)
    assert str(caught.value).startswith(f"the device specification {path} cannot be used: it is not {form}: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vendor.test/null", "has no '='"),
        ("null=0", "its kind 'null' is not of the form vendor/class"),
        ("1vendor/null=0", "its kind '1vendor/null' is not of the form vendor/class"),
        ("vendor.test/null-=0", "its kind 'vendor.test/null-' is not of the form vendor/class"),
        ("vendor.test/null=", "'' is not the name of a device"),
        ("vendor.test/null=a=b", "'a=b' is not the name of a device"),
        ("vendor.test/null=-0", "'-0' is not the name of a device"),
    ],
)
def test_a_name_of_another_form_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        split_name(text)


@pytest.mark.parametrize(
    "text", ["v/c=0", "nvidia.com/gpu=GPU-8932f937-d72c", "a_b/c.d=1:0", "intel.com/gpu=card0"]
)
def test_a_fully_qualified_name_is_taken(text: str) -> None:
    assert "=".join(split_name(text)) == text


HEAD = "cdiVersion: 1.1.0\nkind: a/b\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{HEAD}devices: [{{name: &a x}}, {{name: *a}}]", "line 3 has the alias *a: write it out"),
        # Each line of these would double what the one before it stands for.
        ("a0: &a0 {}\n" + "".join(f"a{at}: &a{at} {{<<: [*a{at - 1}, *a{at - 1}]}}\n" for at in range(1, 60)),
         "line 2 has the alias *a0"),
        # A number to the base of 60, which takes minutes in YAML 1.1, and one beyond all floats.
        ("a: " + ":".join(["1"] * (LIMIT // 2 - 2)), "it has the field 'a'"),
        ("a: " + ":".join(["1"] * 400) + ".5", "it has the field 'a'"),
        ("a: !!int ''", "it is not YAML: invalid literal for int()"),
        ("a: !!timestamp b", "it has the field 'a'"),
        ("a: !!bool b", "it has the field 'a'"),
        (f"{HEAD}devices: [<<: {{name: x}}]", "devices[0] has the field '<<'"),
        ("[" * 40 + "]" * 40, "more than 32 levels lie in one another"),
    ],
)  # fmt: skip
def test_what_only_yaml_has_ends_nothing(text: str, why: str) -> None:
    with pytest.raises(BareboatError) as caught:
        parse_spec(text.encode(), "/etc/cdi/a.yaml")
    assert str(caught.value).startswith(f"the device specification /etc/cdi/a.yaml cannot be used: {why}")


def test_plain_texts_of_yaml_are_those_of_yaml_1_2() -> None:
    text = f"{HEAD}devices:\n- name: yes\n- name: 2001-01-01\n- name: 1:1\n"
    text += (
        "  containerEdits: {deviceNodes: [{path: /dev/x, major: 195, minor: 0, fileMode: 0666, type: ~}]}\n"
    )
    spec = parse_spec(text.encode(), "/etc/cdi/a.yaml")
    assert list(spec.devices) == ["yes", "2001-01-01", "1:1"]
    assert spec.devices["1:1"].nodes == (DeviceNode("/dev/x", "/dev/x", number=(195, 0)),)


def test_the_later_directory_counts() -> None:
    old = parse(edits(env=["A=old"]))
    new = SpecFile("/var/run/cdi/a.json", 1, parse(edits(env=["A=new"])).spec)
    for files in ([old, new], [new, old]):
        assert choose(["vendor.test/null=0"], files, ["/etc/cdi", "/var/run/cdi"]).environment == (
            ("A", "new"),
        )


def test_a_device_in_two_files_of_one_directory_is_refused() -> None:
    twice = [parse(document()), parse(document(), "/etc/cdi/b.json")]
    with pytest.raises(BareboatError) as caught:
        choose(["vendor.test/null=0"], twice, ["/etc/cdi"])
    assert str(caught.value) == (
        "the device vendor.test/null=0 is defined twice: in /etc/cdi/a.json and in /etc/cdi/b.json"
    )
    assert caught.value.hint == "one of the files is left over; ask the site to take it away"


def test_an_unknown_device_is_refused_with_what_is_known() -> None:
    with pytest.raises(BareboatError) as caught:
        choose(["vendor.test/null=7"], [parse(document())], ["/etc/cdi"])
    assert str(caught.value) == ("there is no device vendor.test/null=7 on this host: /etc/cdi/a.json has 0")
    assert caught.value.hint.startswith("check BAREBOAT_DEVICES and --device")


def test_an_unknown_kind_is_refused_with_the_problems_of_other_files() -> None:
    bad = SpecFile("/etc/cdi/bad.yaml", 0, problem="/etc/cdi/bad.yaml cannot be read: Permission denied")
    with pytest.raises(BareboatError) as caught:
        choose(["a.b/c=7"], [bad, parse(document())], ["/etc/cdi", "/var/run/cdi"])
    assert str(caught.value) == (
        "there is no device a.b/c=7 on this host: no specification in /etc/cdi or /var/run/cdi is for a.b/c; "
        "/etc/cdi/bad.yaml cannot be read: Permission denied"
    )


def test_of_many_damaged_files_some_are_told() -> None:
    bad = [SpecFile(f"/etc/cdi/{at}.json", 0, problem=f"{at} is bad") for at in range(10)]
    with pytest.raises(BareboatError) as caught:
        choose(["a.b/c=7"], bad, ["/etc/cdi"])
    told = "; ".join(f"{at} is bad" for at in range(8))
    assert str(caught.value).endswith(f"for a.b/c; {told}; 2 more files cannot be used")


def test_a_damaged_file_of_another_vendor_is_in_nobodys_way() -> None:
    bad = SpecFile("/etc/cdi/bad.yaml", 0, problem="it is not YAML")
    assert choose(["vendor.test/null=0"], [bad, parse(document())], ["/etc/cdi"]).environment == (("A", "1"),)
