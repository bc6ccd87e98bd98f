"""A cache of what is dear to make: an entry appears by rename, complete, and is never changed afterwards.

It is ``$BAREBOAT_CACHE``, else ``/var/cache/bareboat``.  An entry's name ends in a hash over all that it
is made from: what is made from something else is another entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slurm.errors import SlurmError

Progress = Callable[[str], None]

DEFAULT_CACHE = Path("/var/cache/bareboat")
WAIT_LIMIT = 1500.0
"""Seconds that a build of the same entry by another process is waited for; more than a build may take."""
POLL = 0.2


def cache_directory() -> Path:
    """Where images and programs lie: ``$BAREBOAT_CACHE``, else ``/var/cache/bareboat``."""
    return Path(os.environ.get("BAREBOAT_CACHE") or DEFAULT_CACHE)


def digest_of(*parts: str) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(part.encode() + b"\0")
    return state.hexdigest()[:12]


def made_once(final: Path, build: Callable[[Path], Path], progress: Progress) -> Path:
    """Give ``final``; when it is missing, build it in a directory beside it and rename the result into place.

    ``build`` gets an empty directory and returns what in it is the result.  It may be killed at any point:
    the next one starts in a new directory and removes the old one's.
    """
    if os.access(final, os.R_OK | os.X_OK):
        return final
    _make_parent(final.parent)
    with sole_builder(final, progress):
        if final.is_dir():
            return final
        for stale in final.parent.glob(f".{final.name}.*.building"):
            shutil.rmtree(stale, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".building", dir=final.parent))
        try:
            directory.chmod(0o755)
            build(directory).rename(final)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return final


def _make_parent(parent: Path) -> None:
    try:
        missing = [directory for directory in (parent, *parent.parents) if not directory.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        for directory in missing:
            directory.chmod(0o755)  # whatever the umask: images are for everybody
        writable = os.access(parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise SlurmError(
            f"the cache of the test images cannot be made: {parent}: {error.strerror}",
            hint="run as root, or set BAREBOAT_CACHE to a directory of yours",
        ) from error
    if not writable:
        raise SlurmError(
            f"the cache of the test images cannot be written: {parent}",
            hint="run as root, or set BAREBOAT_CACHE to a directory of yours",
        )


@contextmanager
def sole_builder(final: Path, progress: Progress, *, limit: float = WAIT_LIMIT) -> Iterator[None]:
    """Hold the lock of one entry.  The kernel lets it go when its holder dies, however that happens."""
    path = final.parent / f".{final.name}.lock"
    with path.open("w") as lock:
        deadline = time.monotonic() + limit
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pass
            if time.monotonic() > deadline:
                raise SlurmError(
                    f"another process has been building {final.name} for more than {limit:.0f} seconds",
                    hint=f"look who holds it: fuser {path}",
                )
            if not told:
                progress(f"{final.name}: another process builds it, waiting")
                told = True
            time.sleep(POLL)
        yield
