"""The configuration files of a testbed, as text.  Pure: nothing is read or written here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from slurm import plugstack
from slurm.errors import SlurmError

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_STRUCTURAL = frozenset({"nodename", "partitionname", "include", "downnodes", "nodeset"})


class Mpi(StrEnum):
    """What a step gets when srun is not told ``--mpi``."""

    PMI2 = "pmi2"
    PMIX = "pmix"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Slurm knows it: its name and its IPv4 address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the configuration files depend on.

    ``memory`` is in MiB a node; ``extra`` are further lines of slurm.conf, which replace ours of the
    same name.
    """

    name: str
    directory: Path
    controller: Node
    port: int
    nodes: tuple[Node, ...]
    cpus: int
    memory: int
    slurm_user: str
    mpi: Mpi = Mpi.PMI2
    job_container: bool = False
    plugin: Path | None = None
    stores: tuple[Path, ...] = ()
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def slurm_conf(settings: Settings) -> str:
    """The text of slurm.conf (slurm.conf(5)).

    Raises:
        SlurmError: if an extra line has a name or a value that cannot be one.
    """
    values = _base(settings)
    ours = {key.lower(): key for key in values}
    for key, value in settings.extra.items():
        _check_extra(key, value)
        values.pop(ours.get(key.lower(), key), None)
        values[key] = value
    lines = [f"{key}={value}" for key, value in values.items()]
    # A fake number of processors: config_overrides lets slurmd offer what the machine does not have.
    shape = f"CPUs={settings.cpus} Sockets=1 CoresPerSocket={settings.cpus} ThreadsPerCore=1"
    lines += [
        f"NodeName={node.name} NodeAddr={node.address} {shape} RealMemory={settings.memory} State=UNKNOWN"
        for node in settings.nodes
    ]
    names = ",".join(node.name for node in settings.nodes)
    # FORCE: jobs share processors, so that no test waits for another's job to end.
    lines.append(
        f"PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:64"
    )
    return "\n".join(lines) + "\n"


def _base(settings: Settings) -> dict[str, str]:
    directory = settings.directory
    values = {
        "ClusterName": settings.name,
        "SlurmctldHost": f"{settings.controller.name}({settings.controller.address})",
        "SlurmctldPort": str(settings.port),
        "SlurmUser": settings.slurm_user,
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "AuthInfo": f"socket={directory}/munge/munge.socket",
        "StateSaveLocation": f"{directory}/slurmctld",
        "SlurmctldPidFile": f"{directory}/slurmctld/slurmctld.pid",
        "SlurmctldLogFile": f"{directory}/log/slurmctld.log",
        "SlurmdLogFile": f"{directory}/log/slurmd.%n.log",
        "SlurmdPidFile": "/run/slurmd.pid",
        # The same path on every node, as at a site; each node mounts its own directory there.
        "SlurmdSpoolDir": f"{directory}/spool",
        "SlurmctldSyslogDebug": "quiet",
        "SlurmdSyslogDebug": "quiet",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SchedulerType": "sched/builtin",
        # A step that finds its nodes still busy with the last one's end is looked at again after a second.
        "SchedulerParameters": "interval=1,sched_interval=1,batch_sched_delay=0",
        "SlurmdParameters": "config_overrides",
        "LaunchParameters": "use_interactive_step",
        "MpiDefault": settings.mpi.value,
        "PlugStackConfig": f"{directory}/plugstack.conf",
        "ReturnToService": "2",
        "MessageTimeout": "30",
        "KillWait": "5",
        "MailProg": "/bin/true",
    }
    if settings.job_container:
        values |= {"JobContainerType": "job_container/tmpfs", "PrologFlags": "Contain"}
    return values


def _check_extra(key: str, value: str) -> None:
    if not _KEY.fullmatch(key) or key.lower() in _STRUCTURAL:
        raise SlurmError(
            f"{key!r} cannot be set as an extra line of slurm.conf",
            hint="give the name of one setting of slurm.conf(5) that is not a node or a partition",
        )
    if re.search(r"[\x00-\x08\x0a-\x1f]", value) or value.endswith("\\"):
        raise SlurmError(f"the value {value!r} of {key} does not fit on one line of slurm.conf")


def plugstack_conf(settings: Settings) -> str:
    """The text of plugstack.conf: it includes whatever lies in the testbed's plugstack.conf.d."""
    return f"include {settings.directory}/plugstack.conf.d/*.conf\n"


def plugin_line(prefix: Path, stores: Iterable[Path] = ()) -> str:
    """The line that loads bareboat's plugin from an installed prefix.

    ``required``: with ``optional`` and a plugin that does not load, Slurm would run the job on the bare host.
    """
    return plugstack.add("", f"{prefix}/lib/slurm/{plugstack.PLUGIN}", map(str, stores))


def job_container_conf(settings: Settings) -> str:
    """The text of job_container.conf; the base lies in the node's own spool directory."""
    return f"AutoBasePath=true\nBasePath={settings.directory}/spool/job_container\n"


def hosts(settings: Settings) -> str:
    """The text of the nodes' /etc/hosts: every node, the controller and loopback."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [f"{node.address} {node.name}" for node in (settings.controller, *settings.nodes)]
    return "\n".join(lines) + "\n"


def node_names(count: int) -> tuple[str, ...]:
    """The names of so many nodes: n1, n2, ...

    Raises:
        SlurmError: for a number that a /24 network has no room for.
    """
    if not 1 <= count <= 250:
        raise SlurmError(f"a testbed cannot have {count} nodes", hint="give a number between 1 and 250")
    return tuple(f"n{number}" for number in range(1, count + 1))
