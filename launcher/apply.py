"""Acts: hands a program to the C core.  The only module that touches ``launcher._core``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from launcher.errors import BareboatError
from launcher.host import find_libexec

_NAME = "bareboat-program"


def check(program: bytes) -> None:
    """Have the core check ``program`` as a whole.

    Raises BareboatError, chained to an OSError with the core's errno and place.
    """
    try:
        from launcher._core import ffi, lib
    except ImportError as error:
        raise BareboatError(
            f"bareboat's compiled core cannot be loaded: {error}", hint="build it with: make setup"
        ) from error
    failure = ffi.new("struct bb_err *")
    if lib.bb_program_check(program, len(program), failure) < 0:
        text = ffi.new("char[]", 2048)
        lib.bb_err_text(failure, text, len(text))
        cause = OSError(failure.errnum, os.strerror(failure.errnum), os.fsdecode(ffi.string(failure.path)))
        raise BareboatError(ffi.string(text).decode("utf-8", "replace")) from cause


def run(program: bytes, argv: Sequence[str]) -> NoReturn:
    """Replace this process by ``argv`` in the container that ``program`` describes.

    The program travels in a memfd, so that nothing of it lies in a file system.  bareboat-enter then ends
    with 125 where it failed itself, 126 or 127 where ``argv`` cannot be executed, else as ``argv`` does.
    Raises BareboatError where it does not get that far.
    """
    check(program)
    enter = find_enter()
    fd = os.memfd_create(_NAME, 0)
    try:
        view = memoryview(program)
        while view:
            view = view[os.write(fd, view) :]
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the caller closed it
            stream.flush()
        os.execv(enter, [enter, f"/proc/self/fd/{fd}", "--", *argv])
    except OSError as error:
        raise BareboatError(f"cannot execute {enter}: {error.strerror}") from error
    finally:
        os.close(fd)


def show(image: str, server: str) -> int:
    """Mount the squashfs file ``image`` by the FUSE server ``server``, for this process to read.

    Returns a descriptor of the mount's root; the mount lasts, and the server runs, until it is closed.
    Raises BareboatError with the core's reason.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    enter = find_enter()
    with ours:
        with theirs:
            try:
                process = subprocess.Popen(
                    [enter, "--show", image, server],
                    stdin=subprocess.DEVNULL,
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                raise BareboatError(f"cannot execute {enter}: {error.strerror}") from error
        with process:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            said = process.communicate()[1]
    if descriptors:
        return descriptors[0]
    text = said.decode("utf-8", "surrogateescape").strip().removeprefix("bareboat: ")
    raise BareboatError(text or f"{enter} ended without mounting {image}")


def find_enter() -> str:
    """Find bareboat-enter of this installation.  Raises BareboatError where it is not there."""
    path = Path(find_libexec(), "bareboat-enter")
    if not os.access(path, os.X_OK):
        raise BareboatError(f"{path} is missing or not executable", hint="build it with: make setup")
    return str(path)
