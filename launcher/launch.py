"""One launch from its request to its plan: the probes in their order, and the judgement of the MPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.config import find_config, read_config
from launcher.environment import apply_environment, plan_environment
from launcher.errors import BareboatError, NotExecutableError, NotFoundError
from launcher.host import HostFacts, probe_host
from launcher.image.executable import find_executable
from launcher.image.facts import check_machine, probe_root
from launcher.image.reference import resolve_reference
from launcher.layout import (
    Layout,
    beneath,
    host_paths,
    image_paths,
    lay_out,
    network_paths,
    step_paths,
)
from launcher.mpi import decide_mpi
from launcher.plan import Plan, make_plan
from launcher.program import Operation, Verb
from launcher.request import make_request
from mpi_abi.guards import Recorder
from mpi_abi.rootfs import RootView

if TYPE_CHECKING:
    from slurm.step import StepFacts


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of a launch, as given on a command line; none of them outside one."""

    config: str | None = None
    mounts: tuple[str, ...] = ()
    mpi: str | None = None
    without: tuple[str, ...] = ()


def prepare(
    image: str,
    program: Iterable[str],
    *,
    environment: Mapping[str, str],
    cwd: str,
    options: Options | None = None,
    step: StepFacts | None = None,
    others: tuple[str, ...] = (),
    needs_program: bool = True,
    recorder: Recorder | None = None,
) -> Plan:
    """Probe, judge and plan one launch, changing nothing.

    ``others`` are programs that further ranks of the step run in the same container.  Where a program cannot
    be run, ``needs_program`` makes that an error; else it becomes a warning of the plan, and whoever executes
    the program reports it.  With a ``recorder``, the plan keeps its placeholders, and what it was decided by
    is left there: where that has no obstacles, the plan holds for every later step with the same request.
    Raises BareboatError (or UsageError, NotFoundError, NotExecutableError) with the reason and a hint.
    """
    options = options or Options()
    path, asked = find_config(environment, option=options.config)
    config = read_config(path, required=asked, recorder=recorder)
    request = make_request(
        image,
        program,
        environment=environment,
        cwd=cwd,
        config=config,
        mounts=options.mounts,
        mpi=options.mpi,
        without=options.without,
    )
    directory = resolve_reference(request.image, cwd=request.cwd, recorder=recorder)
    once = step_paths(request, step)
    host = probe_host(
        host_paths(request, config, step), home=environment.get("HOME", ""), once=once, recorder=recorder
    )
    _require_namespaces(host)
    facts = probe_root(
        RootView(directory.path, recorder=recorder),
        name=directory.name,
        path=directory.path,
        paths=image_paths(request, config, host),
        once=(*once, *network_paths(config, host)),
    )
    check_machine(facts, host.machine)
    layout = lay_out(request, config, host, facts, step)
    view = RootView(directory.path, layout.binds(), recorder=recorder)
    inside = apply_environment(plan_environment(request, config, facts), environment)
    found, problems = [], []
    for name in (*request.program[:1], *others):
        try:
            found.append(
                find_executable(
                    view, name, search=inside.get("PATH", ""), cwd=layout.cwd, machine=facts.machine
                ).path
            )
        except (NotFoundError, NotExecutableError) as error:
            if needs_program:
                raise
            problems.append(f"{error}; {error.hint}" if error.hint else str(error))
    mpi = decide_mpi(
        view,
        request.mpi,
        config,
        image=directory.path,
        programs=tuple(found),
        environment=inside,
        step=step,
        recorder=recorder,
    )
    plan = make_plan(
        request,
        config,
        facts,
        layout,
        mpi,
        program=found[0] if found else "",
        missing=_missing_mount_points(directory.path, layout) if recorder is None else (),
        warnings=tuple(dict.fromkeys(problems)),
        placeholders=recorder is not None,
    )
    if recorder is not None:
        _note_obstacles(recorder, plan, layout)
        if set(config.passed) - set(request.passed):
            recorder.forbid("the site passes on variables that are no part of the request")
    return plan


def _note_obstacles(recorder: Recorder, plan: Plan, layout: Layout) -> None:
    """Tell the recorder what of a plan holds for this step alone."""
    if not layout.settled:
        recorder.forbid("the working directory or the PMI directories of this step decided a mount")
    if plan.warnings:
        recorder.forbid("a warning is to be told in every step")
    name = plan.argv[0] if plan.argv else ""
    searched = name.startswith("/") or "/" not in name
    if searched and any(beneath(plan.program, top) for top in layout.resolved.shown):
        # By a relative path, the directory belongs to the request.
        recorder.forbid(f"{plan.program} is where only this step's directories show it")


def _require_namespaces(host: HostFacts) -> None:
    if host.max_user_namespaces == 0:
        raise BareboatError(
            "cannot make a container: user namespaces are switched off on this host "
            "(/proc/sys/user/max_user_namespaces is 0)",
            hint="ask its administrator for: sysctl user.max_user_namespaces=15000",
        )


def _missing_mount_points(image: str, layout: Layout) -> tuple[str, ...]:
    """List the mount points that the image lacks and that the core makes on an overlay."""
    view = RootView(image)
    targets = [_target(operation) for operation in layout.resolved.operations] + [
        mount.target for mount in layout.network
    ]
    mounted: list[str] = []
    missing = []
    for target in filter(None, targets):
        if view.resolve(target) is None and not any(beneath(target, top) for top in mounted):
            missing.append(target)
        mounted.append(target)
    return tuple(dict.fromkeys(missing))


def _target(operation: Operation) -> str:
    """Name the mount point of an operation, or "" where it has none of its own."""
    if operation.verb is Verb.BIND:
        return operation.args[1]
    return operation.args[0] if operation.verb in {Verb.TMPFS, Verb.FILE} else ""
