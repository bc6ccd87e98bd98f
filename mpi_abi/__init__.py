"""Which MPI an image holds, whether the host's fits, and what replaces what.  Usable alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .closure import Closure, find_closure, with_exports
    from .errors import AbiError
    from .guards import Guard, GuardKind, Recorder
    from .host import HostMpi, choose_host, probe_host
    from .hostlibc import needs_host_libc, with_libc
    from .image import ImageMpiFacts, ImageProbe, MpiSource, probe_image
    from .node import NodeFacts, probe_node
    from .reasons import Code, Reason
    from .rootfs import RootView
    from .sharing import asked_of_image, used_too
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
    "NodeFacts": "node",
    "probe_node": "node",
    "Code": "reasons",
    "Reason": "reasons",
    "RootView": "rootfs",
    "asked_of_image": "sharing",
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
