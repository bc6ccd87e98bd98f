"""What the steps of ``bareboat abi selftest`` come to.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from launcher.checklines import UNKNOWN

if TYPE_CHECKING:
    from benchmarks.probe_output import Hello, Table, Traffic


_UNSEEN = "the ranks ended before they could be looked at"


class Outcome(StrEnum):
    """How one thing is."""

    OK = "ok"
    NOTE = "note"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do where it is not as it should be."""

    what: str
    outcome: Outcome
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the steps gave.

    ranks and nodes: the first step's shape; hello: its mpi_hello's lines; checked: the values of
    BAREBOAT_CHECK's lines by rank (`launcher.checklines`); warnings: whole lines; inside and between: what
    two ranks of one node, and of two (None: not tried), printed who exchanged messages; answer: what the
    library that the ranks were to get says of itself outside, "" where it says nothing.
    """

    ranks: int
    nodes: int
    hello: tuple[Hello, ...]
    checked: Mapping[int, Mapping[str, str]]
    warnings: tuple[str, ...]
    inside: Table
    between: Table | None
    answer: str = ""


def find(evidence: Evidence, *, host: str) -> tuple[Finding, ...]:
    """Judge the evidence; ``host`` is the title of the MPI that the ranks were to get."""
    return tuple(_find(evidence, host))


def _find(evidence: Evidence, host: str) -> Iterator[Finding]:
    yield _library(evidence, host)
    yield _world(evidence)
    yield _transport(
        "messages inside a node", evidence.inside.traffic, wanted={"shared memory", "fabric (RDMA ports)"}
    )
    if evidence.between is not None:
        wanted = {"network interfaces (TCP)", "fabric (RDMA ports)"}
        yield _transport("messages between nodes", evidence.between.traffic, wanted=wanted)
    yield from _ended(evidence)
    yield _attach(evidence)
    yield _shared_memory(evidence)
    yield from (Finding("warning", Outcome.NOTE, line) for line in evidence.warnings)


def _library(evidence: Evidence, host: str) -> Finding:
    libraries = sorted({one.library for one in evidence.hello})
    loaded = _values(evidence, "mpi")
    text = f"{' and '.join(libraries)} answers"
    text += f", loaded as {' and '.join(loaded)}" if loaded else ", which ended before it could be looked at"
    if len(libraries) > 1 or any(not path.startswith("host:") for path in loaded):
        return Finding(
            "library", Outcome.FAILS, f"{text}, and not the host's {host} alone",
            hint="look for LD_LIBRARY_PATH, LD_PRELOAD and RPATH, and at: bareboat plan IMG",
        )  # fmt: skip
    if evidence.answer and libraries != [evidence.answer]:
        return Finding(
            "library", Outcome.FAILS, f"{text}; the host's {host} would say {evidence.answer}",
            hint="launches take another MPI (mpi.prefixes), or the nodes have another under this path",
        )  # fmt: skip
    return Finding("library", Outcome.OK if loaded else Outcome.NOTE, text)


def _world(evidence: Evidence) -> Finding:
    size, hosts = len(evidence.hello), sorted({one.host for one in evidence.hello})
    text = f"MPI_COMM_WORLD has {size} ranks, the step {evidence.ranks}, on {', '.join(hosts)}"
    if size != evidence.ranks or len(hosts) != evidence.nodes:
        return Finding(
            "ranks", Outcome.FAILS, f"{text} of {evidence.nodes} nodes",
            hint="srun's --mpi does not fit the MPI; see the line pmi of: bareboat abi check IMG",
        )  # fmt: skip
    return Finding("ranks", Outcome.OK, text)


def _transport(what: str, traffic: tuple[Traffic, ...], *, wanted: set[str]) -> Finding:
    from benchmarks.probe_output import describe_transport

    way = describe_transport(traffic)
    if way in wanted:
        return Finding(what, Outcome.OK, f"by {way}")
    outcome = Outcome.NOTE if way.startswith("unknown") else Outcome.FAILS
    hint = "see UCX_TLS, FI_PROVIDER and the like in the job's environment, and the site's transports"
    return Finding(what, outcome, f"by {way}, not by {' or '.join(sorted(wanted))}", hint=hint)


def _ended(evidence: Evidence) -> Iterator[Finding]:
    for where, table in (("inside a node", evidence.inside), ("between nodes", evidence.between)):
        if table is not None and not table.finalized:
            hint = "see whether it does bare; programs then hang at their end"
            text = f"MPI_Finalize did not return after the messages {where}"
            yield Finding("end", Outcome.NOTE, text, hint=hint)


def _attach(evidence: Evidence) -> Finding:
    what = "memory of another rank (process_vm_readv)"
    found = _values(evidence, "cma")
    if found == ["works"]:
        return Finding(what, Outcome.OK, "can be read")
    if not set(found) - {"works", "alone"}:
        why = "no two ranks shared a node" if found else _UNSEEN
        return Finding(what, Outcome.NOTE, f"not tried by all: {why}")
    hint = "a security module or kernel.yama.ptrace_scope; messages of a node are copied twice"
    return Finding(what, Outcome.FAILS, f"cannot be read: {' and '.join(found)}", hint=hint)


def _shared_memory(evidence: Evidence) -> Finding:
    found = _values(evidence, "shm")
    if not found:
        return Finding("/dev/shm", Outcome.NOTE, _UNSEEN)
    if found == ["host,writable"]:
        return Finding("/dev/shm", Outcome.OK, "is the host's, and can be written to")
    hint = "leave dev in the view (BAREBOAT_WITHOUT), and see the permissions of /dev/shm on the nodes"
    return Finding("/dev/shm", Outcome.FAILS, f"is {' and '.join(found)}, not host,writable", hint=hint)


def _values(evidence: Evidence, key: str) -> list[str]:
    """The different values of BAREBOAT_CHECK's lines, but for what could not be measured."""
    return sorted({values.get(key, UNKNOWN) for values in evidence.checked.values()} - {UNKNOWN})
