"""Device specifications of the Container Device Interface: their text becomes values.  Pure.

A specification says what a container needs for a device beside its node: libraries, variables.  Vendors'
tools write them (``nvidia-ctk cdi generate``).
Source: CDI 1.1.0 (tags.cncf.io/container-device-interface, SPEC.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import BareboatError

SUFFIXES = (".json", ".yaml")
"""Ends of the names of files that are specifications; others in the same directories are none."""

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
LIMIT = 1 << 20
"""Largest specification, in bytes."""

_DEPTH = 32
_TOLD = 8
"""Of how many damaged files is told why they are."""

_YAML_VALUES: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("null", "~|null|Null|NULL|", lambda text: None),
    ("bool", "true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    ("int", "-?(?:0|[1-9][0-9]{0,18})", int),
)
"""What a text of YAML is where it is not quoted: as YAML 1.2 has it of JSON."""

_KIND = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_OPTIONS = frozenset(
    ("bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec", "private", "rprivate", "slave", "rslave")
)
"""Mount options that hold here or protect from nothing: what is mounted is the user's on the host as well."""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device: ``path`` in the container, ``source`` on the host.

    ``kind`` is "b", "c" (or "u", the same) or "p", "" where the specification does not say; ``number`` its
    major and minor number or None; ``access`` what is to be done with it: of "r" and "w", none or more.
    """

    path: str
    source: str
    kind: str = ""
    number: tuple[int, int] | None = None
    access: str = "rw"


@dataclass(frozen=True, slots=True)
class DeviceMount:
    """A file or directory of the host (``source``) that the container shows at ``target``."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Hook:
    """A program that a container engine would run; ``stage`` is the hook's name in OCI's terms."""

    stage: str
    path: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edits:
    """What a device changes in a container."""

    environment: tuple[tuple[str, str], ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[DeviceMount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    unsupported: tuple[str, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        """Both, without what is said twice; of two values of a variable, the later."""
        return Edits(
            tuple({**dict(self.environment), **dict(other.environment)}.items()),
            tuple(dict.fromkeys((*self.nodes, *other.nodes))),
            tuple(dict.fromkeys((*self.mounts, *other.mounts))),
            tuple(dict.fromkeys((*self.hooks, *other.hooks))),
            tuple(dict.fromkeys((*self.unsupported, *other.unsupported))),
        )


NO_EDITS = Edits()


@dataclass(frozen=True, slots=True)
class Spec:
    """One file: the devices of a ``kind``, and the ``edits`` that come with any of them."""

    path: str
    kind: str
    edits: Edits
    devices: Mapping[str, Edits]


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A file as it was found: ``spec``, or the ``problem`` with it; of higher ``priority`` goes first."""

    path: str
    priority: int
    spec: Spec | None = None
    problem: str = ""


def split_name(text: str) -> tuple[str, str]:
    """Split ``vendor/class=name`` into the kind and the device's name.  Raises ValueError with the reason."""
    kind, equals, name = text.partition("=")
    if not equals:
        raise ValueError("has no '='")
    if not _KIND.fullmatch(kind):
        raise ValueError(f"its kind {kind!r} is not of the form vendor/class")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a device")
    return kind, name


def parse_spec(data: bytes, path: str) -> Spec:
    """Parse a specification; the end of ``path`` says whether it is JSON or YAML.

    Raises BareboatError, naming the file and the place in it, for anything that the version it names does not
    allow: what is not understood may be what matters.
    """
    try:
        return _spec(_load(data, path), path)
    except ValueError as error:
        raise BareboatError(
            f"the device specification {path} cannot be used: {error}",
            hint="have the vendor's tool write it again, or take it away",
        ) from error


def choose(names: Iterable[str], files: Iterable[SpecFile], directories: Iterable[str]) -> Edits:
    """Put together what the devices ``names`` (fully qualified) change.

    Of the same device in two directories, the later directory's counts.  A damaged file counts only where a
    device is not found in the others.
    Raises BareboatError for a device that is unknown, or defined twice in one directory.
    """
    files, edits, used = tuple(files), Edits(), set()
    for name in dict.fromkeys(names):
        spec = _find(name, files, tuple(directories))
        if spec.path not in used:
            used.add(spec.path)
            edits += spec.edits
        edits += spec.devices[name.partition("=")[2]]
    return edits


def _find(name: str, files: tuple[SpecFile, ...], directories: tuple[str, ...]) -> Spec:
    kind, _, own = name.partition("=")
    found = [(file.priority, file.spec) for file in files if file.spec and own in _devices(file.spec, kind)]
    best = max((priority for priority, _ in found), default=0)
    specs = [spec for priority, spec in found if priority == best]
    if len(specs) > 1:
        raise BareboatError(
            f"the device {name} is defined twice: in {' and in '.join(spec.path for spec in specs)}",
            hint="one of the files is left over; ask the site to take it away",
        )
    if specs:
        return specs[0]
    known = [
        f"{file.path} has {', '.join(file.spec.devices)}"
        for file in files
        if file.spec and file.spec.kind == kind
    ]
    said = known or [f"no specification in {' or '.join(directories)} is for {kind}"]
    problems = [file.problem for file in files if file.problem]
    if len(problems) > _TOLD:
        problems[_TOLD:] = [f"{len(problems) - _TOLD} more files cannot be used"]
    raise BareboatError(
        f"there is no device {name} on this host: {'; '.join((*said, *problems))}",
        hint="check BAREBOAT_DEVICES and --device; a step reads the specifications on each of its nodes",
    )


def _devices(spec: Spec, kind: str) -> Mapping[str, Edits]:
    return spec.devices if spec.kind == kind else {}


def _load(data: bytes, path: str) -> object:
    if len(data) > LIMIT:
        raise ValueError(f"it is longer than {LIMIT} bytes")
    if path.endswith(".json"):
        import json  # here, like yaml: only who asks for a device pays for it

        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from error
    import yaml

    loader = _yaml_loader(yaml)
    try:
        refused = _refuse_events(yaml, yaml.parse(data, loader))
        document = None if refused else yaml.load(data, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if refused:
        raise ValueError(refused)
    return document


def _refuse_events(yaml: Any, events: Iterable[Any]) -> str:
    """Why a document of YAML is not to be put together, "" where nothing speaks against it."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            # What stands for more than it shows can be longer than any memory.
            return f"line {event.start_mark.line + 1} has the alias *{event.anchor}: write it out"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            # libyaml's loader calls itself for each level, and ends the process where they are too many.
            return f"more than {_DEPTH} levels lie in one another"
    return ""


def _yaml_loader(yaml: Any) -> Any:
    """A loader of the values that JSON has, and of texts.

    PyYAML's own knows dates, merged objects and numbers to the base of 60 as well: some end it by errors that
    are not its own, others take it minutes.
    """
    loader: Any = type("Loader", (getattr(yaml, "CBaseLoader", yaml.BaseLoader),), {})
    for kind, pattern, read in _YAML_VALUES:
        tag = f"tag:yaml.org,2002:{kind}"
        loader.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), None)
        loader.add_constructor(tag, lambda self, node, read=read: read(self.construct_scalar(node)))
    return loader


def _spec(document: object, path: str) -> Spec:
    version = document.get("cdiVersion") if isinstance(document, dict) else None
    # First: what another version has may mean anything.
    if isinstance(version, str) and version.removeprefix("v") not in VERSIONS:
        raise ValueError(f"its cdiVersion {version!r} is not known ({VERSIONS[0]} to {VERSIONS[-1]} are)")
    known = ("cdiVersion", "kind", "annotations", "devices", "containerEdits")
    fields = _Fields(document, "it", known)
    fields.text("cdiVersion")
    kind = fields.text("kind")
    if not _KIND.fullmatch(kind):
        raise ValueError(f"its kind {kind!r} is not of the form vendor/class")
    devices: dict[str, Edits] = {}
    for at, entry in enumerate(fields.list("devices")):
        device = _Fields(entry, f"devices[{at}]", ("name", "annotations", "containerEdits"))
        name = device.text("name")
        if not _NAME.fullmatch(name):
            raise ValueError(f"devices[{at}].name {name!r} is not the name of a device")
        if name in devices:
            raise ValueError(f"it has two devices {name!r}")
        devices[name] = _edits(device.get("containerEdits"), f"devices[{at}].containerEdits")
    if not devices:
        raise ValueError("it has no devices")
    return Spec(path, kind, _edits(fields.get("containerEdits"), "containerEdits"), devices)


def _edits(document: object, where: str) -> Edits:
    if document is None:
        return Edits()
    known = (
        "env",
        "deviceNodes",
        "netDevices",
        "mounts",
        "hooks",
        "intelRdt",
        "additionalGids",
        "additionalGIDs",
    )
    fields = _Fields(document, where, known)

    def each(key: str, read: Callable[[object, str], Any]) -> tuple[Any, ...]:
        return tuple(read(entry, f"{where}.{key}[{at}]") for at, entry in enumerate(fields.list(key)))

    return Edits(
        environment=each("env", _variable),
        nodes=each("deviceNodes", _node),
        mounts=each("mounts", _mount),
        hooks=each("hooks", _hook),
        unsupported=tuple(key for key in ("netDevices", "intelRdt") if fields.get(key)),
    )


def _variable(document: object, where: str) -> tuple[str, str]:
    name, equals, value = _text(document, where).partition("=")
    if not (name and equals):
        raise ValueError(f"{where} is not of the form NAME=VALUE")
    return name, value


def _node(document: object, where: str) -> DeviceNode:
    known = ("path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid")
    fields = _Fields(document, where, known)
    path = fields.path("path")
    kind = fields.text("type", "")
    if kind not in {"", "b", "c", "u", "p"}:
        raise ValueError(f"{where}.type {kind!r} is none of b, c, u and p")
    permissions = fields.text("permissions", "") or "rwm"
    if permissions != "none" and permissions.strip("rwm"):
        raise ValueError(f"{where}.permissions {permissions!r} has others than r, w and m")
    major, minor = fields.number("major"), fields.number("minor")
    return DeviceNode(
        path,
        fields.path("hostPath") if fields.get("hostPath") else path,
        kind,
        (major, minor) if major else None,
        "".join(letter for letter in "rw" if letter in permissions and permissions != "none"),
    )


def _mount(document: object, where: str) -> DeviceMount:
    fields = _Fields(document, where, ("hostPath", "containerPath", "type", "options"))
    target = fields.path("containerPath")
    if not target.strip("/"):
        raise ValueError(f"{where}.containerPath is the container's root")
    kind = fields.text("type", "")
    if kind not in {"", "bind", "none"}:
        raise ValueError(f"{where}.type {kind!r} is not a bind, and no other mount can be made")
    options = [_text(option, f"{where}.options[{at}]") for at, option in enumerate(fields.list("options"))]
    for option in options:
        if option not in _OPTIONS:
            raise ValueError(f"{where}.options: {option!r} is not known")
    # Of ro and rw the last one counts, as for mount(8).
    modes = [option for option in options if option in {"ro", "rw"}]
    return DeviceMount(fields.path("hostPath"), target, read_only=modes[-1:] == ["ro"])


def _hook(document: object, where: str) -> Hook:
    fields = _Fields(document, where, ("hookName", "path", "args", "env", "timeout"))
    args = tuple(_text(text, f"{where}.args[{at}]") for at, text in enumerate(fields.list("args")))
    return Hook(fields.text("hookName"), fields.path("path"), args)


def _text(value: object, where: str) -> str:
    # JSON can write halves of characters, which no file name has.
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{where} is not a text")
    return value


class _Fields:
    """An object of the specification, read field by field.  Each method raises ValueError with the place."""

    def __init__(self, document: object, where: str, known: tuple[str, ...]) -> None:
        if not isinstance(document, dict):
            raise ValueError(f"{where} is not an object")
        for key in document:
            if key not in known:
                raise ValueError(f"{where} has the field {key!r}, which CDI does not have there")
        self._document, self._where = document, where

    def get(self, key: str) -> object:
        return self._document.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._document.get(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise ValueError(f"{self._where} has no {key}")
        return _text(value, f"{self._where}.{key}")

    def list(self, key: str) -> list[object]:
        value = self._document.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ValueError(f"{self._where}.{key} is not a list")
        return value

    def number(self, key: str) -> int:
        value = self._document.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
            raise ValueError(f"{self._where}.{key} is not a device number")
        return value

    def path(self, key: str) -> str:
        """An absolute path without ``..``, in one form: paths are compared."""
        value = self.text(key)
        if not value.startswith("/"):
            raise ValueError(f"{self._where}.{key} {value!r} is not an absolute path")
        parts = [part for part in value.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise ValueError(f"{self._where}.{key} {value!r} has '..' in it")
        return "/" + "/".join(parts)
