"""By what the ranks of a step find each other: what Slurm offers, and what an MPI speaks.

An MPI that finds nobody to speak to starts each rank alone, as rank 0 of 1: n results, none of them wrong to
look at, and none of the work shared.  The names are those of ``srun --mpi``; PMI-1 goes over the same socket
as PMI-2.
"""

from __future__ import annotations

from dataclasses import dataclass

from .closure import Closure
from .families import stem, tables
from .host import HostMpi
from .product import older

_BY_LIBRARY = {"libpmix": "pmix", "libpmi2": "pmi2", "libpmi": "pmi1"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an MPI speaks, the best first.

    ``without`` says that it may reach Slurm under ``--mpi=none``, too (Slurm's libpmi does); ``silent`` that
    a rank which reaches nobody starts alone and says nothing.
    """

    interfaces: tuple[str, ...]
    without: bool
    silent: bool


def spoken_by(host: HostMpi, closure: Closure) -> Spoken:
    """What a host's MPI speaks, by its family and version and by the libraries it brings along.  Pure."""
    family = tables().families[host.family]
    linked = {_BY_LIBRARY[stem(file.soname)] for file in closure.files if stem(file.soname) in _BY_LIBRARY}
    names = dict.fromkeys((*family.wire_up, *sorted(linked, reverse=True)))
    if family.wire_up == ("pmix",) and "pmix" not in linked:
        names = dict.fromkeys(sorted(linked, reverse=True))  # without its libpmix it speaks none
    silent = bool(family.alone_since) and not older(host.version, family.alone_since)
    return Spoken(tuple(names), "pmi1" in linked or "pmi2" in linked, silent)


def starts_alone(spoken: Spoken, offered: str) -> bool:
    """Whether the ranks certainly start alone under ``--mpi=offered``.  Pure.

    Other types than Slurm's own are a site's, and may be anything.
    """
    kind = "pmix" if offered.startswith("pmix") else offered
    if kind not in {"none", "pmi2", "pmix"} or not spoken.silent:
        return False
    return kind not in map(_type, spoken.interfaces) and not (kind == "none" and spoken.without)


@dataclass(frozen=True, slots=True)
class PmiAdvice:
    """How to start an MPI, in view of what srun offers (() if it was not asked, or did not answer).

    ``asked`` is the ``--mpi`` of the step that is judged in, "" outside of steps.
    """

    title: str
    spoken: Spoken
    offered: tuple[str, ...]
    asked: str = ""

    @property
    def use(self) -> str:
        """The value for ``srun --mpi``, "" if there is none."""
        kinds = {"pmix" if name.startswith("pmix") else name for name in self.offered}
        types = map(_type, self.spoken.interfaces)
        return next((name for name in types if not self.offered or name in kinds), "")

    @property
    def text(self) -> str:
        """One sentence."""
        names = " and ".join(self.spoken.interfaces)
        if not names:
            return f"{self.title} speaks no PMI that srun offers: start it with its own mpiexec"
        if not self.use:
            only = ", ".join(self.offered)
            return f"{self.title} speaks {names}; srun here offers only {only}: its ranks would start alone"
        text = f"{self.title} speaks {names}: start it with srun --mpi={self.use}"
        if self.asked and starts_alone(self.spoken, self.asked):
            text += f"; under this step's --mpi={self.asked}, each rank starts alone"
        return text


def _type(interface: str) -> str:
    """The type of ``srun --mpi`` under which an interface is served."""
    return "pmi2" if interface == "pmi1" else interface
