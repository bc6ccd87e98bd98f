"""Whether an image's program can run on a node at all, whatever its MPI.  Pure.

The files say what they need of processor and kernel: GNU property notes name an x86-64 level, the note of
the ABI a kernel.  The loader refuses what does not fit, in each rank; here it is told before, by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from .families import tables
from .image import ImageMpiFacts, ProgramKind
from .libc import show_version
from .loader import LoadedObject
from .mpilib import looks_like_mpi
from .node import BASELINE, NodeFacts
from .reasons import Code, Reason
from .users import reachable

_HWCAPS = "/glibc-hwcaps/"
_MOST_MISSING = 10
"""Libraries that are named one by one."""


def node_reasons(image: ImageMpiFacts, node: NodeFacts) -> tuple[Reason, ...]:
    """Why the program cannot run on this node; none where nothing speaks against it.  Pure."""
    return (*_interpreter(image), *_processor(image, node), *_kernel(image, node))


def node_notes(image: ImageMpiFacts) -> tuple[Reason, ...]:
    """What a site should know beside: what differs from node to node, and what nobody finds.  Pure."""
    return (*_levels(image), *_missing(image))


def _missing(image: ImageMpiFacts) -> Iterator[Reason]:
    """Libraries of the program's own that are not there; whatever starts it may name their directory."""
    replaced, objects = {item.real for item in image.mpi}, image.tree.objects
    stop = frozenset(at for at, item in enumerate(objects) if item.real in replaced)
    own = set(reachable(image.tree, stop=stop) if objects else ()) - stop
    mine = {objects[at].path for at in own}
    lost = [
        item
        for item in image.missing
        if item.needed_by in mine and not looks_like_mpi(item.name) and tables().group_of(item.name) is None
    ]
    for item in lost[:_MOST_MISSING]:
        text = f"{item.needed_by} needs {item.name}, which its loader does not find: it cannot start without"
        hint = "install it in the image, or name its directory in LD_LIBRARY_PATH of /etc/environment there"
        yield Reason(Code.LIBRARY_MISSING, text, (item.name,), hint)


def _levels(image: ImageMpiFacts) -> tuple[Reason, ...]:
    found = [item.real for item in image.tree.objects if _HWCAPS in item.real]
    if not found:
        return ()
    text = (
        f"{len(found)} of the image's libraries were taken for this node's processor, from glibc-hwcaps: "
        "nodes with another one load other files"
    )
    return (Reason(Code.HWCAPS, text, tuple(found)),)


def needed_level(image: ImageMpiFacts) -> str:
    """The x86-64 level that the program and its libraries ask for, "" where none of them says."""
    return _level(max((item.facts.isa_needed for item in _files(image)), default=0))


def needed_kernel(image: ImageMpiFacts) -> tuple[int, ...]:
    """The oldest kernel that all of them run on, () where none says."""
    return max((item.facts.kernel_needed for item in _files(image)), default=())


def _level(bits: int) -> str:
    """Name the highest bit of GNU_PROPERTY_X86_ISA_1_NEEDED (x86-64 psABI)."""
    number = bits.bit_length()
    return f"{BASELINE}-v{number}" if number > 1 else BASELINE * number


def _files(image: ImageMpiFacts) -> Iterator[LoadedObject]:
    """What is loaded of the image, without the MPI whose place the host's takes."""
    replaced = {item.real for item in image.mpi}
    return (item for item in image.tree.objects if item.real not in replaced)


def _interpreter(image: ImageMpiFacts) -> Iterator[Reason]:
    # A script's may lie in a directory of the user's, which a launch shows and looks through.
    if not image.interpreter_exists and image.kind is ProgramKind.ELF:
        text = f"{image.program} needs the interpreter {image.interpreter}, which is not in the image"
        hint = "install it in the image, or build the program on the image's own distribution"
        yield Reason(Code.INTERPRETER_MISSING, text, (image.interpreter,), hint)


def _processor(image: ImageMpiFacts, node: NodeFacts) -> Iterator[Reason]:
    has = {BASELINE, *node.levels}
    lacking = [(item, _level(item.facts.isa_needed)) for item in _files(image) if item.facts.isa_needed]
    lacking = [(item, level) for item, level in lacking if level not in has]
    if lacking:
        item, level = max(lacking, key=lambda pair: pair[1])
        text = f"{item.path} needs a processor of {level}; this node's is one of {node.level}"
        hint = (
            f"run the step on nodes that have it (srun --constraint), or use an image built for {node.level}"
        )
        yield Reason(Code.CPU_LEVEL, text, tuple(f"{item.real}: {level}" for item, level in lacking), hint)


def _kernel(image: ImageMpiFacts, node: NodeFacts) -> Iterator[Reason]:
    newer = [item for item in _files(image) if node.kernel and item.facts.kernel_needed > node.kernel]
    if newer:
        item = max(newer, key=lambda item: item.facts.kernel_needed)
        text = (
            f"{item.path} needs Linux {show_version(item.facts.kernel_needed)} or newer; "
            f"this node has {show_version(node.kernel)}"
        )
        evidence = tuple(f"{item.real}: {show_version(item.facts.kernel_needed)}" for item in newer)
        hint = "use an image whose glibc was built for older kernels"
        yield Reason(Code.KERNEL, text, evidence, hint)
