"""What the probes of several programs of one image need alike, read once."""

from __future__ import annotations

from collections.abc import Mapping

from .elfcache import ElfCache
from .loader import Loader
from .mpilib import MpiLibrary
from .rootfs import RootView
from .search import search


class Reads:
    """The files of an image that were read, and its loaders, for programs that see one environment."""

    def __init__(self, view: RootView, environment: Mapping[str, str]) -> None:
        self.view = view
        self.environment = environment
        self.elves = ElfCache()
        self._loaders: dict[tuple[str, str], Loader] = {}
        self._libraries: dict[Loader, tuple[MpiLibrary, ...]] = {}

    def loader(self, machine: str, interpreter: str) -> Loader:
        """The loader of programs for ``machine`` with this interpreter ("": the machine's usual one)."""
        key = machine, interpreter
        if key not in self._loaders:
            self._loaders[key] = Loader(
                self.view,
                self.elves,
                machine=machine,
                interpreter=interpreter,
                environment=self.environment,
            )
        return self._loaders[key]

    def libraries(self, loader: Loader) -> tuple[MpiLibrary, ...]:
        """All MPI libraries of the image, as one of its loaders prefers them (`search.search`)."""
        if loader not in self._libraries:
            found = search(loader, self.environment.get("LD_LIBRARY_PATH", ""))
            self._libraries[loader] = tuple(found)
        return self._libraries[loader]
