"""Asks, before anything is measured, what each side really uses, and in which state the nodes are."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.cases import BARE, CONTAINER, Facts, Ground
from benchmarks.errors import BenchError
from benchmarks.probe_output import describe_transport, parse_cma, parse_table
from benchmarks.records import Record
from benchmarks.results import NodeFacts
from benchmarks.runner import Allocation, Client, Step, local_command, run_command, run_step, srun_command

SUITE = "probe"
PROGRAMS = ("mpi_hello", "mpi_latency")
_EXCHANGE = ("latency", "-m", "65536:65536", "-i", "200", "-x", "20")
"""Large enough that the counters of interfaces say which way it went."""

_FILES = {
    "load": "/proc/loadavg",
    "kernel": "/proc/sys/kernel/osrelease",
    "boot": "/proc/sys/kernel/random/boot_id",
    "host": "/proc/sys/kernel/hostname",
    "model": "/proc/cpuinfo",
    "memory": "/proc/meminfo",
    "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "lowest": "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq",
    "highest": "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
    "binding": "/proc/self/status",
}
_WANTED = "^(model name|MemTotal|Cpus_allowed_list|[0-9]|[A-Za-z0-9._-]+$)"
_LINE = re.compile(r"^(\d+): (/[^:]+):(.*)$")
_LIMIT = 60.0


def ask_nodes(
    client: Client, allocation: Allocation, image: str
) -> tuple[tuple[NodeFacts, ...], tuple[str, ...]]:
    """The state of each node, and what a reader is to know about it.

    A node that does not answer has its name only: what is measured does not depend on this.
    """
    found = read_nodes(_read_files(client, allocation, None))
    inside = read_nodes(_read_files(client, allocation, image))
    boots = Counter(facts.get("boot", host) for host, facts in found.items())
    machine = tuple(
        _node_facts(host, found.get(host, {}), boots[found.get(host, {}).get("boot", host)] or 1)
        for host in allocation.nodes
    )
    machine = tuple(
        replace(node, binding=(*node.binding, (CONTAINER, _processors(inside[node.host]))))
        if "binding" in inside.get(node.host, {})
        else node
        for node in machine
    )
    return machine, _notes(machine, found, allocation)


def _read_files(client: Client, allocation: Allocation, image: str | None) -> str:
    """What grep says on each node, behind the number of its rank; nothing where an image has no grep.

    One rank a node, with the user's options of srun: what these bind, it is bound to.
    """
    count = len(allocation.nodes)
    step = Step(count, count, image, ("grep", "-sHm1", "-E", _WANTED, *_FILES.values()), _LIMIT)
    # grep ends with 2 where a file is missing, as the governor is in a virtual machine.
    if allocation.launcher is not None:
        alone = local_command(client, replace(allocation, launcher=()), step)
        return "".join(f"0: {line}\n" for line in run_command(client, alone, limit=_LIMIT)[1].splitlines())
    command = [
        word for word in srun_command(allocation, step, client.srun_options) if word != "--kill-on-bad-exit=1"
    ]
    command[1:1] = ["--label", "--kill-on-bad-exit=0"]
    return run_command(client, command, limit=_LIMIT)[1]


def read_nodes(text: str) -> dict[str, dict[str, str]]:
    """Sort grep's lines by host and file.  Pure."""
    names = {path: name for name, path in _FILES.items()}
    ranks: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        if (match := _LINE.match(line)) and match[2] in names:
            ranks.setdefault(match[1], {})[names[match[2]]] = match[3].strip()
    return {found["host"].partition(".")[0]: found for found in ranks.values() if "host" in found}


def ask_sides(
    ground: Ground, client: Client, allocation: Allocation, *, session: int, limit: float
) -> Iterator[Record]:
    """What each side uses at each place, as records that carry no figure."""
    for nodes in dict.fromkeys(min(count, 2) for count in ground.nodes):
        for side in (BARE, ground.side):
            began, clock = time.time(), time.perf_counter()

            def start(name: str, arguments: Sequence[str], *, side: str = side, nodes: int = nodes) -> str:
                command = ground.commands(name, *arguments)[side]
                step = Step(nodes, 2, command.image, command.argv, limit, command.options)
                return run_step(client, allocation, step).stdout

            facts, error, hint = Facts(), "", ""
            try:
                table = parse_table(start("mpi_latency", _EXCHANGE))
                transport = describe_transport(table.traffic)
                if transport == "shared memory" and allocation.launcher is None:
                    attach = parse_cma(start("mpi_hello", ("--cma",)))
                    transport += f"; cross-memory attach {attach.partition(' on ')[0]}"
                facts = Facts(table.library, table.digest, transport)
            except BenchError as failed:
                error, hint = str(failed), failed.hint
            yield Record(
                session, -1, SUITE, str(nodes), side, round(began, 3),
                round(time.perf_counter() - clock, 4), facts=facts, error=error, hint=hint,
            )  # fmt: skip


def _node_facts(host: str, found: dict[str, str], sharing: int) -> NodeFacts:
    kilohertz = [found[name] for name in ("lowest", "highest") if found.get(name, "").isdigit()]
    memory = re.search(r"\d+", found.get("memory", ""))
    allowed = _processors(found)
    return NodeFacts(
        host,
        processors=max(1, _count(allowed) // sharing) if allowed else 0,
        model=found.get("model", "").partition(":")[2].strip(),
        kernel=found.get("kernel", ""),
        memory_mib=int(memory[0]) // 1024 if memory else 0,
        governor=found.get("governor", ""),
        megahertz="-".join(str(int(speed) // 1000) for speed in kilohertz),
        load=found.get("load", "").partition(" ")[0],
        binding=((BARE, allowed),) if allowed else (),
    )


def _processors(found: dict[str, str]) -> str:
    """The list of those that a rank may use."""
    return found.get("binding", "").partition(":")[2].strip()


def _count(ranges: str) -> int:
    """Of a list like 0-3,8."""
    ends = [part.split("-") for part in ranges.split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def count_processors(machine: Sequence[NodeFacts]) -> int:
    """How many processors a node has for itself, 0: unknown.  Pure."""
    return min((node.processors for node in machine), default=0)


def is_crowded(machine: Sequence[NodeFacts], nodes: int, ranks: int) -> bool:
    """Would ranks of a step share processors, on any of its nodes?  False where that is not known.  Pure."""
    for node in machine:
        if not node.processors:
            continue
        allowed = _count(node.binding[0][1])
        sharing = max(1, allowed // node.processors)
        if -(-ranks // nodes) > max(1, allowed // min(sharing, nodes)):
            return True
    return False


def _notes(
    machine: Sequence[NodeFacts], found: dict[str, dict[str, str]], allocation: Allocation
) -> tuple[str, ...]:
    notes = []
    boots: dict[str, list[str]] = {}
    for host, facts in sorted(found.items()):  # they answer in any order
        boots.setdefault(facts.get("boot", host), []).append(host)
    for hosts in boots.values():
        if len(hosts) > 1:
            notes.append(
                f"{', '.join(hosts)} are one machine: what is between them is its own memory and processors"
            )
    for node in machine:
        if node.load and float(node.load) > 0.5 * allocation.cpus_per_node:
            notes.append(f"{node.host} had a load of {node.load} before anything was measured")
        if node.governor and node.governor != "performance":
            notes.append(f"the processors of {node.host} change their frequency (governor {node.governor})")
    return tuple(notes)
