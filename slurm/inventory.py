"""The cluster's nodes, as Slurm's own commands report them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm.errors import SlurmError

_LIMIT = 60.0
_UNUSABLE = frozenset(
    {"down", "drain", "fail", "failing", "future", "maint", "not_responding", "power_down", "powered_down"}
    | {"powering_down", "unknown", "error", "reboot_issued", "reboot_requested", "no_respond", "planned_down"}
)
_VERSION = re.compile(r"\b([0-9]{2}\.[0-9]{2}(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node: its name, its states in small letters (``idle``, ``drain``, ...), its processors."""

    name: str
    states: tuple[str, ...]
    cpus: int

    @property
    def is_usable(self) -> bool:
        """Whether a step could run there now or soon."""
        return not _UNUSABLE.intersection(self.states)


def list_nodes(environment: Mapping[str, str]) -> tuple[NodeInfo, ...]:
    """Ask Slurm for its nodes, sorted as it lists them.

    ``scontrol show nodes --json`` where scontrol knows that (23.02 and later), else ``sinfo --json``.

    Args:
        environment: may have SLURM_CONF.

    Raises:
        SlurmError: if Slurm is not installed, does not answer or has no JSON.
    """
    problems = []
    for command in (("scontrol", "show", "nodes", "--json"), ("sinfo", "--json")):
        done = run(command, environment)
        if done.returncode == 0:
            return parse_nodes(done.stdout)
        problems.append(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    raise SlurmError(
        "Slurm does not tell its nodes: " + "; ".join(problems),
        hint="is slurmctld running (scontrol ping), and is Slurm's JSON serializer plugin installed?",
    )


def parse_nodes(text: str) -> tuple[NodeInfo, ...]:
    """Read the JSON of either command, of Slurm 22.05 (one state, a text) and later (a list of states).

    Raises:
        SlurmError: if it is not that.
    """
    try:
        nodes = json.loads(text)["nodes"]
        return tuple(NodeInfo(str(node["name"]), _states(node), int(node.get("cpus", 0))) for node in nodes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise SlurmError(f"Slurm's list of nodes cannot be read: {type(error).__name__}: {error}") from error


def _states(node: Mapping[str, object]) -> tuple[str, ...]:
    found: list[str] = []
    for key in ("state", "state_flags"):
        value = node.get(key, ())
        found += [value] if isinstance(value, str) else map(str, value)  # type: ignore[call-overload]
    # Older releases join a state and its flags by "+".
    return tuple(part.lower() for state in found for part in state.split("+") if part)


def slurm_version(environment: Mapping[str, str]) -> str:
    """The release of the Slurm that is installed here, such as 22.05.8.

    Raises:
        SlurmError: if there is none.
    """
    problems = []
    # scontrol wants a slurm.conf even for this; slurmd, where there is one, does not.
    for command in (("scontrol", "--version"), ("slurmd", "-V")):
        try:
            done = run(command, environment)
        except SlurmError as error:
            problems.append(str(error))
            continue
        if done.returncode == 0:
            return parse_version(done.stdout)
        problems.append(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    raise SlurmError(
        "Slurm does not tell its release: " + "; ".join(problems),
        hint="set SLURM_CONF if slurm.conf is not in /etc/slurm",
    )


def parse_version(text: str) -> str:
    """Find the release in what ``--version`` prints, whatever a distribution puts before it.

    Raises:
        SlurmError: if there is none.
    """
    found = _VERSION.search(text)
    if found is None:
        raise SlurmError(f"Slurm calls its release {text.strip()!r}, which is no number of one")
    return found[1]


def is_same_release(one: str, other: str) -> bool:
    """Whether a plugin built for one release fits the other: Slurm asks for the same first two numbers."""
    return one.split(".")[:2] == other.split(".")[:2]


def run(
    command: Sequence[str], environment: Mapping[str, str], *, limit: float = _LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands, outside of any job; its exit code is not judged.

    Args:
        command: its name and arguments.
        environment: only PATH, SLURM_CONF and who the user is are taken from it.
        limit: in seconds.

    Raises:
        SlurmError: if it is not installed or does not end in time.
    """
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    path = f"{environment['PATH']}:{path}" if environment.get("PATH") else path
    program = shutil.which(command[0], path=path)
    if program is None:
        raise SlurmError(
            f"Slurm's command {command[0]} is not installed here", hint="install Slurm's client commands"
        )
    kept = {name: environment[name] for name in ("SLURM_CONF", "HOME", "USER") if name in environment}
    try:
        return subprocess.run(
            [program, *command[1:]],
            env={"PATH": path, "LC_ALL": "C.UTF-8", **kept},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(
            f"{' '.join(command)} did not answer within {limit:.0f} seconds", hint="ask scontrol ping"
        ) from error
