"""Whose MPI a program gets: the probes of image and host, the judgement, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from launcher.config import MpiMode, SiteConfig
from launcher.errors import BareboatError
from launcher.plan import MPI_DIR, MpiDecision

if TYPE_CHECKING:
    from mpi_abi import Closure, HostMpi, ImageMpiFacts, ImageProbe, Recorder, Verdict
    from mpi_abi.rootfs import RootView
    from slurm.step import StepFacts


def decide_mpi(
    view: RootView,
    mode: MpiMode,
    config: SiteConfig,
    *,
    image: str,
    programs: Sequence[str],
    environment: Mapping[str, str],
    step: StepFacts | None = None,
    devices: bool = True,
    recorder: Recorder | None = None,
) -> MpiDecision:
    """Find the MPI in the container and on the host, and decide whose the programs get.

    ``programs`` are container paths: one, or those that the ranks of a node run together, or none where it is
    not known what will run.  ``devices`` says whether to look for those of the fabric.  ``recorder`` gets
    guards of what is read of the host.
    Raises BareboatError where the mode asks for the host's MPI and that does not fit or is not there.
    """
    if mode is MpiMode.IMAGE:
        return MpiDecision(mode)
    decisions = [
        _decide(
            view,
            mode,
            config,
            image=image,
            program=program,
            environment=environment,
            step=step,
            devices=devices,
            recorder=recorder,
        )
        for program in programs or ("",)
    ]
    whole = _merge(decisions)
    if whole.verdict == "no-mpi" and mode is MpiMode.HOST:
        where = " or ".join(programs) or image
        raise BareboatError(
            f"BAREBOAT_MPI=host, and there is no MPI in {where} to put the host's in place of",
            hint="BAREBOAT_MPI=auto runs programs without MPI too",
        )
    return whole


def _decide(
    view: RootView,
    mode: MpiMode,
    config: SiteConfig,
    *,
    image: str,
    program: str,
    environment: Mapping[str, str],
    step: StepFacts | None,
    devices: bool,
    recorder: Recorder | None,
) -> MpiDecision:
    import mpi_abi

    probe = mpi_abi.ImageProbe(view, environment)
    facts = probe.run(program or None)
    if facts.source is mpi_abi.MpiSource.SEARCH and (facts.other_families or facts.adapts):
        # The program names none, and the image holds several, or it takes any: the host's counts.
        hosts = _hosts(config, recorder)
        ours = tuple(dict.fromkeys(host.family for host in hosts))
        probe = mpi_abi.ImageProbe(view, environment, prefer=ours)
        facts = probe.run(program or None)
    host = _find_host(facts, config, recorder) if facts.family else None
    closure = mpi_abi.find_closure(host, devices=devices, recorder=recorder) if host else None
    facts, closure = _complete(probe, facts, host, closure, recorder)
    verdict = mpi_abi.judge(facts, host, closure, mpi_abi.probe_node())
    kinds = mpi_abi.VerdictKind
    if verdict.kind is kinds.NO_MPI:
        return _decision(mode, verdict, facts)
    forced = verdict.kind is not kinds.NATIVE and mode is MpiMode.FORCE
    if host is None or closure is None or not (verdict.kind is kinds.NATIVE or forced):
        raise refusal(verdict, image)
    swap = mpi_abi.make_swap(facts, host, closure, private_dir=MPI_DIR)
    risk = f"the host's MPI does not fit and is used all the same: {_texts(verdict)}" if forced else ""
    linked = facts.source is mpi_abi.MpiSource.TREE
    alone = lonely_ranks(host, closure, step) if step and linked else None
    if alone is not None and mode is not MpiMode.FORCE and not config.allow_singletons:
        raise alone
    known = f"{alone}; {alone.hint}" if alone is not None else ""
    return replace(_decision(mode, verdict, facts), swap=swap, warning="; ".join(filter(None, (risk, known))))


def lonely_ranks(host: HostMpi, closure: Closure, step: StepFacts) -> BareboatError | None:
    """Say why the ranks of a step would not find each other, each starting alone; None if they may.  Pure.

    The job would look successful, with as many results as ranks.
    """
    from mpi_abi.pmi import PmiAdvice, spoken_by, starts_alone

    # Not set under --mpi=none (Slurm 22.05).
    offered = dict(step.environment).get("SLURM_MPI_TYPE") or step.pmi.value
    spoken = spoken_by(host, closure)
    if step.task_count < 2 or not starts_alone(spoken, offered):
        return None
    use = PmiAdvice(host.title, spoken, ()).use
    return BareboatError(
        f"under --mpi={offered}, each of the {step.task_count} ranks of {host.title} starts alone, "
        "as rank 0 of 1",
        hint=f"use srun --mpi={use}; BAREBOAT_MPI=force starts them all the same",
    )


def _complete(
    probe: ImageProbe,
    facts: ImageMpiFacts,
    host: HostMpi | None,
    closure: Closure | None,
    recorder: Recorder | None,
) -> tuple[ImageMpiFacts, Closure | None]:
    """Read of the image what the host's closure asks for, and no more: every file read is one to guard.

    Of the C libraries only what it asks for as well, unless the host's takes the place of the image's.
    """
    import mpi_abi

    if host is None or closure is None:
        return facts, closure
    asked: frozenset[str] = frozenset()
    while more := mpi_abi.asked_of_image(facts, host, closure) - asked:
        asked |= more
        facts = probe.complete(facts, asked)
    facts = probe.meet(facts, mpi_abi.host_paths(facts, host, closure, MPI_DIR))
    closure = mpi_abi.with_exports(closure, mpi_abi.used_too(facts))
    if not mpi_abi.needs_host_libc(facts, host, closure):
        return facts, closure
    facts = probe.complete(facts, asked, whole_libc=True)
    return facts, mpi_abi.with_libc(facts, host, closure, recorder=recorder)


def _merge(decisions: Sequence[MpiDecision]) -> MpiDecision:
    """Put together what was decided for each of several programs of one step.  Pure.

    Raises BareboatError where they would need different MPIs: their ranks could not find each other.
    """
    swapped = [decision for decision in decisions if decision.swap is not None]
    if not swapped:
        return decisions[0]
    first = swapped[0]
    for other in swapped[1:]:
        if other.host_library != first.host_library:
            raise BareboatError(
                f"the programs of this step need different MPIs of this host: {first.host_library} and "
                f"{other.host_library}",
                hint="start programs of different MPIs in steps of their own",
            )
    swaps = [decision.swap for decision in swapped if decision.swap is not None]
    covers = tuple({cover.target: cover for swap in swaps for cover in swap.covers}.values())
    changes = tuple(dict.fromkeys(change for swap in swaps for change in swap.environment))
    return replace(
        first,
        reasons=tuple(dict.fromkeys(reason for decision in swapped for reason in decision.reasons)),
        codes=tuple(dict.fromkeys(code for decision in swapped for code in decision.codes)),
        warning="; ".join(dict.fromkeys(decision.warning for decision in swapped if decision.warning)),
        swap=replace(swaps[0], covers=covers, environment=changes),
    )


def _find_host(facts: ImageMpiFacts, config: SiteConfig, recorder: Recorder | None) -> HostMpi | None:
    """Find the host's MPI of the image's family; where there is none, any, for the verdict to name it."""
    import mpi_abi

    hosts = _hosts(config, recorder, family=facts.family)
    values = facts.mpi[0].values if facts.mpi else ""
    chosen = mpi_abi.choose_host(hosts, facts.family, order=config.mpi_prefixes, values=values)
    return chosen or next(iter(_hosts(config, recorder)), None)


def _hosts(config: SiteConfig, recorder: Recorder | None, *, family: str = "") -> tuple[HostMpi, ...]:
    import mpi_abi

    return mpi_abi.probe_host(
        prefixes=config.mpi_prefixes, search=config.mpi_search, family=family, recorder=recorder
    )


def refusal(verdict: Verdict, image: str) -> BareboatError:
    """Put a verdict that forbids the start into one message with every reason and every hint.  Pure."""
    from mpi_abi.reasons import OF_THE_NODE

    hints = dict.fromkeys(part for reason in verdict.reasons for part in reason.hint.split("; ") if part)
    if any(reason.code in OF_THE_NODE for reason in verdict.reasons):
        what = f"the program of {image} cannot run on this node"
    else:
        what = f"this host's MPI cannot take the place of that in {image}"
    return BareboatError(
        f"{what}: {_texts(verdict)}",
        hint="; ".join(hints),
    )


def _texts(verdict: Verdict) -> str:
    return "; ".join(reason.text for reason in verdict.reasons)


def _decision(mode: MpiMode, verdict: Verdict, facts: ImageMpiFacts) -> MpiDecision:
    return MpiDecision(
        mode,
        verdict=verdict.kind.value,
        image_library=verdict.image_library,
        host_library=verdict.host_library,
        reasons=tuple(reason.text for reason in verdict.reasons),
        codes=tuple(reason.code.value for reason in verdict.reasons),
        libraries=(facts.interpreter, *(item.real for item in facts.tree.objects[1:]))
        if facts.tree.objects
        else (),
    )
