"""Which MPI an image holds, whether the host's fits, and what replaces what.  Usable alone."""

from __future__ import annotations

from .closure import Closure, find_closure
from .errors import AbiError
from .guards import Guard, GuardKind, Recorder
from .host import HostMpi, choose_host, probe_host
from .hostlibc import needs_host_libc, with_libc
from .image import ImageMpiFacts, ImageProbe, MpiSource, probe_image
from .node import NodeFacts, probe_node
from .reasons import Code, Reason
from .rootfs import RootView
from .sharing import asked_of_image
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
    "with_libc",
]
