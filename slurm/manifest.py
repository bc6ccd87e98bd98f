"""What an installation wrote, so that it can be checked and taken away without touching anything else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from slurm.errors import SlurmError

PLACE = Path("share/bareboat/manifest.json")
"""Below the prefix."""
_CACHE = "__pycache__"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of an installation.

    ``files`` are (path below the prefix, digest) of everything but directories and the record itself: the
    SHA-256 of a file in hexadecimal, or ``-> TARGET`` for a link.  ``parents`` are the directories above
    the prefix that had to be made.  ``plugstack`` is the file that has the plugin's line; it was made for
    it if ``plugstack_made``.
    """

    version: str
    slurm_version: str
    prefix: str
    python: str
    plugstack: str
    plugstack_made: bool
    parents: tuple[str, ...]
    files: tuple[tuple[str, str], ...]

    def digest(self, path: str) -> str:
        """The digest of one file, or an empty text if there is no such file."""
        return dict(self.files).get(path, "")


def digest(path: Path) -> str:
    """The digest of a file or link, as the manifest has it."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(prefix: Path) -> tuple[tuple[str, str], ...]:
    """Paths and digests of everything below a prefix, sorted."""
    return tuple(sorted((str(path.relative_to(prefix)), digest(path)) for path in _files(prefix)))


def _files(prefix: Path) -> Iterator[Path]:
    for path in prefix.rglob("*"):
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(prefix) != PLACE:
            yield path


def write(manifest: Manifest, prefix: Path) -> None:
    """Write the record below a prefix."""
    place = prefix / PLACE
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def decode(text: str) -> Manifest:
    """Read a record.

    Raises:
        SlurmError: if the text is none.
    """
    try:
        data = json.loads(text)
        return Manifest(
            version=str(data["version"]),
            slurm_version=str(data["slurm_version"]),
            prefix=str(data["prefix"]),
            python=str(data["python"]),
            plugstack=str(data["plugstack"]),
            plugstack_made=bool(data["plugstack_made"]),
            parents=tuple(str(parent) for parent in data["parents"]),
            files=tuple((str(path), str(value)) for path, value in data["files"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SlurmError(
            f"the installation's record cannot be read: {type(error).__name__}: {error}"
        ) from error


def read(prefix: Path) -> Manifest | None:
    """The record of the installation below a prefix, or None if there is none.

    Raises:
        SlurmError: if it is damaged or not readable.
    """
    try:
        return decode((prefix / PLACE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SlurmError(f"{prefix / PLACE} cannot be read: {error.strerror}") from error


def differences(manifest: Manifest, prefix: Path) -> tuple[str, ...]:
    """What is below a prefix otherwise than recorded: one line for each file changed, missing or not ours.

    Byte code that Python has cached beside a recorded module counts as ours.
    """
    recorded = dict(manifest.files)
    there = dict(scan(prefix))
    lines = [f"{path} is missing" for path in recorded.keys() - there.keys()]
    lines += [
        f"{path} was changed" for path in recorded.keys() & there.keys() if recorded[path] != there[path]
    ]
    modules = {str(Path(path).with_suffix("")) for path in recorded if path.endswith(".py")}
    for path in there.keys() - recorded.keys():
        cached = Path(path)
        source = cached.parent.parent / cached.name.partition(".")[0]
        if not (cached.parent.name == _CACHE and cached.suffix == ".pyc" and str(source) in modules):
            lines.append(f"{path} is not ours")
    return tuple(sorted(lines))
