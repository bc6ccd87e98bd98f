"""``bareboat bench run``: from what was asked for to a directory of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import probes
from benchmarks.analysis import analyse
from benchmarks.cases import BARE, CONTAINER, Asked, Case, Ground, Offer
from benchmarks.engine import Ending, Pace, run_cases
from benchmarks.errors import BenchError
from benchmarks.folder import PAGE, RESULTS, TABLE, Folder, Kept, outline
from benchmarks.making import Made, advise_pmi, find_mpi, make_programs
from benchmarks.programs import compile_plain, source_of
from benchmarks.progress import Progress
from benchmarks.report import to_json
from benchmarks.results import Failure, Results, Setting
from benchmarks.runner import Allocation, Output, Step, job_state, run_step
from benchmarks.suites import get_suite
from benchmarks.suites.common import (
    Target,
    allocate_for,
    choose_nodes,
    kind_of,
    make_setting,
    require_inside,
)

_NEEDS_MPI = {"osu", "npb"}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to measure.

    suites: names; seconds: budget of time, None: all rounds; prefix: of the host's MPI, None: it is searched;
    mpi: srun's --mpi, None: what the host's MPI speaks; words: all of that as the command line names it, by
    which a measurement that goes on is known as the same.
    """

    target: Target
    image: str
    suites: tuple[str, ...]
    asked: Asked
    seconds: float | None = None
    prefix: str | None = None
    mpi: str | None = None
    words: Mapping[str, Any] | None = None


def run_bench(options: RunOptions, folder: Folder, progress: Progress) -> tuple[Results, Ending]:
    """Measure what the folder does not hold yet, and write its results.

    Run it inside `benchmarks.runner.stop_on_signals`: what is measured is kept.  Raises BenchError when
    nothing can be measured, Stopped when stopped before the first run.
    """
    kind_of(options.image)
    target = options.target
    known = folder.records()
    session = 1 + max((record.session for record in known), default=-1)
    target = replace(target, client=replace(target.client, directory=str(folder.path)))
    with allocate_for(target, progress) as allocation:
        nodes = choose_nodes(sorted({1, target.nodes or len(allocation.nodes)}), allocation)
        require_inside(target, allocation, options.image, max(nodes))
        machine, seen = probes.ask_nodes(target.client, allocation)
        ground, made = _prepare(options, target, allocation, nodes, folder=folder, progress=progress)
        ground = replace(ground, cpus_per_node=probes.count_processors(machine) or allocation.cpus_per_node)
        cases, failures, notes = _offers(options.suites, ground)
        if not cases:
            raise BenchError("there is nothing to measure", hint="; ".join(one.text for one in failures))
        setting = replace(
            make_setting(target, options.image, allocation),
            started=time.time(),
            machine=machine,
            versions=made.compilers,
        )
        kept = Kept(
            setting,
            options.words or {},
            tuple(outline(case) for case in cases),
            failures=failures,
            notes=(*made.notes, *seen, *notes),
        )
        if session:
            before = folder.kept()
            _require_same(before, kept)
            kept = replace(kept, setting=replace(setting, started=before.setting.started), notes=before.notes)
        folder.keep(kept)
        with folder.open_rounds() as rounds:
            if made.programs:
                for record in probes.ask_sides(
                    ground, target.client, allocation, session=session, limit=target.limit
                ):
                    rounds.add(record)
            ending = run_cases(
                cases,
                Pace(target.rounds, target.warmup, target.seed, options.seconds),
                known,
                session=session,
                start=_starter(target, allocation),
                keep=rounds.add,
                check=_checker(target, allocation),
                progress=progress,
            )
    results = analyse(kept, folder.records(), stopped=ending.text)
    write_results(results, folder)
    return results, ending


def write_results(results: Results, folder: Folder) -> None:
    """Write all that is made from what a folder keeps.  Raises BenchError where it cannot be written."""
    from benchmarks.page.html import to_html
    from benchmarks.page.table import to_csv

    folder.write(RESULTS, to_json(results))
    if results.rows:
        folder.write(PAGE, to_html(results))
        folder.write(TABLE, to_csv(results))


def _prepare(
    options: RunOptions,
    target: Target,
    allocation: Allocation,
    nodes: tuple[int, ...],
    *,
    folder: Folder,
    progress: Progress,
) -> tuple[Ground, Made]:
    """Compile what the suites want."""
    wanted = [name for suite in options.suites for name in get_suite(suite).wanted(options.asked)]
    names = [name for name in wanted if source_of(name).mpi]
    made, srun_options = Made({}, ()), () if options.mpi is None else (f"--mpi={options.mpi}",)
    if names or _NEEDS_MPI & set(options.suites):
        mpi = find_mpi(target.opener, options.image, options.prefix)
        if options.mpi is None and (speaks := advise_pmi(mpi.host)):
            srun_options = (f"--mpi={speaks}",)
        progress.note(f"compiling the programs with {mpi.host.title} and in the image")
        made = make_programs(
            mpi,
            tuple(dict.fromkeys((*probes.PROGRAMS, *names))),
            folder.path / "programs",
            client=target.client,
            allocation=allocation,
            image=options.image,
        )
    plain = [name for name in wanted if not source_of(name).mpi]
    ground = Ground(
        options.asked,
        options.image,
        nodes,
        allocation.cpus_per_node,
        {**made.programs, **_plain_programs(plain, folder.path / "programs", progress)},
        srun_options,
        str(folder.path),
    )
    return ground, made


def _plain_programs(names: Sequence[str], directory: Path, progress: Progress) -> dict[tuple[str, str], str]:
    """The same program on both sides; none where there is no compiler: its suite has no cases then."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        compile_plain(names, directory)
    except BenchError as error:
        progress.note(str(error))
        return {}
    return {(side, name): str(directory / name) for side in (BARE, CONTAINER) for name in names}


def _offers(
    suites: Sequence[str], ground: Ground
) -> tuple[tuple[Case, ...], tuple[Failure, ...], tuple[str, ...]]:
    """All cases; a suite that has none is a failure, and the others go on."""
    offers: list[Offer] = []
    for name in suites:
        try:
            offers.append(get_suite(name).offer(ground))
        except BenchError as error:
            offers.append(Offer((), (Failure(f"suite {name}", str(error), error.hint),)))
    return (
        tuple(case for one in offers for case in one.cases),
        tuple(failure for one in offers for failure in one.failures),
        tuple(note for one in offers for note in one.notes),
    )


def _require_same(before: Kept, now: Kept) -> None:
    if before.outlines != now.outlines:
        raise BenchError(
            "the measurement cannot go on: it would now have other cases than before",
            hint="the nodes, the image, the programs or bareboat have changed: measure into a new directory",
        )


def _joined(before: Setting, now: Setting) -> Setting:
    """The setting of a measurement that goes on: begun then, in several jobs."""
    jobs = dict.fromkeys((*before.job_id.split(", "), now.job_id))
    return replace(now, started=before.started, job_id=", ".join(jobs))


def _starter(target: Target, allocation: Allocation) -> Callable[[Case, str], Output]:
    def start(case: Case, side: str) -> Output:
        command = case.commands[side]
        step = Step(
            case.nodes,
            case.ranks,
            command.image,
            command.argv,
            target.limit,
            command.options,
            command.variables,
        )
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
