"""One launch from its request to its plan: the probes in their order, and the judgement of the MPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launcher.config import MpiMode, SiteConfig, find_config, read_config
from launcher.environment import apply_environment, plan_environment
from launcher.errors import BareboatError, NotExecutableError, NotFoundError
from launcher.host import HostFacts, probe_host
from launcher.image.executable import find_executable
from launcher.image.facts import check_machine, probe_root
from launcher.image.reference import resolve_reference
from launcher.layout import Layout, beneath, host_paths, image_paths, lay_out
from launcher.plan import MPI_DIR, MpiDecision, Plan, make_plan
from launcher.program import Operation, Verb
from launcher.request import make_request
from mpi_abi.rootfs import RootView

if TYPE_CHECKING:
    from mpi_abi import HostMpi, Verdict
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
    needs_program: bool = True,
) -> Plan:
    """Probe, judge and plan one launch, changing nothing.

    Where the program cannot be run, ``needs_program`` makes that an error; else it becomes a warning of the
    plan, and whoever executes the program reports it.
    Raises BareboatError (or UsageError, NotFoundError, NotExecutableError) with the reason and a hint.
    """
    options = options or Options()
    path, asked = find_config(environment, option=options.config)
    config = read_config(path, required=asked)
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
    directory = resolve_reference(request.image, cwd=request.cwd)
    host = probe_host(host_paths(request, config, step), home=environment.get("HOME", ""))
    _require_namespaces(host)
    facts = probe_root(
        RootView(directory.path),
        name=directory.name,
        path=directory.path,
        paths=image_paths(request, config, host),
    )
    check_machine(facts, host.machine)
    layout = lay_out(request, config, host, facts, step)
    view = RootView(directory.path, layout.binds())
    inside = apply_environment(plan_environment(request, config, facts), environment)
    found, problem = "", ""
    if request.program:
        try:
            found = find_executable(
                view, request.program[0], search=inside.get("PATH", ""), cwd=layout.cwd, machine=facts.machine
            ).path
        except (NotFoundError, NotExecutableError) as error:
            if needs_program:
                raise
            problem = f"{error}; {error.hint}" if error.hint else str(error)
    mpi = decide_mpi(view, request.mpi, config, image=directory.path, program=found, environment=inside)
    return make_plan(
        request,
        config,
        facts,
        layout,
        mpi,
        program=found,
        missing=_missing_mount_points(directory.path, layout),
        warnings=(problem,) if problem else (),
    )


def decide_mpi(
    view: RootView,
    mode: MpiMode,
    config: SiteConfig,
    *,
    image: str,
    program: str,
    environment: Mapping[str, str],
) -> MpiDecision:
    """Find the MPI in the container and on the host, and decide whose the program gets.

    Raises BareboatError where the mode asks for the host's MPI and that does not fit or is not there.
    """
    if mode is MpiMode.IMAGE:
        return MpiDecision(mode)
    import mpi_abi

    facts = mpi_abi.probe_image(view, program=program or None, environment=environment)
    host = _find_host(facts.family, config) if facts.family else None
    closure = mpi_abi.find_closure(host) if host else None
    verdict = mpi_abi.judge(facts, host, closure)
    kinds = mpi_abi.VerdictKind
    if verdict.kind is kinds.NO_MPI and mode is MpiMode.HOST:
        raise BareboatError(
            f"BAREBOAT_MPI=host, and there is no MPI in {program or image} to put the host's in place of",
            hint="BAREBOAT_MPI=auto runs programs without MPI too",
        )
    if verdict.kind is kinds.NO_MPI:
        return _decision(mode, verdict)
    forced = verdict.kind is kinds.IMPOSSIBLE and mode is MpiMode.FORCE
    if host is None or closure is None or not (verdict.kind is kinds.NATIVE or forced):
        raise refusal(verdict, image)
    swap = mpi_abi.make_swap(facts, host, closure, private_dir=MPI_DIR)
    risk = f"the host's MPI does not fit and is used all the same: {_texts(verdict)}" if forced else ""
    return replace(_decision(mode, verdict), swap=swap, warning=risk)


def _find_host(family: str, config: SiteConfig) -> HostMpi | None:
    """Find the host's MPI of the image's family; where there is none, any, for the verdict to name it."""
    import mpi_abi

    prefixes = config.mpi_prefixes
    chosen = mpi_abi.choose_host(mpi_abi.probe_host(prefixes=prefixes, family=family), family, order=prefixes)
    return chosen or next(iter(mpi_abi.probe_host(prefixes=prefixes)), None)


def refusal(verdict: Verdict, image: str) -> BareboatError:
    """Put a verdict that forbids the start into one message with every reason and every hint.  Pure."""
    hints = dict.fromkeys(part for reason in verdict.reasons for part in reason.hint.split("; ") if part)
    return BareboatError(
        f"this host's MPI cannot take the place of that in {image}: {_texts(verdict)}",
        hint="; ".join(hints),
    )


def _texts(verdict: Verdict) -> str:
    return "; ".join(reason.text for reason in verdict.reasons)


def _decision(mode: MpiMode, verdict: Verdict) -> MpiDecision:
    return MpiDecision(
        mode,
        verdict=verdict.kind.value,
        image_library=verdict.image_library,
        host_library=verdict.host_library,
        reasons=tuple(reason.text for reason in verdict.reasons),
    )


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
    targets = [_target(operation) for operation in layout.operations] + [
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
