"""What is measured: the ways of launches, the cases of all suites, and what runs a side of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from benchmarks.cases import BARE, Asked, Case, Ground, Offer, Way
from benchmarks.engines import find_engines
from benchmarks.errors import BenchError
from benchmarks.making import NEEDS_MPI, Mpi, check_family
from benchmarks.probes import PROGRAMS
from benchmarks.results import Failure
from benchmarks.runner import Allocation, Client, Output, run_step
from benchmarks.suites import get_suite, launches
from benchmarks.suites.common import Target, require_inside
from benchmarks.ways import make_ways

Refused = Mapping[str, BenchError]
"""Why a side is not run, by its name."""


def find_ways(client: Client, image: str, suites: Sequence[str], asked: Asked) -> tuple[Way, ...]:
    """Those of the launches, where they are measured."""
    if launches.NAME not in suites or (asked.only and launches.NOTHING not in asked.only):
        return ()
    return make_ways(image, asked, find_engines(client, asked.engines))


def wanted_by(suites: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """Names of the programs that suites want compiled."""
    return tuple(name for suite in suites for name in get_suite(suite).wanted(asked))


def not_inside(
    target: Target, allocation: Allocation, forms: Iterable[tuple[str, str]], nodes: int
) -> dict[str, BenchError]:
    """Why a form of the image is not proved to be a container, by its side; the others are measured."""
    refused = {}
    for side, path in forms:
        try:
            require_inside(target, allocation, path, nodes)
        except BenchError as error:
            refused[side] = error
    return refused


def make_offers(
    suites: Sequence[str], ground: Ground, mpi: Mpi | None, missing: BenchError | None, *, alone: bool
) -> tuple[tuple[Case, ...], tuple[Failure, ...], tuple[str, ...]]:
    """All cases; a suite that has none is a failure, and the others go on.

    missing: why there is no MPI, or none of its programs; alone: there is nothing that starts several ranks.
    Raises BenchError where no suite has a case.
    """
    offers: list[Offer] = []
    bad: list[Failure] = []
    for name in suites:
        try:
            _require_mpi(name, ground, mpi, missing)
            offer = get_suite(name).offer(ground)
            for program in dict.fromkeys(case.commands[BARE].argv[0] for case in offer.cases):
                if mpi is not None and program not in ground.programs.values():
                    check_family(mpi, program)
            offers.append(_of_one_rank(offer) if alone else offer)
        except BenchError as error:
            bad.append(Failure(f"suite {name}", str(error), error.hint))
    failures = (*bad, *(failure for one in offers for failure in one.failures))
    cases = tuple(case for one in offers for case in one.cases)
    titles = dict.fromkeys(case.title for case in cases)
    # What a suite that failed would have had is not known.
    strange = [title for title in ground.asked.only if title not in titles and not bad]
    if strange:
        raise BenchError(
            f"no program of these suites and this level is called {strange[0]}",
            hint=f"there are: {', '.join(titles)}",
        )
    chosen = tuple(case for case in cases if not ground.asked.only or case.title in ground.asked.only)
    if not chosen:
        why = failures[0] if failures else Failure("", "no suite has a case", "name more with --suite")
        raise BenchError(f"there is nothing to measure: {why.text}", hint=why.hint)
    return chosen, failures, (*(note for one in offers for note in one.notes), *_of_site(suites, ground))


def _require_mpi(suite: str, ground: Ground, mpi: Mpi | None, missing: BenchError | None) -> None:
    """Raise why a suite has no case without MPI, or without its programs."""
    if missing is None or suite not in NEEDS_MPI:
        return
    if mpi is None or any((BARE, name) not in ground.programs for name in wanted_by((suite,), ground.asked)):
        raise missing


def _of_site(suites: Sequence[str], ground: Ground) -> Iterable[str]:
    """Say that a site's own programs were not asked themselves what they use."""
    own = {"osu": ground.asked.osu, "npb": ground.asked.npb}
    for suite in suites:
        directory = own.get(suite)
        if directory is not None and (BARE, PROGRAMS[0]) in ground.programs:
            yield (
                f"{suite}: library and transport are those that bareboat's own probe used on each side; the "
                f"programs of {directory[0]} do not say theirs"
            )


def _of_one_rank(offer: Offer) -> Offer:
    cases = tuple(case for case in offer.cases if case.ranks == 1)
    if cases == offer.cases:
        return offer
    left = ", ".join(dict.fromkeys(str(case.ranks) for case in offer.cases if case.ranks > 1))
    why = f"without Slurm, the host's mpiexec starts several ranks ({left}), and none was found"
    if not cases:
        raise BenchError(
            why, hint="install the host's MPI with its mpiexec, name its prefix (--host-mpi), or --ranks 1"
        )
    return replace(offer, cases=cases, notes=(*offer.notes, f"one rank alone was measured: {why}"))


def make_starter(
    target: Target, allocation: Allocation, *, forms: Refused, tried: Refused
) -> Callable[[Case, str], Output]:
    """What runs a side of a case.

    forms: sides that are not run, as they are not proved to be containers; tried: ways of launches that did
    not work, of which the sides of other suites know nothing.
    """

    def start(case: Case, side: str) -> Output:
        refused = {**tried, **forms} if case.suite == launches.NAME else forms
        if side in refused:
            raise BenchError(str(refused[side]), hint=refused[side].hint)
        command = case.commands[side]
        # Of another engine, neither its program nor the image say what it is.
        title = f"{case.title} by {side}" if command.image is None and side != BARE else ""
        step = command.step(case.nodes, case.ranks, target.limit, title=title)
        return run_step(target.client, allocation, step)

    return start
