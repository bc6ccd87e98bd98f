"""One launch from its request to its plan: the probes in their order, and the judgement of the MPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launcher.ahead import plan_ahead
from launcher.config import SiteConfig, View, find_config, read_config
from launcher.devices import probe_devices
from launcher.environment import apply_environment, plan_environment
from launcher.errors import BareboatError, NotExecutableError, NotFoundError
from launcher.host import HostFacts, probe_host
from launcher.image.executable import find_executable
from launcher.image.facts import ImageFacts, check_machine, probe_root
from launcher.image.reference import Image, ImageKind, resolve_reference
from launcher.image.root import Root, find_server, open_root
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
from launcher.request import Request, make_request
from mpi_abi.guards import Recorder
from mpi_abi.rootfs import RootView

if TYPE_CHECKING:
    from slurm.step import StepFacts


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of a launch, as given on a command line; none of them outside one."""

    config: str | None = None
    mounts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
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
    mount: int | None = None,
) -> Plan:
    """Probe, judge and plan one launch, changing nothing.

    ``others`` are programs that further ranks of the step run in the same container.  Where a program cannot
    be run, ``needs_program`` makes that an error; else it becomes a warning of the plan, and whoever executes
    the program reports it.  With a ``recorder``, the plan keeps its placeholders, and what it was decided by
    is left there: where that has no obstacles, the plan holds for every later step with the same request.
    ``mount`` is a descriptor of the image, where that is a file and somebody has mounted it.
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
        devices=options.devices,
        mpi=options.mpi,
        without=options.without,
    )
    found = resolve_reference(request.image, cwd=request.cwd, recorder=recorder)
    server = find_server(config.squashfuse, recorder=recorder) if found.kind is ImageKind.SQUASHFS else ""
    host = probe_host(
        host_paths(request, config, step),
        home=environment.get("HOME", ""),
        once=step_paths(request, step),
        recorder=recorder,
    )
    host = replace(
        host,
        devices=probe_devices(
            request.devices, config.device_directories, environment=environment, recorder=recorder
        ),
    )
    _require_namespaces(host)
    with open_root(found, server=server, mount=mount) as root:
        launch = _Launch(request, config, host, found, server, root, step, recorder)
        plan, layout = launch.plan(others=others, needs_program=needs_program)
    if recorder is not None:
        _note_obstacles(recorder, plan, layout)
        if set(config.passed) - set(request.passed):
            recorder.forbid("the site passes on variables that are no part of the request")
    return plan


@dataclass(frozen=True, slots=True)
class _Launch:
    """What is known once the image is open."""

    request: Request
    config: SiteConfig
    host: HostFacts
    image: Image
    server: str
    root: Root
    step: StepFacts | None
    recorder: Recorder | None

    def plan(self, *, others: tuple[str, ...], needs_program: bool) -> tuple[Plan, Layout]:
        """Probe the image, judge, and plan."""
        request, config, host, step, recorder = (
            self.request, self.config, self.host, self.step, self.recorder,
        )  # fmt: skip
        facts = probe_root(
            self.root.view(recorder=recorder),
            self.image,
            paths=image_paths(request, config, host),
            once=(*step_paths(request, step), *network_paths(config, host)),
        )
        check_machine(facts, host.machine)
        layout = lay_out(request, config, host, facts, step, server=self.server)
        view = self.root.view(layout.binds(), recorder=recorder)
        changes = (*plan_environment(request, config, facts), *layout.environment)
        inside = apply_environment(changes, request.environment)
        names, search = (*request.program[:1], *others), inside.get("PATH", "")
        found, problems = _find_programs(
            view, names, needed=needs_program, search=search, cwd=layout.cwd, facts=facts
        )
        mpi = decide_mpi(
            view,
            request.mpi,
            config,
            image=facts.path,
            programs=found,
            environment=inside,
            step=step,
            devices=recorder is None or View.DEV not in config.views - request.without,
            recorder=recorder,
        )
        plan = make_plan(
            request,
            config,
            facts,
            layout,
            mpi,
            program=found[0] if found else "",
            missing=_missing_mount_points(self.root.view(), layout) if recorder is None else (),
            warnings=problems,
            ahead=plan_ahead(names, found, search, mpi) if self.root.sealed else (),
            placeholders=recorder is not None,
        )
        return plan, layout


def _find_programs(
    view: RootView, names: Iterable[str], *, needed: bool, search: str, cwd: str, facts: ImageFacts
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find programs in the container: their paths, and what is to be told of those that cannot be run."""
    found, problems = [], []
    for name in names:
        try:
            program = find_executable(view, name, search=search, cwd=cwd, machine=facts.machine)
            found.append(program.path)
        except (NotFoundError, NotExecutableError) as error:
            if needed:
                raise
            problems.append(f"{error}; {error.hint}" if error.hint else str(error))
    return tuple(found), tuple(dict.fromkeys(problems))


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


def _missing_mount_points(view: RootView, layout: Layout) -> tuple[str, ...]:
    """List the mount points that the image lacks and that the core makes on an overlay."""
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
