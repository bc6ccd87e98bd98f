"""From an image and a program in it to a verdict and a swap; this host's MPIs are read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .closure import Closure, find_closure
from .host import HostMpi, choose_host, probe_host
from .hostlibc import with_libc
from .image import ImageMpiFacts, probe_image
from .libc import LibcFacts
from .node import NodeFacts, describe_node
from .rootfs import RootView
from .swap import Swap, make_swap
from .verdict import Verdict, VerdictKind, judge

PRIVATE_DIR = "/run/bareboat/mpi"
"""Where in a container what the host's MPI needs appears."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found out about one program; ``swap`` only where the verdict is NATIVE."""

    image: ImageMpiFacts
    host: HostMpi | None
    closure: Closure | None
    verdict: Verdict
    swap: Swap | None
    node: NodeFacts


class Judge:
    """Judges programs by the MPIs of this host; ``order`` are prefixes to look at first.

    Raises AbiError if such a prefix holds no MPI.
    """

    def __init__(self, order: tuple[str, ...] = ()) -> None:
        self._order = order
        self._hosts = probe_host(prefixes=order)
        self._closures: dict[str, Closure] = {}
        self._libc: LibcFacts | None = None
        self._node = describe_node()

    def judge(
        self, view: RootView, program: str | None, *, environment: Mapping[str, str] | None = None
    ) -> Judgement:
        """Judge one program (None: the image as such) in the environment that it will see.

        Raises AbiError as `probe_image` does.
        """
        # Of an image's several MPIs that no program names, a launch takes the one that this host has.
        ours = tuple(dict.fromkeys(host.family for host in self._hosts))
        facts = probe_image(view, program=program, environment=environment or {}, prefer=ours)
        values = facts.mpi[0].values if facts.mpi else ""
        chosen = choose_host(self._hosts, facts.family, order=self._order, values=values)
        host = chosen or next(iter(self._hosts), None)
        closure = self._closure(facts, host) if host and host.family == facts.family else None
        verdict = judge(facts, host, closure, self._node)
        swap = None
        if host and closure and verdict.kind is VerdictKind.NATIVE:
            swap = make_swap(facts, host, closure, private_dir=PRIVATE_DIR)
        return Judgement(facts, host, closure, verdict, swap, self._node)

    def _closure(self, facts: ImageMpiFacts, host: HostMpi) -> Closure:
        path = host.c_library.path
        if path not in self._closures:
            self._closures[path] = find_closure(host)
        closure = with_libc(facts, host, self._closures[path], libc=self._libc)
        self._libc = closure.libc or self._libc
        return closure
