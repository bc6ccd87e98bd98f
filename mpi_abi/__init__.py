"""Which MPI an image holds, whether the host's fits, and what replaces what.  Usable alone.

The whole question, as ``bareboat abi check`` asks it, is three lines::

    judge = mpi_abi.Judge()  # reads this host's MPIs
    judgement = judge.judge(mpi_abi.RootView("/images/app"), "/opt/app/bin/app")
    print(judgement.verdict.kind, [reason.code for reason in judgement.verdict.reasons])

Its parts, for who wants facts only: `probe_host` and `choose_host` (this host's MPIs), `find_closure` (what
one of them needs at run time), `probe_image` (what MPI a program of an image uses), `judge` (facts in,
`Verdict` out), `make_swap` (what would cover what), `probe_node` (processor and kernel).  Facts are frozen
values; paths are the container's unless they say otherwise, sizes are in bytes, versions are tuples of
numbers or the maker's own text.  Probes read files and execute nothing; `judge` and `make_swap` are pure.
What cannot be read or judged raises `AbiError`, whose ``hint`` says what to do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .closure import Closure, find_closure, with_exports
    from .environment import image_environment
    from .errors import AbiError
    from .guards import Guard, GuardKind, Recorder
    from .host import HostMpi, choose_host, probe_host
    from .hostlibc import needs_host_libc, with_libc
    from .image import ImageMpiFacts, ImageProbe, MpiSource, probe_image
    from .judging import Judge, Judgement
    from .node import NodeFacts, probe_node
    from .reasons import Code, Reason
    from .rootfs import RootView
    from .sharing import asked_of_image, host_paths, used_too
    from .swap import Action, Cover, EnvironmentChange, Swap, make_swap
    from .verdict import Verdict, VerdictKind, judge

__all__ = [
    "AbiError",
    "Action",
    "Closure",
    "Code",
    "Cover",
    "EnvironmentChange",
    "Guard",
    "GuardKind",
    "HostMpi",
    "ImageMpiFacts",
    "ImageProbe",
    "Judge",
    "Judgement",
    "MpiSource",
    "NodeFacts",
    "Reason",
    "Recorder",
    "RootView",
    "Swap",
    "Verdict",
    "VerdictKind",
    "asked_of_image",
    "choose_host",
    "find_closure",
    "host_paths",
    "image_environment",
    "judge",
    "make_swap",
    "needs_host_libc",
    "probe_host",
    "probe_image",
    "probe_node",
    "used_too",
    "with_exports",
    "with_libc",
]

# Imported when asked for: who needs only a guard, or a kept answer, need not wait for the rest.
_PLACES = {
    "Closure": "closure",
    "find_closure": "closure",
    "with_exports": "closure",
    "image_environment": "environment",
    "AbiError": "errors",
    "Guard": "guards",
    "GuardKind": "guards",
    "Recorder": "guards",
    "HostMpi": "host",
    "choose_host": "host",
    "probe_host": "host",
    "needs_host_libc": "hostlibc",
    "with_libc": "hostlibc",
    "ImageMpiFacts": "image",
    "ImageProbe": "image",
    "MpiSource": "image",
    "probe_image": "image",
    "Judge": "judging",
    "Judgement": "judging",
    "NodeFacts": "node",
    "probe_node": "node",
    "Code": "reasons",
    "Reason": "reasons",
    "RootView": "rootfs",
    "asked_of_image": "sharing",
    "host_paths": "sharing",
    "used_too": "sharing",
    "Action": "swap",
    "Cover": "swap",
    "EnvironmentChange": "swap",
    "Swap": "swap",
    "make_swap": "swap",
    "Verdict": "verdict",
    "VerdictKind": "verdict",
    "judge": "verdict",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = value
    return value
