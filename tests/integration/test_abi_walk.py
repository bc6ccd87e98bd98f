"""What `bareboat abi why` says of the swap is what the real loader does in a container with that swap."""

from __future__ import annotations

import json
import re

import pytest
from launching import HELLO, Image, bareboat, out


@pytest.mark.parametrize("name", ["deb13-mpich", "deb13-openmpi"])
@pytest.mark.parametrize(("mode", "walk"), [("image", "before"), ("host", "after")])
def test_the_walk_is_the_real_loaders(image: Image, name: str, mode: str, walk: str) -> None:
    told = json.loads(out(bareboat("abi", "why", "--json", image(name), HELLO)))
    ours = {each["name"]: each["found"] for each in told[walk]["lookups"] if not each["loaded_already"]}
    ours.pop("ld-linux-x86-64.so.2")
    command = ("env", "LD_TRACE_LOADED_OBJECTS=1", HELLO)
    traced = out(bareboat("run", "--mpi", mode, image(name), "--", *command))
    theirs = dict(re.findall(r"^\t(\S+) => (\S+) \(0x\w+\)$", traced, re.MULTILINE))
    assert ours == theirs
    assert any(path.startswith("/run/bareboat/mpi/") for path in theirs.values()) is (mode == "host")
