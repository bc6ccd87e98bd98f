"""``bareboat bench run``: from what was asked for to a directory of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import probes
from benchmarks.analysis import analyse
from benchmarks.cases import BARE, Asked, Case, Ground, Way
from benchmarks.engine import Ending, Pace, run_cases
from benchmarks.errors import BenchError
from benchmarks.folder import PAGE, RESULTS, TABLE, Folder, Kept, outline
from benchmarks.identity import identify, require_same
from benchmarks.local import NOTE, VARIABLES, choose_launcher, has_slurm, local_allocation
from benchmarks.making import NEEDS_MPI, Mpi, advise_pmi, find_hosts, find_mpi, make_all
from benchmarks.offers import find_ways, make_offers, make_starter, not_inside, wanted_by
from benchmarks.programs import source_of
from benchmarks.progress import Progress
from benchmarks.report import to_json
from benchmarks.results import NodeFacts, Results
from benchmarks.runner import Allocation, Client, job_state, run_command
from benchmarks.suites import launches
from benchmarks.suites.common import (
    Target,
    allocate_for,
    choose_nodes,
    kind_of,
    make_setting,
    require_inside,
)
from benchmarks.trials import describe_way, try_ways

_ONE_NODE = "Slurm gave one node, so nothing was measured between nodes: --nodes 2 waits until there are two"


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


@dataclass(frozen=True, slots=True)
class _Settled:
    """What is settled before there are nodes.

    ways: those of launches; begun: sides that they had when the measurement began; wanted: programs of the
    suites; missing: why there is no MPI, where a suite asks for it; launcher: as `Allocation` has it.
    """

    target: Target
    ways: tuple[Way, ...]
    begun: frozenset[str]
    wanted: tuple[str, ...]
    mpi: Mpi | None
    missing: BenchError | None
    launcher: tuple[str, ...] | None


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
    before = folder.kept() if session else None
    if before is not None:
        require_same(before.images, images)
    plan = _settle(options, folder, before)
    target, client, mpi, missing = plan.target, plan.target.client, plan.mpi, plan.missing
    local, alone = plan.launcher is not None, plan.launcher == ()
    with _local(plan, progress) if local else allocate_for(target, progress) as allocation:
        nodes = choose_nodes(sorted({1, target.nodes or len(allocation.nodes)}), allocation)
        require_inside(target, allocation, options.image, max(nodes))
        tried = try_ways(
            plan.ways,
            launches.NOTHING,
            target,
            allocation,
            nodes=max(nodes),
            required=options.asked.engines is not None,
            begun=plan.begun,
            progress=progress,
        )
        proved = {way.name for way in tried.ways} - tried.refused.keys()
        unproved = [form for form in forms if form[0] not in proved]
        refused = not_inside(target, allocation, unproved, max(nodes))
        machine, seen = probes.ask_nodes(client, allocation, options.image)
        made = make_all(
            *(mpi, plan.wanted, folder.path / "programs"),
            client=client,
            allocation=allocation,
            image=options.image,
            progress=progress,
        )
        if made.missing is not None:
            missing = _bearable(made.missing, options) if _wants_mpi(plan.wanted) else made.missing
        ground = Ground(
            options.asked,
            options.image,
            nodes,
            1 if alone else probes.count_processors(machine) or allocation.cpus_per_node,
            made.programs,
            _srun_options(options, mpi, allocation),
            str(folder.path),
            tried.ways,
        )
        cases, failures, notes = make_offers(options.suites, ground, mpi, missing, alone=alone)
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
            *_missed(missing, plan.wanted, progress),
            *_crowded(cases, machine),
            *((NOTE,) if local else ()),
            *((_ONE_NODE,) if allocation.ours and not target.nodes and nodes == (1,) else ()),
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
                start=make_starter(target, allocation, forms=refused, tried=tried.refused),
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


def _wants_mpi(wanted: Sequence[str]) -> bool:
    """Is one of the programs that suites want an MPI program?"""
    return any(source_of(name).mpi for name in wanted)


def _find_mpi(options: RunOptions, wanted: Sequence[str]) -> tuple[Mpi | None, BenchError | None]:
    """The MPIs of both sides, where a suite asks for them; else None, and why where one does."""
    if not NEEDS_MPI & set(options.suites) and not _wants_mpi(wanted):
        return None, None
    try:
        return find_mpi(options.target.opener, options.image, options.prefix), None
    except BenchError as error:
        return None, _bearable(error, options)


def _bearable(error: BenchError, options: RunOptions) -> BenchError:
    """Why there is no MPI, where something can be measured without; raises it otherwise."""
    if NEEDS_MPI.issuperset(options.suites):
        raise error
    return error


def _missed(missing: BenchError | None, wanted: Sequence[str], progress: Progress) -> tuple[str, ...]:
    """What a reader is told where there is no MPI, or there are no programs of ours that use it."""
    if missing is None:
        return ()
    what = "MPI is not measured" if _wants_mpi(wanted) else "what each side uses is not known"
    note = f"{what}: {missing}"
    progress.note(note)
    return (note,)


def _settle(options: RunOptions, folder: Folder, before: Kept | None) -> _Settled:
    """Settle what does not depend on the nodes; before: what is kept of a measurement that goes on."""
    target = options.target
    begun: frozenset[str] = frozenset()
    if before is not None:
        begun = frozenset(side for one in before.outlines if one.suite == launches.NAME for side in one.sides)
        # What Slurm gave at first, it is to give again.
        target = replace(target, nodes=target.nodes or max((one.nodes for one in before.outlines), default=1))
    client = _with_mounts(replace(target.client, directory=str(folder.path)), options.asked)
    # Those that it was begun with, even if more engines work by now.
    ways = tuple(
        way
        for way in find_ways(client, options.image, options.suites, options.asked)
        if not begun or way.name in begun
    )
    wanted = wanted_by(options.suites, options.asked)
    mpi, missing = _find_mpi(options, wanted)
    launcher: tuple[str, ...] | None = None
    if options.local or not has_slurm(client):
        # Plans are kept, and on demand made anew, by the plugin alone.
        ways = tuple(way for way in ways if not way.variables)
        hosts = (mpi.host,) if mpi else find_hosts(target.opener, options.image, options.prefix)
        host, launcher, why = choose_launcher(client, hosts)
        if host is not None:
            variables = dict(VARIABLES.get(host.family, ()))
            client = replace(client, environment={**client.environment, **variables})
        elif mpi is not None and why is not None:
            mpi, missing = None, _bearable(why, options)
    return _Settled(replace(target, client=client), ways, begun, wanted, mpi, missing, launcher)


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


def _with_mounts(client: Client, asked: Asked) -> Client:
    """Show the site's own programs in the container, where it has none of them itself."""
    shown = [own[0] for own in (asked.osu, asked.npb) if own is not None and not own[1]]
    mounts = ",".join(filter(None, (client.environment.get("BAREBOAT_MOUNTS", ""), *shown)))
    if not shown:
        return client
    return replace(client, environment={**client.environment, "BAREBOAT_MOUNTS": mounts})


@contextmanager
def _local(plan: _Settled, progress: Progress) -> Iterator[Allocation]:
    """This machine instead of nodes of Slurm's."""
    progress.note(NOTE)
    yield local_allocation(plan.launcher or (), plan.target.nodes)


def _srun_options(options: RunOptions, mpi: Mpi | None, allocation: Allocation) -> tuple[str, ...]:
    """What srun is told for MPI programs."""
    if allocation.launcher is not None:
        return ()
    speaks = options.mpi or (advise_pmi(mpi.host) if mpi is not None else "")
    return (f"--mpi={speaks}",) if speaks else ()


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
    # What was left out at first is not tried again, and has still failed.
    failures = {one.metric: one for one in (*before.failures, *now.failures)}
    notes = dict.fromkeys((*before.notes, *now.notes))
    return replace(now, setting=setting, failures=tuple(failures.values()), notes=tuple(notes))


def _checker(target: Target, allocation: Allocation) -> Callable[[], None]:
    def check() -> None:
        state = job_state(target.client, allocation)
        if state != "RUNNING":
            raise BenchError(
                f"the allocation (job {allocation.job_id}) is gone: {state}",
                hint="go on with --resume when there are nodes again",
            )

    return check
