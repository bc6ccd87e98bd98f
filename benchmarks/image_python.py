"""An image's Python, started without a container: by the image's own loader, out of its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mpi_abi import AbiError
from mpi_abi.elfcache import ElfCache
from mpi_abi.rootfs import RootView

_PROGRAMS = ("/usr/local/bin/python3", "/usr/bin/python3")
_LIBRARIES = (
    *("/usr/local/lib", "/usr/lib/*-linux-*", "/lib/*-linux-*"),
    *("/usr/lib64", "/lib64", "/usr/lib", "/lib"),
)


@dataclass(frozen=True, slots=True)
class ImagePython:
    """Where it is.

    program and library (the directory of its modules): in the image; outside: words that start the same
    program without a container, with variables in its environment; library_outside: the same directory.
    """

    program: str
    library: str
    outside: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    library_outside: str


def find_python(image: str) -> ImagePython | None:
    """Look for it; None where the image is no directory, or has none that can be started so.  Reads only."""
    if not Path(image).is_dir():
        return None
    try:
        return _find(RootView(image), image)
    except (AbiError, OSError):
        return None


def _find(view: RootView, image: str) -> ImagePython | None:
    for program in _PROGRAMS:
        real = view.resolve(program)
        if real is None or not view.is_file(program):
            continue
        loader = view.resolve(ElfCache().facts(real).interpreter)
        home = str(Path(program).parent.parent)
        library = f"{home}/lib/{Path(real).name}"
        outside = view.resolve(library)
        if loader is None or outside is None:
            continue
        found = (view.resolve(path) for pattern in _LIBRARIES for path in view.expand(pattern))
        places = ":".join(dict.fromkeys(path for path in found if path))
        words = (loader, "--library-path", places, real)
        return ImagePython(program, library, words, (("PYTHONHOME", image + home),), outside)
    return None
