"""Acts as a process of a container would: in a child that enters its namespaces with no more rights than it.

Python has no setns(2) before 3.12, and neither process_vm_readv(2) nor capset(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import select
import signal
import struct
from collections.abc import Callable
from pathlib import Path

# <linux/sched.h>, <linux/capability.h>
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_CAPABILITY_VERSION = 0x20080522
_LIMIT = 5.0
"""Longest time that a trial may take, in seconds."""


def try_shm(pid: int) -> int:
    """Write a file without a name in /dev/shm as process ``pid``; 0, or the errno of the failure.

    Raises OSError where its namespaces cannot be entered.
    """
    return _as_process(pid, _write_shm)


def try_read(pid: int | None, other: int, address: int) -> int:
    """Read the memory of process ``other`` at ``address`` as process ``pid`` (None: as this one).

    That is cross-memory attach, process_vm_readv(2).  Returns 0, or the errno of the failure.
    Raises OSError where the namespaces of ``pid`` cannot be entered.
    """
    return _as_process(pid, lambda library: _read_memory(library, other, address))


def try_read_outside() -> int:
    """Read the memory of a fresh process, outside of every container; 0, or the errno of the failure."""
    variable = ctypes.c_uint64(1)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there)
        os.read(here, 1)
        os._exit(0)
    os.close(here)
    try:
        # Not from its parent, which some security modules let do more.
        return try_read(None, child, ctypes.addressof(variable))
    finally:
        os.close(there)
        os.waitpid(child, 0)


def _as_process(pid: int | None, action: Callable[[ctypes.CDLL], int]) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer = (errno.EIO, 0)
        try:
            os.close(read)
            if pid is not None:
                _enter(library, pid)
            answer = (0, action(library))
        except OSError as error:
            answer = (error.errno or errno.EIO, 0)
        finally:
            os.write(write, struct.pack("ii", *answer))
            os._exit(0)
    os.close(write)
    try:
        ready = select.select([read], [], [], _LIMIT)[0]
        data = os.read(read, 8) if ready else b""
    finally:
        os.close(read)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    failed, result = struct.unpack("ii", data) if len(data) == 8 else (errno.ETIMEDOUT, 0)
    if failed:
        raise OSError(failed, os.strerror(failed), f"the namespaces of process {pid}")
    return int(result)


def _enter(library: ctypes.CDLL, pid: int) -> None:
    """Enter the user and mount namespaces of a process, and keep only the capabilities that it has."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    kept = [int(re.findall(rf"^{name}:\t([0-9a-f]+)$", status, re.M)[0], 16) for name in ("CapEff", "CapPrm")]
    for name, kind in (("user", _CLONE_NEWUSER), ("mnt", _CLONE_NEWNS)):
        path = f"/proc/{pid}/ns/{name}"
        # Entering the user namespace that one is in already is an error (setns(2)).
        if Path(path).stat().st_ino == Path(f"/proc/self/ns/{name}").stat().st_ino:
            continue
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        _call(library.setns(fd, kind))
        os.close(fd)
    words = [(mask >> shift) & 0xFFFFFFFF for shift in (0, 32) for mask in (*kept, 0)]
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    _call(library.capset(header, struct.pack("6I", *words)))


def _write_shm(_library: ctypes.CDLL) -> int:
    try:
        fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.write(fd, b"x")
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _read_memory(library: ctypes.CDLL, other: int, address: int) -> int:
    # struct iovec (process_vm_readv(2)): address and length
    place = ctypes.create_string_buffer(8)
    here = struct.pack("NN", ctypes.addressof(place), 1)
    there = struct.pack("NN", address, 1)
    library.process_vm_readv.restype = ctypes.c_ssize_t
    got = library.process_vm_readv(
        other, here, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0)
    )
    return 0 if got == 1 else ctypes.get_errno() or errno.EIO


def _call(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno() or errno.EIO, "")
