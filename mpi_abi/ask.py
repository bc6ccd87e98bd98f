"""Asks an MPI library for its version: in a child, for it is the library's own code that answers.

MPI_Get_library_version may be called before MPI_Init (MPI 4.1, section 9.1.1).  A library that crashes, hangs
or cannot be loaded costs the child only.  No launch asks: there, what stands in the file has to do.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

LIMIT = 10.0
"""Seconds that a library may take."""
_LONGEST = 8192
"""MPI_MAX_LIBRARY_VERSION_STRING is at most this, in MPICH and in the standard ABI."""

# The answer has a pipe of its own: constructors print what they like.  os._exit, for destructors crash.
_SCRIPT = f"""
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def tell(mark, text):
    os.write(int(sys.argv[2]), mark + text[:{_LONGEST}])
    os._exit(0)
try:
    ask = ctypes.CDLL(sys.argv[1]).MPI_Get_library_version
except (OSError, AttributeError) as error:
    tell(b"-", b"it cannot be loaded: " + str(error).encode())
text, length = ctypes.create_string_buffer({_LONGEST}), ctypes.c_int()
code = ask(text, ctypes.byref(length))
tell(*((b"+", text.value) if code == 0 else (b"-", b"MPI_Get_library_version returned %d" % code)))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a library said of itself; ``problem`` says why it said nothing."""

    text: str = ""
    problem: str = ""

    @property
    def line(self) -> str:
        """Its first line, single-spaced."""
        return " ".join(self.text.partition("\n")[0].split())


def ask_version(path: str, *, limit: float = LIMIT) -> Answer:
    """Have the library at ``path`` say its version; ``limit`` is in seconds.  Nothing that it does raises."""
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SCRIPT, path, str(writer)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # Neither LD_LIBRARY_PATH nor a preload of the caller's: a launch would not know them.
            env={"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}, cwd="/",
            pass_fds=(writer,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(reader)
        return Answer(problem=f"no child could be started to ask it: {error}")
    finally:
        os.close(writer)
    try:
        said = _read(reader, time.monotonic() + limit)
    finally:
        os.close(reader)
        # Before the child is waited for, its number is its own and its group's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
    if said is None:
        return Answer(problem=f"it did not answer within {limit:g} seconds")
    if said[:1] == b"+":
        return Answer(text=said[1:].decode("utf-8", "replace").strip())
    if said[:1] == b"-":
        return Answer(problem=said[1:].decode("utf-8", "replace"))
    how = f"by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"with {code}"
    return Answer(problem=f"the process that loaded it was ended {how}")


def _read(descriptor: int, deadline: float) -> bytes | None:
    """What comes through a pipe until one message is there or its other end is closed; None if it is late."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                return os.read(descriptor, _LONGEST + 1)
    return None
