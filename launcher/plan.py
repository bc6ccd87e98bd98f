"""The plan: the whole container, decided.

Pure: facts go in, a frozen and printable list of operations comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.config import MpiMode, SiteConfig
from launcher.environment import apply_environment, plan_environment
from launcher.errors import BareboatError
from launcher.image.facts import ImageFacts
from launcher.layout import PRIVATE, Layout, beneath
from launcher.placeholders import OPTIONAL
from launcher.program import ROOT_VERBS, Operation, Origin, Verb, encode
from launcher.request import Request
from mpi_abi.shown import printable

if TYPE_CHECKING:
    from mpi_abi import Swap

MPI_DIR = f"{PRIVATE}/mpi"
"""Directory of the container in which the host's MPI lies."""

MOUNT_VERBS = ROOT_VERBS | {Verb.BIND, Verb.BIND_FSTYPES, Verb.TMPFS}
FILE_VERBS = frozenset({Verb.FILE, Verb.SYMLINK})
ENVIRONMENT_VERBS = frozenset(
    {Verb.ENV_SET, Verb.ENV_DEFAULT, Verb.ENV_UNSET, Verb.ENV_PREPEND, Verb.ENV_APPEND}
)
_CHANGES = {
    "set": Verb.ENV_SET,
    "prepend": Verb.ENV_PREPEND,
    "append": Verb.ENV_APPEND,
    "unset": Verb.ENV_UNSET,
}


@dataclass(frozen=True, slots=True)
class MpiDecision:
    """What was decided about MPI.

    ``verdict`` is "" where nothing was judged; ``swap`` is None where the program gets what the image has;
    ``reasons`` are those of the verdict and ``codes`` their names; ``warning`` says what a forced swap risks;
    ``libraries`` are the image's loader and the files that it finds for the program.
    """

    mode: MpiMode
    verdict: str = ""
    image_library: str = ""
    host_library: str = ""
    reasons: tuple[str, ...] = ()
    warning: str = ""
    swap: Swap | None = None
    libraries: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A container: its operations in their order, and what there is to tell about them.

    ``program`` is the container path of the program, "" where none was named or found; ``network`` the mount
    points that the types of ``bind-fstypes`` match now; ``missing`` the mount points that the image lacks.
    """

    image: str
    os_name: str
    operations: tuple[Operation, ...]
    mpi: MpiDecision
    program: str = ""
    argv: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def announcements(self) -> tuple[str, ...]:
        """Lines that a launch says, once a step."""
        return tuple(op.args[0] for op in self.operations if op.verb is Verb.SAY)

    def encode(self) -> bytes:
        """Return the program that the C core runs."""
        return encode(self.operations)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what the plan makes of ``environment``."""
        return apply_environment(self.operations, environment)


def _announcement(request: Request, mpi: MpiDecision) -> tuple[Operation, ...]:
    if mpi.swap is None or not request.announce:
        return ()
    text = printable(f"the host's MPI takes the place of the image's: {mpi.swap.summary}")
    return (Operation(Verb.SAY, (text,), "BAREBOAT_ANNOUNCE or mpi.announce asks for it"),)


def make_plan(
    request: Request,
    config: SiteConfig,
    image: ImageFacts,
    layout: Layout,
    mpi: MpiDecision,
    *,
    program: str = "",
    missing: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
    ahead: tuple[Operation, ...] = (),
    placeholders: bool = False,
) -> Plan:
    """Put the plan together.

    ``missing`` are the mount points that the image lacks, ``warnings`` those of the probes, ``ahead`` what is
    read of the image beforehand (`launcher.ahead`).  With ``placeholders`` the plan is one for every step,
    else for the one that the layout was made for.
    Raises BareboatError where the host's MPI has no place.
    """
    _check_place(layout, mpi)
    mounts, cwd = (
        (layout.operations, layout.any_cwd) if placeholders else (layout.resolved.operations, layout.cwd)
    )
    covers = tuple(
        Operation(Verb.BIND, (cover.source, cover.target, "ro"), cover.reason, Origin.SWAP)
        for cover in (mpi.swap.covers if mpi.swap else ())
    )
    devices, device_notes = _fabric_devices(layout, mpi)
    changes = tuple(
        Operation(
            _CHANGES[change.action],
            (change.name,) if change.action == "unset" else (change.name, change.value),
            change.reason,
            Origin.SWAP,
        )
        for change in (mpi.swap.environment if mpi.swap else ())
    )
    reason = "no program of the image gains rights (prctl(2), PR_SET_NO_NEW_PRIVS)"
    return Plan(
        image=image.path,
        os_name=image.os_name,
        operations=(
            *mounts,
            *covers,
            *devices,
            *plan_environment(request, config, image),
            *layout.environment,
            *changes,
            *ahead,
            *_announcement(request, mpi),
            Operation(Verb.CWD, (cwd,), "the working directory of the caller"),
            Operation(Verb.NO_NEW_PRIVS, (), reason),
        ),
        mpi=mpi,
        program=program,
        argv=request.program,
        network=tuple(mount.target for mount in layout.network),
        missing=missing,
        notes=(*layout.notes, *device_notes),
        warnings=tuple(
            map(printable, (*layout.warnings, *warnings, *([mpi.warning] if mpi.warning else [])))
        ),
    )


def _check_place(layout: Layout, mpi: MpiDecision) -> None:
    """Refuse what would hide the place of the host's MPI, or put it into a directory of the host."""
    for target, _ in layout.binds() if mpi.swap else ():
        if beneath(target, MPI_DIR) or beneath(MPI_DIR, target):
            raise BareboatError(
                f"cannot mount on {target}: the host's MPI lies in {MPI_DIR}",
                hint="mount on another path; BAREBOAT_MPI=image needs no place there",
            )


def _fabric_devices(layout: Layout, mpi: MpiDecision) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
    """Show the device nodes that the host's MPI opens, or tell that the host's /dev shows them already."""
    binds, notes = [], []
    shown = [target for target, source in layout.binds() if target == source]
    for device in mpi.swap.devices if mpi.swap else ():
        reason = f"a device that {device.group} of the host's MPI opens"
        if any(beneath(device.path, top) for top in shown):
            refusal = f", but {device.refusal}" if device.refusal else ""
            notes.append(f"{device.path} is there with the host's /dev: {reason}{refusal}")
        else:
            args = (device.path, device.path, f"rw,{OPTIONAL}")
            binds.append(Operation(Verb.BIND, args, reason, Origin.SWAP))
    return tuple(binds), tuple(notes)
