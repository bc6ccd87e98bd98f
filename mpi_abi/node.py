"""Probe of this node: its processor and its kernel.  Reads only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .ldso import cpu_levels

BASELINE = "x86-64"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """This node: the x86-64 levels of its processor, best first, its kernel, e.g. (6, 1), and its ``cpu``.

    The latter is a name for people, "" where nobody asked for one.
    """

    levels: tuple[str, ...]
    kernel: tuple[int, ...]
    cpu: str = ""

    @property
    def level(self) -> str:
        """The best level, as people say it."""
        return self.levels[0] if self.levels else BASELINE


def probe_node() -> NodeFacts:
    """Read what this node has, as a launch needs it."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        cpuinfo = ""
    return NodeFacts(cpu_levels(cpuinfo), _kernel_of(os.uname().release))


def describe_node() -> NodeFacts:
    """Read the same, with the processor's name.  It takes ten times as long."""
    import archspec.cpu

    host = archspec.cpu.host()
    names = [target.name.replace("_", "-") for target in (host, *host.ancestors)]
    levels = sorted({name for name in names if name.startswith(f"{BASELINE}-v")}, reverse=True)
    return NodeFacts(tuple(levels), _kernel_of(os.uname().release), host.name)


def _kernel_of(release: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", release)
    return tuple(map(int, found[0].split("."))) if found else ()
