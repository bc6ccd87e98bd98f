"""Take what a new testbed needs for itself: a name, a network, a port."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed import network, processes, teardown
from slurm.testbed import state as records
from slurm.testbed.config import Mpi
from slurm.testbed.state import BASE, Phase, State

_FIRST_PORT = 6817


def reserve(
    name: str | None, nodes: tuple[str, ...], mpi: Mpi, plugin: Path | None, base: Path = BASE
) -> State:
    """Take a free name, network and port, and write them down before anything is made.

    Testbeds whose ``up`` was killed half way are taken down first.

    Raises:
        SlurmError: if the name is in use or nothing is free.
    """
    with records.lock(base):
        teardown.clear(base)
        taken = records.names(base)
        if name in taken:
            raise SlurmError(
                f"there is a testbed called {name!r} already",
                hint=f"take it down (bareboat testbed down --name {name}) or give another name",
            )
        chosen = name or next(f"tb{number}" for number in range(1, 1000) if f"tb{number}" not in taken)
        others = [state for other in taken if (state := records.try_load(other, base)) is not None]
        state = State(
            name=chosen,
            index=network.free_index({other.index for other in others}),
            phase=Phase.STARTING,
            boot_id=records.boot_id(),
            owner=processes.identify("up", os.getpid()),
            port=_free_port({other.port for other in others}),
            nodes=nodes,
            mpi=mpi.value,
            plugin=None if plugin is None else str(plugin),
        )
        directory = records.directory_of(chosen, base)
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        records.save(state, base)
    return state


def _free_port(taken: Collection[int]) -> int:
    """A port for slurmctld, which listens at all addresses of the host."""
    for port in range(_FIRST_PORT, _FIRST_PORT + 1000):
        if port in taken:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, suppress(OSError):
            # As slurmctld does: connections that linger in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))
            return port
    raise SlurmError(f"no free TCP port from {_FIRST_PORT} on for slurmctld")
