"""From an image and a program in it to a verdict and a swap; this host's MPIs are read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .closure import Closure, find_closure, with_exports
from .environment import image_environment
from .guards import Recorder
from .host import HostMpi, choose_host, probe_host
from .hostlibc import with_libc
from .image import ImageMpiFacts, ImageProbe
from .libc import LibcFacts
from .node import NodeFacts, describe_node
from .reads import Reads
from .rootfs import RootView
from .sharing import asked_of_image, host_paths, used_too
from .swap import Swap, make_swap
from .verdict import Verdict, VerdictKind, judge

PRIVATE_DIR = "/run/bareboat/mpi"
"""Where in a container what the host's MPI needs appears."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found out about one program, in an environment; ``swap`` only where the verdict is NATIVE."""

    image: ImageMpiFacts
    host: HostMpi | None
    closure: Closure | None
    verdict: Verdict
    swap: Swap | None
    node: NodeFacts
    environment: Mapping[str, str]


class Judge:
    """Judges programs by the MPIs of this host.

    ``order`` are prefixes to look at first, and without ``search`` the only ones.
    ``recorder`` gets guards for what is read of the host.  Raises AbiError if a prefix holds no MPI.
    """

    def __init__(
        self, order: tuple[str, ...] = (), *, search: bool = True, recorder: Recorder | None = None
    ) -> None:
        self._order = order
        self._recorder = recorder
        self._hosts = probe_host(prefixes=order, search=search, recorder=recorder)
        self._closures: dict[str, Closure] = {}
        self._libc: LibcFacts | None = None
        self._node = describe_node()

    def judge(
        self,
        view: RootView,
        program: str | None,
        *,
        reads: Reads | None = None,
    ) -> Judgement:
        """Judge one program (None: the image as such) in the environment that the image presets.

        For many programs of one image, or for another environment, give them all the same ``reads``.
        Raises AbiError as `probe_image` does.
        """
        reads = reads or Reads(view, image_environment(view))
        # Of an image's several MPIs that no program names, a launch takes the one that this host has.
        ours = tuple(dict.fromkeys(host.family for host in self._hosts))
        probe = ImageProbe(view, reads.environment, prefer=ours, reads=reads)
        facts = probe.run(program, sparing=False)
        values = facts.mpi[0].values if facts.mpi else ""
        chosen = choose_host(self._hosts, facts.family, order=self._order, values=values)
        host = chosen or next(iter(self._hosts), None)
        closure = None
        if host and host.family == facts.family:
            facts, closure = self._complete(probe, facts, host)
        verdict = judge(facts, host, closure, self._node)
        swap = None
        if host and closure and verdict.kind is VerdictKind.NATIVE:
            swap = make_swap(facts, host, closure, private_dir=PRIVATE_DIR)
        return Judgement(facts, host, closure, verdict, swap, self._node, reads.environment)

    def _complete(
        self, probe: ImageProbe, facts: ImageMpiFacts, host: HostMpi
    ) -> tuple[ImageMpiFacts, Closure]:
        """Read of the image what the host's closure asks for, and what the closure then needs."""
        path = host.c_library.path
        if path not in self._closures:
            # No verdict depends on device nodes, of which nothing tells when they come and go.
            self._closures[path] = find_closure(host, devices=False, recorder=self._recorder)
        closure = self._closures[path]
        asked = asked_of_image(facts, host, closure)
        facts = probe.complete(facts, asked, whole_libc=True)
        while more := asked_of_image(facts, host, closure) - asked:
            asked |= more
            facts = probe.complete(facts, asked, whole_libc=True)
        facts = probe.meet(facts, host_paths(facts, host, closure, PRIVATE_DIR))
        closure = with_exports(closure, used_too(facts))
        closure = with_libc(facts, host, closure, libc=self._libc, recorder=self._recorder)
        self._libc = closure.libc or self._libc
        return facts, closure
