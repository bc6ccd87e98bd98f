"""What follows of devices that were asked for: mounts, variables, refusals.  Pure.

A device is never given here: its node is the host's, and what Slurm's cgroup or the node's mode forbids stays
forbidden.  That is asked beforehand only so that the message comes early.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from launcher.cdi import DeviceNode, Hook
from launcher.devices import Devices
from launcher.errors import BareboatError
from launcher.program import Operation, Origin, Verb

_RESERVED = ("SLURM_", "SPANK_", "PMI", "BAREBOAT_")

_VENDOR_HOOKS = {
    "update-ldcache": (
        "put the device's libraries into the image's loader cache",
        "programs find them only in the image's default directories or by LD_LIBRARY_PATH",
    ),
    "create-symlinks": (
        "made links to the device's libraries",
        "programs that open them by a link's name fail",
    ),
    "create-soname-symlinks": (
        "made links named by sonames to the device's libraries",
        "programs find only libraries whose file has that name",
    ),
    "enable-cuda-compat": (
        "preferred the image's CUDA compatibility libraries",
        "an image for a newer CUDA than the driver's needs LD_LIBRARY_PATH to name them",
    ),
    "chmod": ("changed modes of device directories, which are the host's here", ""),
    "disable-device-node-modification": (
        "kept the driver's tools from making device nodes, which a user cannot make anyhow", ""
    ),
}  # fmt: skip
"""Of nvidia-cdi-hook, by its first argument: what it would have done, and what is lost without it, or ""."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What the devices add to a plan."""

    mounts: tuple[Operation, ...]
    environment: tuple[Operation, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def plan_devices(devices: Devices, *, shows: Callable[[str], bool]) -> DevicePlan:
    """Decide mounts, changes of the environment, and what to tell.  Pure.

    ``shows`` says whether the container shows the host's path at the same place.
    Raises BareboatError for what the host does not have, the step was not given, or no engine but another
    could do.
    """
    names = ", ".join(devices.names)
    edits = devices.edits
    if edits.unsupported:
        raise BareboatError(
            f"the device {names} cannot be used: its specification asks for "
            f"{' and '.join(edits.unsupported)}, which needs root",
            hint="ask the site for a specification without it",
        )
    mounts: list[Operation] = []
    nodes: list[Operation] = []
    notes: list[str] = []
    for node in edits.nodes:
        _check_node(node, devices, names)
        if node.path == node.source and shows(node.path):
            notes.append(f"the device {node.path} of {names} is the host's, in {os.path.dirname(node.path)}")  # noqa: PTH120
        else:
            _check_place(node.path, devices, shows)
            args = (node.source, node.path, "rw")
            nodes.append(Operation(Verb.BIND, args, f"a device node of {names}", Origin.USER))
    # Those that hold others first, as a directory would hide what was mounted below it before.
    for mount in sorted(edits.mounts, key=lambda mount: mount.target.count("/")):
        if mount.source not in devices.present:
            raise BareboatError(
                f"the device {names} needs {mount.source}, which is not on this host",
                hint="the specification is of another driver version: have the vendor's tool write it again",
            )
        _check_place(mount.target, devices, shows)
        if not (mount.source == mount.target and shows(mount.source)):
            args = (mount.source, mount.target, "ro" if mount.read_only else "rw")
            mounts.append(Operation(Verb.BIND, args, f"needed by {names}", Origin.USER))
    changes = []
    for name, value in edits.environment:
        if name.startswith(_RESERVED):
            raise BareboatError(
                f"the device {names} cannot be used: its specification sets {name}, which is the scheduler's",
                hint="ask the site for a specification without it",
            )
        changes.append(Operation(Verb.ENV_SET, (name, value), f"of {names}", Origin.USER))
    needless, lost = _refuse_hooks(edits.hooks, names)
    # Nodes last: a directory that is mounted would hide them.
    return DevicePlan((*mounts, *nodes), tuple(changes), (*notes, *needless), lost)


def _check_node(node: DeviceNode, devices: Devices, names: str) -> None:
    facts = (devices.nodes or {}).get(node.source)
    if facts is None:
        raise BareboatError(
            f"the device {names} needs {node.source}, which is not on this host",
            hint="run the step on a node that has the device (srun --constraint, --gres)",
        )
    kind = "c" if node.kind == "u" else node.kind
    if not facts.kind or kind not in {"", facts.kind} or node.number not in {None, facts.number}:
        raise BareboatError(
            f"the device {names} needs {node.source}, which is not the device that its specification means",
            hint="the driver was loaded anew: have the vendor's tool write the specification again",
        )
    if facts.refusal == errno.EPERM:
        granted = f"; it has {devices.granted}" if devices.granted else ""
        raise BareboatError(
            f"the device {names} needs {node.source}, which this step was not given: its device cgroup "
            f"forbids it{granted}",
            hint="ask Slurm for the device (srun --gres, --gpus), or name only those that the step has",
        )
    if facts.refusal:
        raise BareboatError(
            f"the device {names} needs {node.source}, which you may not open: {os.strerror(facts.refusal)} "
            f"(mode {facts.mode})",
            hint="ask the site for the group that may",
        )


def _check_place(path: str, devices: Devices, shows: Callable[[str], bool]) -> None:
    """Refuse a place where nothing can be mounted: in a directory of the host, that needs something there."""
    if shows(path) and path not in devices.present:
        raise BareboatError(
            f"cannot show a device's {path}: the directory is the host's, and has nothing of that name",
            hint="leave that part of the view out (BAREBOAT_WITHOUT=dev), or ask the site for another path",
        )


def _refuse_hooks(hooks: Iterable[Hook], names: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say of which hooks nothing is lost, and what is lost without others, once for each kind.

    Raises BareboatError for a hook whose doing is not known.
    """
    needless: dict[str, str] = {}
    lost: dict[str, str] = {}
    for hook in hooks:
        action = _action(hook)
        if action not in _VENDOR_HOOKS:
            does = " ".join(hook.args[1:])
            raise BareboatError(
                f"the device {names} cannot be used: its {hook.stage} hook {hook.path} ({does}) would have "
                "changed the container, and hooks are not run",
                hint="ask the site for a specification without it; BAREBOAT_MOUNTS shows files of the host",
            )
        would, cost = _VENDOR_HOOKS[action]
        text = f"the hook {action} of {names} is not run: it would have {would}"
        if cost:
            lost[action] = f"{text}; without it, {cost}"
        else:
            needless[action] = text
    return tuple(needless.values()), tuple(lost.values())


def _action(hook: Hook) -> str:
    """What a hook of NVIDIA's tools does, by its arguments; "" for others."""
    tool, args = os.path.basename(hook.path), hook.args[1:]  # noqa: PTH119
    if tool == "nvidia-ctk" and args[:1] == ("hook",):
        return "".join(args[1:2])
    return "".join(args[:1]) if tool == "nvidia-cdi-hook" else ""
