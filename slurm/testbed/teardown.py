"""Take a testbed down, whatever is left of it."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed import boot, network, processes
from slurm.testbed import state as records
from slurm.testbed.state import BASE, Phase, State


def down(name: str, base: Path = BASE) -> bool:
    """Take down a testbed, whatever is left of it, and return whether there was anything.

    Works in any state: half made, daemons killed, after a reboot, a second time.

    Raises:
        SlurmError: if somebody else is just starting it, if this is not root, or something survives.
    """
    directory = records.directory_of(name, base)
    if not directory.exists():
        return False
    if os.geteuid() != 0:
        raise SlurmError(f"the testbed {name} is root's, not user {os.geteuid()}'s", hint="use sudo")
    _end(name, directory, base)
    with records.lock(base):
        _remove(directory)
        with suppress(OSError):
            base.rmdir()
    return True


def clear(base: Path = BASE) -> None:
    """Take down what was left half made or by an earlier boot.  The caller holds the lock.

    The lock matters: a testbed that somebody is making has no record for a moment.
    """
    for name in records.names(base):
        if not is_usable(name, base):
            directory = records.directory_of(name, base)
            _end(name, directory, base)
            _remove(directory)


def _end(name: str, directory: Path, base: Path) -> None:
    """End a testbed's processes, cables and mounts; its directory stays."""
    state = records.try_load(name, base)
    if state is not None and state.boot_id != records.boot_id():
        state = None  # what was recorded then may be somebody else's now
    if state and state.phase is Phase.STARTING and state.owner.pid != os.getpid():
        _refuse_if_alive(state)
    pins = tuple(directory.glob("nodes/*/net"))
    networks = frozenset(found for pin in pins if (found := processes.network_of(str(pin))) is not None)
    recorded = processes.recorded(state.processes) if state else frozenset()
    processes.kill_all(processes.Marks(directory, recorded, networks))
    network.remove_links(records.identity_of(directory), state)
    _unmount_below(directory)


def _refuse_if_alive(state: State) -> None:
    if processes.is_alive(state.owner):
        raise SlurmError(
            f"the testbed {state.name} is just being started by process {state.owner.pid}",
            hint="wait until it is up, or end that process first",
        )


def _unmount_below(directory: Path) -> None:
    """Unmount everything below a directory, the latest first (proc(5), mountinfo: field 5, octal escapes)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].encode().decode("unicode_escape")
        if Path(target).is_relative_to(directory):
            found.append(target)
    for target in reversed(found):
        # Somebody else may be taking it down as well: what is gone is no error.
        with suppress(FileNotFoundError):
            try:
                boot.detach(target)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise


def _remove(directory: Path) -> None:
    """Remove a testbed's directory; the caller holds the lock."""
    # The record last: if this is interrupted, the next one still knows what to look for.
    record = directory / "state.json"
    for entry in list(directory.iterdir()) if directory.exists() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != record:
            entry.unlink(missing_ok=True)
    record.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        directory.rmdir()


def is_usable(name: str, base: Path = BASE) -> bool:
    """Whether a testbed is up, or being started by somebody who is still at it."""
    state = records.try_load(name, base)
    if state is None or state.boot_id != records.boot_id():
        return False
    return state.phase is Phase.UP or processes.is_alive(state.owner)
