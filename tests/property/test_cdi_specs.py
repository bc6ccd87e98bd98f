"""The parser of device specifications: it never raises but its own error, and never lets a path escape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from launcher.cdi import LIMIT, VERSIONS, Edits, Spec, parse_spec, split_name
from launcher.errors import BareboatError, UsageError

_words = st.sampled_from(
    ["", "/", "a", "/dev/x", "/a/../b", "../x", "/./a//b", "rw", "none", "A=1", "=", "\0", "ro"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_parts = {
    "env": st.lists(st.just("A=1") | _values, max_size=2),
    "deviceNodes": st.lists(
        st.fixed_dictionaries(
            {"path": st.just("/dev/x") | _values},
            optional={
                "hostPath": st.just("/dev/y") | _values,
                "type": st.sampled_from(["b", "c", "u", "p"]) | _values,
                "permissions": st.sampled_from(["r", "rwm", "none"]) | _values,
                "major": st.integers(0, 300) | _values,
                "minor": st.integers(0, 300) | _values,
            },
        )
        | _values,
        max_size=2,
    ),
    "mounts": st.lists(
        st.fixed_dictionaries(
            {"hostPath": st.just("/opt/x") | _values, "containerPath": st.just("/y") | _values},
            optional={"options": st.lists(st.sampled_from(["ro", "rw", "nodev"]) | _values, max_size=3)},
        )
        | _values,
        max_size=2,
    ),
    "hooks": st.lists(
        st.fixed_dictionaries({"hookName": st.just("createContainer"), "path": st.just("/bin/x") | _values}),
        max_size=2,
    ),
}
_edits = st.fixed_dictionaries({}, optional=_parts) | _values
_documents = st.fixed_dictionaries(
    {
        "cdiVersion": st.sampled_from(VERSIONS) | _values,
        "kind": st.just("vendor.test/null") | _values,
        "devices": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["0", "all"]) | _values, "containerEdits": _edits}
            ),
            max_size=3,
        )
        | _values,
    },
    optional={"containerEdits": _edits, "annotations": _values, "more": _values},
)


def _parse(data: bytes, suffix: str) -> Spec | None:
    """The specification, None where it is refused, with a message of one line that names the file."""
    path = f"/etc/cdi/x{suffix}"
    try:
        return parse_spec(data, path)
    except BareboatError as error:
        assert not isinstance(error, UsageError)
        assert str(error).startswith(f"the device specification {path} cannot be used: ")
        assert "\n" not in str(error)
        return None


def _check(edits: Edits) -> None:
    paths = [path for node in edits.nodes for path in (node.path, node.source)]
    paths += [path for mount in edits.mounts for path in (mount.source, mount.target)]
    for path in paths:
        assert path.startswith("/")
        assert not {"", ".", ".."} & set(path[1:].split("/")) or path == "/"
        assert "\0" not in path
    assert all(mount.target != "/" for mount in edits.mounts)
    assert all(name and "=" not in name for name, _ in edits.environment)


@given(_documents)
def test_documents_are_taken_or_refused_in_both_forms_alike(document: Any) -> None:
    data = json.dumps(document).encode()
    spec = _parse(data, ".json")
    if spec is not None:
        for edits in (spec.edits, *spec.devices.values()):
            _check(edits)
        # YAML 1.2 has JSON in it, and what PyYAML writes of the same values says the same.
        again = _parse(yaml.safe_dump(document).encode(), ".yaml")
        assert again is not None
        assert (again.kind, again.edits, again.devices) == (spec.kind, spec.edits, spec.devices)


@given(st.binary(max_size=300), st.sampled_from([".json", ".yaml"]))
def test_noise_is_refused(noise: bytes, suffix: str) -> None:
    assert _parse(noise, suffix) is None


_PIECES = (
    *(
        "&a ",
        "*a",
        "- ",
        "? ",
        ": ",
        "!!python/object:os.system ",
        "!!binary ",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!timestamp ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "  ",
    ),
    *(
        "2020-13-45",
        "1_000",
        "0o9",
        "'",
        '"',
        "|",
        ">",
        "<<: ",
        "kind: a/b",
        "devices: ",
        "cdiVersion: 1.1.0",
    ),
)


@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_pieces_of_yaml_are_refused(pieces: list[str]) -> None:
    assert _parse("".join(pieces).encode(), ".yaml") is None


def test_nests_that_are_too_deep_or_too_long_are_refused() -> None:
    for suffix in (".json", ".yaml"):
        assert _parse(b"[" * 100_000, suffix) is None
        assert _parse(b'{"a":' * 100_000, suffix) is None
        assert _parse(b" " * (LIMIT + 1), suffix) is None


@given(st.text(max_size=20) | st.from_regex(r"[a-z./=:_-]{0,12}"))
def test_names_are_split_or_refused(text: str) -> None:
    try:
        kind, name = split_name(text)
    except ValueError:
        return
    assert f"{kind}={name}" == text
    assert kind.count("/") == 1
    assert Path(f"/{kind}").name
