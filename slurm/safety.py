"""Is a path such that root may load code from it and everybody can read it?  Reads only."""

from __future__ import annotations

import stat
from pathlib import Path


def problem_with(path: Path) -> str | None:
    """Say what makes a path unfit to hold code that root loads and every user runs; None if nothing does.

    Each component, links resolved, must be root's, writable by root only (a sticky directory may be
    everybody's: nobody can rename root's entries there) and readable by all.  What does not exist yet is
    judged by the nearest directory that does.
    """
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    real = existing.resolve()
    for component in (*reversed(real.parents), real):
        status = component.stat()
        if status.st_uid != 0:
            return f"{component} belongs to user {status.st_uid}, not to root"
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        writable = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
        if writable and not (sticky and component != real):
            return f"{component} can be written by others than root (mode {status.st_mode & 0o7777:04o})"
        wanted = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
        if not status.st_mode & wanted:
            return f"{component} is closed to other users (mode {status.st_mode & 0o7777:04o})"
    return None
