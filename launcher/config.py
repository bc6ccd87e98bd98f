"""Site configuration: one TOML file.  A key or a type that is not known is refused by name and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launcher.errors import BareboatError
from mpi_abi.guards import Recorder

DEFAULT_PATH = "/etc/bareboat/bareboat.toml"
DEVICE_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
NETWORK_TYPES = (
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph-fuse", "dvs", "panfs", "9p", "virtiofs",
    "wekafs", "orangefs", "afs", "cifs", "smb3",
)  # fmt: skip


class View(StrEnum):
    """Parts of the host that a container shows unless the site or the user switches them off."""

    PROC = "proc"
    SYS = "sys"
    DEV = "dev"
    TMP = "tmp"
    NETWORK = "network"
    HOME = "home"
    CWD = "cwd"
    RESOLVER = "resolver"
    USERS = "users"
    TIMEZONE = "timezone"
    PMI = "pmi"
    MUNGE = "munge"
    SPOOL = "spool"


class MpiMode(StrEnum):
    """Whose MPI the program gets (``BAREBOAT_MPI``)."""

    AUTO = "auto"
    HOST = "host"
    IMAGE = "image"
    FORCE = "force"


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host, and where the container shows it."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """What the site decided.  ``path`` is the file it was read from, or "" where there is none."""

    path: str = ""
    views: frozenset[View] = frozenset(View)
    mounts: tuple[Mount, ...] = ()
    network_types: tuple[str, ...] = NETWORK_TYPES
    mpi_mode: MpiMode = MpiMode.AUTO
    mpi_prefixes: tuple[str, ...] = ()
    mpi_search: bool = True
    allow_singletons: bool = False
    announce: bool = False
    squashfuse: str = ""
    passed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    max_mounts: int = 64
    device_directories: tuple[str, ...] = DEVICE_DIRECTORIES


def find_config(environment: Mapping[str, str], *, option: str | None = None) -> tuple[str, bool]:
    """Say which file to read, and whether it was asked for (then it has to exist)."""
    asked = option or environment.get("BAREBOAT_CONFIG", "")
    return (asked, True) if asked else (DEFAULT_PATH, False)


def read_config(path: str, *, required: bool, recorder: Recorder | None = None) -> SiteConfig:
    """Read the site configuration at ``path``; an absent file that is not ``required`` gives the defaults.

    ``recorder`` gets a guard of the file.
    Raises BareboatError, naming file, line and key, for what cannot be read or is not known.
    """
    if recorder is not None:
        recorder.same(str(Path(path).absolute()))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if not required:
            return SiteConfig()
        raise BareboatError(
            f"cannot read the configuration {path}: it does not exist",
            hint="check BAREBOAT_CONFIG and --config; a step reads the file on each of its nodes",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BareboatError(f"cannot read the configuration {path}: {reason}") from error
    return parse_config(text, path)


def parse_config(text: str, path: str) -> SiteConfig:
    """Parse the text of a site configuration (TOML 1.0); ``path`` is for messages and for the result."""
    import tomllib  # here: most hosts have no such file, and every launch would pay for it

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BareboatError(f"the configuration {path} is not TOML: {error}") from error
    lines = _lines_of_keys(text)
    values: dict[str, object] = {}
    for table, content in document.items():
        known = _KEYS.get(table)
        if known is None:
            raise _refusal(path, lines, table, "is not known", f"tables: {', '.join(_KEYS)}")
        if not isinstance(content, dict):
            raise _refusal(path, lines, table, "must be a table", f"write [{table}]")
        for key, value in content.items():
            name = f"{table}.{key}"
            if key not in known:
                raise _refusal(path, lines, name, "is not known", f"keys of [{table}]: {', '.join(known)}")
            try:
                values[name] = known[key](value)
            except ValueError as error:
                raise _refusal(path, lines, name, str(error), "") from error
    return _assemble(values, path)


def parse_mount(text: str) -> Mount:
    """Parse ``SRC[:DST[:ro]]``.  Paths are taken as they stand; DST is SRC where it is not given.

    Raises ValueError with the reason: an empty part, too many parts, a DST that is not absolute or is ``/``.
    """
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError("has more than three parts")
    if not all(parts):
        raise ValueError("has an empty part")
    target = parts[1] if len(parts) > 1 else parts[0]
    if len(parts) > 1 and not target.startswith("/"):
        raise ValueError(f"its target {target!r} is not an absolute path")
    if target.startswith("/") and not target.strip("/."):
        raise ValueError("its target is the container's root")
    if len(parts) == 3 and parts[2] not in {"ro", "rw"}:
        raise ValueError(f"its mode {parts[2]!r} is neither ro nor rw")
    return Mount(parts[0], target, read_only=parts[2:] == ["ro"])


def _assemble(values: Mapping[str, object], path: str) -> SiteConfig:
    off = {view for view in View if values.get(f"view.{view}") is False}
    changes = {_FIELDS[name]: value for name, value in values.items() if name in _FIELDS}
    return SiteConfig(path=path, views=frozenset(View) - off, **changes)  # type: ignore[arg-type]


def _refusal(path: str, lines: Mapping[str, int], name: str, what: str, hint: str) -> BareboatError:
    line = lines.get(name)
    where = path if line is None else f"{path} line {line}"
    return BareboatError(f"{where}: {name!r} {what}", hint=hint)


def _lines_of_keys(text: str) -> dict[str, int]:
    """Find the line of each table and key.  For messages only: tomllib keeps no positions."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line):
            table = header[1].replace('"', "").replace("'", "")
            lines.setdefault(table, number)
        elif key := re.match(r"""\s*["']?([^\s"'=#]+)["']?\s*=""", line):
            name = f"{table}.{key[1]}" if table else key[1]
            lines.setdefault(name, number)
            lines.setdefault(name.partition(".")[0], number)
    return lines


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a whole number, 0 or more")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ValueError("must be a list of strings that are not empty")
    return tuple(value)


def _paths(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        if not text.startswith("/"):
            raise ValueError(f"must hold absolute paths, not {text!r}")
    return texts


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be an absolute path")
    return value


def _types(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
            raise ValueError(f"must hold file system types, not {text!r}")
    return texts


def _names(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        if "=" in text or "\0" in text:
            raise ValueError(f"must hold names of environment variables, not {text!r}")
    return texts


def _mounts(value: object) -> tuple[Mount, ...]:
    mounts = []
    for text in _paths(value):
        try:
            mounts.append(parse_mount(text))
        except ValueError as error:
            raise ValueError(f"holds {text!r}, which {error}") from error
    return tuple(mounts)


def _mode(value: object) -> MpiMode:
    if not isinstance(value, str) or value not in set(MpiMode):
        raise ValueError(f"must be one of {', '.join(MpiMode)}")
    return MpiMode(value)


_KEYS: dict[str, dict[str, Callable[[object], object]]] = {
    "view": {**{view.value: _boolean for view in View}, "mounts": _mounts, "network-types": _types},
    "mpi": {
        "mode": _mode,
        "prefixes": _paths,
        "search": _boolean,
        "allow-singletons": _boolean,
        "announce": _boolean,
    },
    "image": {"squashfuse": _path},
    "environment": {"pass": _names, "deny": _names},
    "limits": {"mounts": _count},
    "devices": {"directories": _paths},
}

_FIELDS = {
    "view.mounts": "mounts",
    "view.network-types": "network_types",
    "mpi.mode": "mpi_mode",
    "mpi.prefixes": "mpi_prefixes",
    "mpi.search": "mpi_search",
    "mpi.allow-singletons": "allow_singletons",
    "mpi.announce": "announce",
    "image.squashfuse": "squashfuse",
    "environment.pass": "passed",
    "environment.deny": "denied",
    "limits.mounts": "max_mounts",
    "devices.directories": "device_directories",
}
