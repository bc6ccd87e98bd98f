"""The files by which a container knows its user: the image's, with the user of the host in them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.host import User


def passwd_text(text: str, user: User, shell: str) -> str:
    """Put the user into the text of a passwd file, in place of those of that name or number (passwd(5))."""
    line = ":".join([user.name, "x", str(user.uid), str(user.gid), user.gecos, user.home or "/", shell])
    return _merge(text, [(user.name, user.uid, line)])


def group_text(text: str, user: User) -> str:
    """Put the user's groups into the text of a group file, in place of their namesakes (group(5))."""
    return _merge(text, [(name, gid, f"{name}:x:{gid}:") for gid, name in user.groups])


def _merge(text: str, entries: Iterable[tuple[str, int, str]]) -> str:
    entries = tuple(entries)
    names = {name for name, _, _ in entries}
    numbers = {str(number) for _, number, _ in entries}
    kept = []
    for line in text.split("\n"):
        fields = line.split(":")
        if line and fields[0] not in names and (len(fields) < 3 or fields[2] not in numbers):
            kept.append(line)
    return "".join(f"{line}\n" for line in [*kept, *(line for _, _, line in entries)])
