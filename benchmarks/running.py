"""``bareboat bench run``: from what was asked for to a directory of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import probes
from benchmarks.analysis import analyse
from benchmarks.cases import BARE, CONTAINER, Asked, Case, Ground, Offer, Way
from benchmarks.engine import Ending, Pace, run_cases
from benchmarks.engines import find_engines
from benchmarks.errors import BenchError
from benchmarks.folder import PAGE, RESULTS, TABLE, Folder, Kept, outline
from benchmarks.identity import identify, require_same
from benchmarks.local import NOTE, VARIABLES, has_slurm, local_allocation
from benchmarks.making import Made, Mpi, advise_pmi, check_family, find_mpi, make_programs, writing
from benchmarks.programs import compile_plain, source_of
from benchmarks.progress import Progress
from benchmarks.report import to_json
from benchmarks.results import Failure, NodeFacts, Results
from benchmarks.runner import Allocation, Client, Output, job_state, run_command, run_step
from benchmarks.suites import get_suite, launches
from benchmarks.suites.common import (
    Target,
    allocate_for,
    choose_nodes,
    kind_of,
    make_setting,
    require_inside,
)
from benchmarks.trials import describe_way, try_ways
from benchmarks.ways import make_ways

_NEEDS_MPI = {"osu", "npb"}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to measure.

    suites: names; seconds: budget of time, None: all rounds; prefix: of the host's MPI, None: it is searched;
    mpi: srun's --mpi, None: what the host's MPI speaks; local: without Slurm, even if it is there; words: all
    of that as the command line names it, by which a measurement that goes on is known as the same; command:
    what repeats it.
    """

    target: Target
    image: str
    suites: tuple[str, ...]
    asked: Asked
    seconds: float | None = None
    prefix: str | None = None
    mpi: str | None = None
    local: bool = False
    words: Mapping[str, Any] | None = None
    command: tuple[str, ...] = ()


def run_bench(options: RunOptions, folder: Folder, progress: Progress) -> tuple[Results, Ending]:
    """Measure what the folder does not hold yet, and write its results.

    Run it inside `benchmarks.runner.stop_on_signals`: what is measured is kept.  Raises BenchError when
    nothing can be measured, Stopped when stopped before the first run.
    """
    kind_of(options.image)
    forms = options.asked.forms
    images = identify((options.image, *(path for _, path in forms)))
    known = folder.records()
    session = 1 + max((record.session for record in known), default=-1)
    begun: set[str] = set()
    if session:
        before = folder.kept()
        require_same(before.images, images)
        begun = {side for one in before.outlines if one.suite == launches.NAME for side in one.sides}
    client = _with_mounts(replace(options.target.client, directory=str(folder.path)), options.asked)
    # Those that it was begun with, even if more engines work by now.
    ways = [way for way in _ways(options, client) if not begun or way.name in begun]
    mpi = _find_mpi(options, progress)
    local = options.local or not has_slurm(client)
    if local and mpi is not None:
        variables = dict(VARIABLES.get(mpi.host.family, ()))
        client = replace(client, environment={**client.environment, **variables})
    target = replace(options.target, client=client)
    with _local(target, mpi, progress) if local else allocate_for(target, progress) as allocation:
        nodes = choose_nodes(sorted({1, target.nodes or len(allocation.nodes)}), allocation)
        require_inside(target, allocation, options.image, max(nodes))
        tried = try_ways(
            ways,
            launches.NOTHING,
            target,
            allocation,
            nodes=max(nodes),
            required=options.asked.engines is not None,
            begun=begun,
            progress=progress,
        )
        names = {way.name for way in tried.ways}
        untried = [form for form in forms if form[0] not in names]
        refused = {**tried.refused, **_not_inside(target, allocation, untried, max(nodes))}
        machine, seen = probes.ask_nodes(client, allocation, options.image)
        made = _make(options, client, allocation, mpi, folder=folder, progress=progress)
        ground = Ground(
            options.asked,
            options.image,
            nodes,
            probes.count_processors(machine) or allocation.cpus_per_node,
            made.programs,
            _srun_options(options, mpi, allocation),
            str(folder.path),
            tried.ways,
        )
        cases, failures, notes = _offers(options.suites, ground, mpi)
        setting = replace(
            make_setting(target, options.image, allocation),
            started=time.time(),
            machine=machine,
            versions=(*_versions(client, local=local), *made.compilers),
            command=options.command,
        )
        notes = (
            *made.notes,
            *seen,
            *tried.notes,
            *notes,
            *_crowded(cases, machine),
            *((NOTE,) if local else ()),
        )
        kept = Kept(
            setting,
            options.words or {},
            tuple(map(outline, cases)),
            commands=tuple(describe_way(way, launches.NOTHING, client, allocation) for way in tried.ways),
            failures=(*tried.failures, *failures),
            notes=notes,
            images=images,
        )
        if session:
            kept = _joined(folder.kept(), kept)
        folder.keep(kept)
        folder.drop_results()
        began = time.monotonic()
        with folder.open_rounds() as rounds:
            if (BARE, probes.PROGRAMS[0]) in made.programs:
                for record in probes.ask_sides(
                    ground, client, allocation, session=session, limit=target.limit
                ):
                    rounds.add(record)
            left = None if options.seconds is None else options.seconds - (time.monotonic() - began)
            ending = run_cases(
                cases,
                Pace(target.rounds, target.warmup, target.seed, left, target.limit),
                known,
                session=session,
                start=_starter(target, allocation, refused),
                keep=rounds.add,
                check=_checker(target, allocation),
                progress=progress,
            )
    results = analyse(kept, folder.records(), stopped=ending.text)
    try:
        write_results(results, folder)
    except BenchError as error:  # what was measured is shown all the same
        progress.note(str(error))
        ending = replace(ending, failed=True)
    return results, ending


def write_results(results: Results, folder: Folder) -> None:
    """Write all that is made from what a folder keeps.  Raises BenchError where it cannot be written."""
    from benchmarks.page.html import to_html
    from benchmarks.page.table import to_csv

    folder.write(RESULTS, to_json(results))
    if results.rows:
        folder.write(PAGE, to_html(results))
        folder.write(TABLE, to_csv(results))


def _find_mpi(options: RunOptions, progress: Progress) -> Mpi | None:
    """The MPIs of both sides; None where no suite asks for one, or none needs it and there is none."""
    if not _NEEDS_MPI & set(options.suites) and not any(source_of(name).mpi for name in _wanted(options)):
        return None
    try:
        return find_mpi(options.target.opener, options.image, options.prefix)
    except BenchError as error:
        if _NEEDS_MPI & set(options.suites):
            raise
        progress.note(f"MPI is not measured: {error}")
        return None


def _versions(client: Client, *, local: bool) -> tuple[tuple[str, str], ...]:
    """Of bareboat and of Slurm, as they name themselves."""
    said = "" if local else run_command(client, ("srun", "--version"), limit=60.0)[1].strip()
    slurm = (("Slurm", said.removeprefix("slurm ")),) if said else ()
    try:
        return ("bareboat", version("bareboat")), *slurm
    except PackageNotFoundError:  # run out of its source tree
        return slurm


def _crowded(cases: Sequence[Case], machine: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Say which cases have more ranks than processors."""
    shapes = dict.fromkeys((case.nodes, case.ranks) for case in cases)
    crowded = [shape for shape in shapes if probes.is_crowded(machine, *shape)]
    if not crowded:
        return ()
    named = ", ".join(f"{ranks} ranks on {nodes} nodes" for nodes, ranks in crowded)
    return (f"more ranks than processors, so that they take turns: {named}",)


def _ways(options: RunOptions, client: Client) -> tuple[Way, ...]:
    """Those of the launches, where they are measured."""
    only = options.asked.only
    if launches.NAME not in options.suites or (only and launches.NOTHING not in only):
        return ()
    return make_ways(options.image, options.asked, find_engines(client, options.asked.engines))


def _wanted(options: RunOptions) -> tuple[str, ...]:
    return tuple(name for suite in options.suites for name in get_suite(suite).wanted(options.asked))


def _make(
    options: RunOptions,
    client: Client,
    allocation: Allocation,
    mpi: Mpi | None,
    *,
    folder: Folder,
    progress: Progress,
) -> Made:
    """Compile what the suites want."""
    wanted = _wanted(options)
    directory = folder.path / "programs"
    made = Made({}, ())
    if mpi is not None:
        progress.note(f"compiling the programs with {mpi.host.title} and in the image")
        names = dict.fromkeys((*probes.PROGRAMS, *(name for name in wanted if source_of(name).mpi)))
        try:
            made = make_programs(
                mpi, tuple(names), directory, client=client, allocation=allocation, image=options.image
            )
        except BenchError as error:
            if _NEEDS_MPI & set(options.suites):
                raise
            why = f"MPI is not measured: {error}"
            progress.note(why)
            made = Made({}, (), (why,))
    plain = [name for name in wanted if not source_of(name).mpi]
    return replace(made, programs={**made.programs, **_plain_programs(plain, directory, progress)})


def _with_mounts(client: Client, asked: Asked) -> Client:
    """Show the site's own programs in the container, where it has none of them itself."""
    shown = [own[0] for own in (asked.osu, asked.npb) if own is not None and not own[1]]
    mounts = ",".join(filter(None, (client.environment.get("BAREBOAT_MOUNTS", ""), *shown)))
    if not shown:
        return client
    return replace(client, environment={**client.environment, "BAREBOAT_MOUNTS": mounts})


@contextmanager
def _local(target: Target, mpi: Mpi | None, progress: Progress) -> Iterator[Allocation]:
    """This machine instead of nodes of Slurm's."""
    progress.note(NOTE)
    yield local_allocation(target.client, mpi.host if mpi else None, target.nodes)


def _srun_options(options: RunOptions, mpi: Mpi | None, allocation: Allocation) -> tuple[str, ...]:
    """What srun is told for MPI programs."""
    if allocation.launcher is not None:
        return ()
    speaks = options.mpi or (advise_pmi(mpi.host) if mpi is not None else "")
    return (f"--mpi={speaks}",) if speaks else ()


def _plain_programs(names: Sequence[str], directory: Path, progress: Progress) -> dict[tuple[str, str], str]:
    """The same program on both sides; none where there is no compiler: its suite has no cases then."""
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        compile_plain(names, directory)
    except BenchError as error:
        progress.note(str(error))
        return {}
    return {(side, name): str(directory / name) for side in (BARE, CONTAINER) for name in names}


def _offers(
    suites: Sequence[str], ground: Ground, mpi: Mpi | None
) -> tuple[tuple[Case, ...], tuple[Failure, ...], tuple[str, ...]]:
    """All cases; a suite that has none is a failure, and the others go on."""
    offers: list[Offer] = []
    for name in suites:
        try:
            offer = get_suite(name).offer(ground)
            for program in dict.fromkeys(case.commands[BARE].argv[0] for case in offer.cases):
                if mpi is not None and program not in ground.programs.values():
                    check_family(mpi, program)
            offers.append(offer)
        except BenchError as error:
            offers.append(Offer((), (Failure(f"suite {name}", str(error), error.hint),)))
    failures = [failure for one in offers for failure in one.failures]
    cases = tuple(case for one in offers for case in one.cases)
    titles = dict.fromkeys(case.title for case in cases)
    if strange := [title for title in ground.asked.only if title not in titles]:
        raise BenchError(
            f"no program of these suites and this level is called {strange[0]}",
            hint=f"there are: {', '.join(titles)}",
        )
    if not any(one.cases for one in offers):
        why = failures[0] if failures else Failure("", "no suite has a case", "name more with --suite")
        raise BenchError(f"there is nothing to measure: {why.text}", hint=why.hint)
    return (
        tuple(case for case in cases if not ground.asked.only or case.title in ground.asked.only),
        tuple(failures),
        tuple(note for one in offers for note in one.notes),
    )


def _joined(before: Kept, now: Kept) -> Kept:
    """What is kept of a measurement that goes on: begun then, in several jobs.

    Raises BenchError where it would not be the same.
    """
    if before.outlines != now.outlines:
        raise BenchError(
            "the measurement cannot go on: it would now have other cases than before",
            hint="the nodes, the image, the programs or bareboat have changed: measure into a new directory",
        )
    here = {node.host for node in now.setting.machine}
    gone = tuple(node for node in before.setting.machine if node.host not in here)
    jobs = dict.fromkeys((*before.setting.job_id.split(", "), now.setting.job_id))
    setting = replace(
        now.setting,
        started=before.setting.started,
        command=before.setting.command,
        job_id=", ".join(jobs),
        nodes=tuple(dict.fromkeys((*before.setting.nodes, *now.setting.nodes))),
        machine=(*gone, *now.setting.machine),
    )
    return replace(now, setting=setting, notes=tuple(dict.fromkeys((*before.notes, *now.notes))))


def _not_inside(
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


def _starter(
    target: Target, allocation: Allocation, refused: Mapping[str, BenchError]
) -> Callable[[Case, str], Output]:
    """What runs a side of a case; ``refused``: sides that are not to be run, and why."""

    def start(case: Case, side: str) -> Output:
        if side in refused:
            raise BenchError(str(refused[side]), hint=refused[side].hint)
        command = case.commands[side]
        # Of another engine, neither its program nor the image say what it is.
        title = f"{case.title} by {side}" if command.image is None and side != BARE else ""
        step = command.step(case.nodes, case.ranks, target.limit, title=title)
        return run_step(target.client, allocation, step)

    return start


def _checker(target: Target, allocation: Allocation) -> Callable[[], None]:
    def check() -> None:
        state = job_state(target.client, allocation)
        if state != "RUNNING":
            raise BenchError(
                f"the allocation (job {allocation.job_id}) is gone: {state}",
                hint="go on with --resume when there are nodes again",
            )

    return check
