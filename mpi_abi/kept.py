"""Answers that are kept in the user's cache, each with the guards that tell whether it still holds.

A file is one answer: a line with a magic, size and checksum of the rest, and JSON.  It is believed only if it
is the user's own, whole, and about just this question; whatever else lies there is passed over and written
anew.  That it cannot be written is no error: then nothing is kept.
"""

from __future__ import annotations

import json
import os
import stat
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .guards import Guard, GuardKind, Recorder, holds, is_fresh, make_stamp

MOST_FILES = 32
MOST_BYTES = 8 << 20
"""Of answers that are kept, and of one of them."""

_MAGIC = "bareboat-abi-1"
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def cache_directory(environment: Mapping[str, str]) -> str:
    """Where a user's answers are kept; "" if that cannot be told (XDG Base Directory Specification)."""
    base = environment.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = environment.get("HOME", "")
        base = f"{home}/.cache" if home.startswith("/") else ""
    return f"{base}/bareboat/abi" if base else ""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers in ``directory`` ("": none are kept)."""

    directory: str

    def recall(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a question about an ``image`` (absolute), if one is kept that still holds."""
        content = self._read(question)
        guards = content.get("guards") if content else None
        if not content or not isinstance(guards, list):
            return None
        try:
            # The image's own guard is the first; what has none would hold for ever.
            if guards[0][:2] != [GuardKind.SAME, question["image"]]:
                return None
            if not all(_holds(*guard) for guard in guards):
                return None
        except (IndexError, KeyError, OSError, TypeError, ValueError):
            return None
        answer = content.get("answer")
        if not isinstance(answer, dict):
            return None
        with suppress(OSError):
            os.utime(self._path(question))  # so that what is used stays
        return answer

    def keep(
        self, question: Mapping[str, Any], answer: Mapping[str, Any], recorder: Recorder, since: int
    ) -> bool:
        """Keep an answer whose guards were recorded after ``since`` (time.time_ns()); says whether it is.

        It is not if something that it depends on has no guard, or has changed too shortly ago for its stamp
        to tell of the next change.
        """
        guards = recorder.guards
        if not self.directory or recorder.obstacles or any(is_fresh(guard, since) for guard in guards):
            return False
        content = {
            "question": question,
            "answer": answer,
            "guards": [[guard.kind, guard.path, guard.stamp] for guard in guards],
        }
        body = json.dumps(content, separators=(",", ":")).encode()
        if len(body) > MOST_BYTES:
            return False
        try:
            self._write(self._path(question), make_head(body) + body)
        except OSError:
            return False
        return True

    # -- files -----------------------------------------------------------------------------------------------

    def _path(self, question: Mapping[str, Any]) -> str:
        # Two questions may have one name, and take turns: which one it is stands in the file.
        text = json.dumps(question, sort_keys=True)
        return f"{self.directory}/{zlib.crc32(text.encode()):08x}.json"

    def _read(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            descriptor = os.open(self._path(question), _FLAGS) if self.directory else -1
        except OSError:
            return None
        if descriptor < 0:
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(descriptor)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if not ours or status.st_mode & 0o022 or status.st_size > 2 * MOST_BYTES:
                return None
            data = file.read(2 * MOST_BYTES)
        head, _, body = data.partition(b"\n")
        if head + b"\n" != make_head(body):
            return None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) and content.get("question") == question else None

    def _write(self, path: str, data: bytes) -> None:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)  # noqa: PTH103
        status = os.lstat(self.directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return
        import tempfile

        descriptor, name = tempfile.mkstemp(prefix=".", dir=self.directory)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123
                file.write(data)
            os.replace(name, path)  # noqa: PTH105
        except OSError:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
            raise
        self._make_room()

    def _make_room(self) -> None:
        """Remove all but the last that were used, and what a writer that was killed has left."""
        files = sorted(Path(self.directory).iterdir(), key=_age)
        for number, file in enumerate(files):
            left = file.name.startswith(".") and _age(file) > 3600
            if left or (number >= MOST_FILES and not file.name.startswith(".")):
                with suppress(OSError):
                    file.unlink()


def guard_package(recorder: Recorder) -> None:
    """Guard this package's own code and tables."""
    here = os.path.dirname(__file__)  # noqa: PTH120
    recorder.same(here)
    for name in sorted(os.listdir(here)):
        if name.endswith((".py", ".toml")):
            recorder.same(f"{here}/{name}")


def describe_question(
    image: str, prefixes: Iterable[str], environment: Mapping[str, str], **more: object
) -> dict[str, Any]:
    """What an answer depends on beside files: the image's name, options, this node, and who asks."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {
        "image": image,
        "prefixes": list(prefixes),
        # A node has another processor only after a start.
        "node": [*os.uname(), boot],
        "user": [os.geteuid(), os.getegid(), *sorted(os.getgroups())],
        "step": environment.get("SLURM_MPI_TYPE", ""),
        **more,
    }


def _holds(kind: str, path: str, stamp: str) -> bool:
    """Whether a guard holds; of thousands, nearly all are of the first kind."""
    if kind == GuardKind.SAME:
        return make_stamp(os.stat(path)) == stamp  # noqa: PTH116 - an error is told as one
    return holds(Guard(GuardKind(kind), path, stamp))


def make_head(body: bytes) -> bytes:
    """The first line of a file with ``body``: damage shows."""
    return f"{_MAGIC} {len(body)} {zlib.crc32(body):08x}\n".encode()


def _age(file: Path) -> float:
    """Seconds since a file was written or used."""
    try:
        return time.time() - file.lstat().st_mtime
    except OSError:
        return 0.0
