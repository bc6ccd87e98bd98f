"""The search of the dynamic loader, emulated inside a `RootView`; nothing is executed.

After ld.so(8) and, where that is silent, glibc's behaviour: which directories are searched in which order,
who inherits whose DT_RPATH, when a name counts as loaded already, which files are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from .elfcache import ElfCache
from .elftypes import ElfFacts, ForeignElf, machine_name
from .errors import AbiError
from .ldcache import CacheEntries, parse_cache
from .rootfs import RootView

# Where ld.so lies, by machine: for questions without a program (psABI supplements).
INTERPRETERS = {
    "x86_64": "/lib64/ld-linux-x86-64.so.2",
    "aarch64": "/lib/ld-linux-aarch64.so.1",
    "ppc64le": "/lib64/ld64.so.2",
    "riscv64": "/lib/ld-linux-riscv64-lp64d.so.1",
    "loongarch64": "/lib64/ld-linux-loongarch-lp64d.so.1",
}
_COMMON_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")

# The x86-64 micro-architecture levels (psABI), best first, as flags of /proc/cpuinfo.
_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)


class Found(StrEnum):
    """By which rule a file was found."""

    PROGRAM = "program"
    PRELOAD = "LD_PRELOAD"
    INTERPRETER = "interpreter"
    PATH = "path"
    RPATH = "RPATH"
    ENVIRONMENT = "LD_LIBRARY_PATH"
    RUNPATH = "RUNPATH"
    CACHE = "ld.so.cache"
    DEFAULT = "default directory"


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """A file that the loader would map.

    ``path`` is the container path it was found by, ``real`` the same without links, ``needs`` the positions
    in the tree of what it needs, ``parent`` that of the object which first asked for it.
    """

    name: str
    path: str
    real: str
    host_path: str
    facts: ElfFacts
    how: Found
    parent: int | None
    needs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that nobody could find: its name, and the container path of the file which needs it."""

    name: str
    needed_by: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A program (or library) with all it needs, in the order of loading, which is that of binding too."""

    objects: tuple[LoadedObject, ...]
    missing: tuple[Missing, ...]


def cpu_levels(cpuinfo: str) -> tuple[str, ...]:
    """Names of the x86-64 levels that a CPU offers, best first, by the text of ``/proc/cpuinfo``."""
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(match.group(1).split()) if match else set()
    names: list[str] = []
    for name, wanted in reversed(_LEVELS):
        if not wanted <= flags:
            break
        names.insert(0, name)
    return tuple(names)


class Loader:
    """The dynamic loader of one container, for one environment."""

    def __init__(
        self,
        view: RootView,
        elves: ElfCache,
        *,
        machine: str,
        interpreter: str = "",
        environment: Mapping[str, str],
    ) -> None:
        self.view = view
        self.elves = elves
        self.machine = machine
        self._interpreter = interpreter or INTERPRETERS.get(machine, "")
        self._library_path = re.split("[:;]", environment.get("LD_LIBRARY_PATH", ""))
        self._preload = re.split("[: ]", environment.get("LD_PRELOAD", ""))

    # -- where -----------------------------------------------------------------------------------------------

    @cached_property
    def cache(self) -> CacheEntries:
        """The loader's table; empty if there is none."""
        path = self.view.resolve("/etc/ld.so.cache")
        try:
            return parse_cache(Path(path).read_bytes()) if path else {}
        except OSError:
            return {}

    @cached_property
    def _interpreter_bytes(self) -> bytes:
        path = self.view.resolve(self._interpreter) if self._interpreter else None
        try:
            return Path(path).read_bytes() if path else b""
        except OSError:
            return b""

    @cached_property
    def default_dirs(self) -> tuple[str, ...]:
        """The directories compiled into this container's loader (distributions differ), or usual ones."""
        runs = re.findall(rb"(?:/(?:[\w.+-]+/)+\0){2,}", self._interpreter_bytes)
        for run in runs:
            dirs = [part.decode().rstrip("/") for part in run.split(b"\0") if part]
            if any(part in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") for part in dirs):
                return tuple(dirs)
        multiarch = f"{self.machine}-linux-gnu"
        return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", *_COMMON_DIRS)

    @cached_property
    def _lib_token(self) -> str:
        """What ``$LIB`` stands for."""
        match = re.search(rb"\0(lib(?:64|32)?(?:/[a-z0-9_-]+)?)\0", self._interpreter_bytes)
        return match.group(1).decode() if match else "lib64"

    @cached_property
    def _levels(self) -> tuple[str, ...]:
        return (
            cpu_levels(Path("/proc/cpuinfo").read_text(errors="replace")) if self.machine == "x86_64" else ()
        )

    def _expand(self, text: str, origin: str) -> str:
        """Replace the dynamic string tokens."""
        if "$" not in text:
            return text
        values = {"ORIGIN": origin, "LIB": self._lib_token, "PLATFORM": self.machine}
        return re.sub(
            r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?!\w))",
            lambda match: values[match.group(1) or match.group(2)],
            text,
        )

    # -- search ----------------------------------------------------------------------------------------------

    def _usable(self, path: str) -> tuple[str, str, ElfFacts] | None:
        """(real, host path, facts) if the loader would take this file; other machines' it passes over."""
        real = self.view.canonical(path)
        host = self.view.resolve(path)
        if real is None or host is None or not self.view.is_file(path):
            return None
        try:
            facts = self.elves.facts(host, shown=path)
        except ForeignElf:
            return None
        return (real, host, facts) if facts.machine == self.machine else None

    def _in_dirs(self, name: str, dirs: list[str]) -> str | None:
        for folder in dirs:
            # An empty element or a relative one is relative to a working directory that is not known here.
            if not folder.startswith("/"):
                continue
            base = folder.rstrip("/")
            if not self.view.exists(base):
                continue
            self.view.watch(base)
            if self.view.exists(f"{base}/glibc-hwcaps"):
                for level in self._levels:
                    if self._usable(f"{base}/glibc-hwcaps/{level}/{name}"):
                        return f"{base}/glibc-hwcaps/{level}/{name}"
            if self._usable(f"{base}/{name}"):
                return f"{base}/{name}"
        return None

    def _in_cache(self, name: str) -> str | None:
        entries = self.cache.get(name, [])
        if any(level for _, level in entries):
            entries = [entry for wanted in (*self._levels, "") for entry in entries if entry[1] == wanted]
        return next(
            (path for path, level in entries if level in ("", *self._levels) and self._usable(path)), None
        )

    def find(self, name: str, chain: tuple[LoadedObject, ...] = ()) -> tuple[str, Found] | None:
        """Find a library for the first object of ``chain`` (who asks, who asked for it, ..., the program).

        Returns the container path and the rule that found it, or None.
        """
        origin = _origin(chain[0]) if chain else "/"
        if self._interpreter.endswith(f"/{name}") and self._usable(self._interpreter):
            # It is loaded already, by the kernel.
            return self._interpreter, Found.INTERPRETER
        if "/" in name:
            path = self._expand(name, origin)
            return (path, Found.PATH) if self._usable(path) else None
        asker = chain[0].facts if chain else None
        steps: list[tuple[Found, list[str]]] = []
        if asker is None or not asker.runpath:
            dirs = [self._expand(part, _origin(link)) for link in chain for part in link.facts.rpath]
            steps.append((Found.RPATH, dirs))
        steps.append((Found.ENVIRONMENT, [self._expand(part, origin) for part in self._library_path]))
        if asker is not None:
            steps.append((Found.RUNPATH, [self._expand(part, origin) for part in asker.runpath]))
        for how, dirs in steps:
            path_found = self._in_dirs(name, dirs)
            if path_found:
                return path_found, how
        if asker is not None and asker.no_default_dirs:
            return None
        cached = self._in_cache(name)
        if cached:
            return cached, Found.CACHE
        default = self._in_dirs(name, list(self.default_dirs))
        return (default, Found.DEFAULT) if default else None

    # -- loading ---------------------------------------------------------------------------------------------

    def load(
        self, path: str, *, follow: Callable[[tuple[LoadedObject, ...], str], bool] | None = None
    ) -> Tree:
        """Everything that would be mapped for the ELF program or library at the container path ``path``.

        What cannot be found is in the answer's ``missing``.  ``follow`` says of an object (with
        who asked for it, and so on up to the program) and a name that it needs whether to look for that; by
        default, all are looked for.  Raises AbiError if ``path`` itself
        cannot be read, or if a file on the way is damaged.
        """
        real, host = self.view.canonical(path), self.view.resolve(path)
        if real is None or host is None:
            raise AbiError(f"{path}: no such file in {self.view.name}")
        facts = self.elves.facts(host, shown=path)
        objects = [LoadedObject(path, path, real, host, facts, Found.PROGRAM, None)]
        known = {host: 0, facts.soname: 0}
        missing: list[Missing] = []
        preload = [(name, Found.PRELOAD) for name in self._preload if name]
        done = 0
        while done < len(objects):
            current = objects[done]
            needs: list[int] = []
            wanted = [*(preload if done == 0 else []), *((name, None) for name in current.facts.needed)]
            for name, how in wanted:
                if how is None and follow is not None and not follow(_chain(objects, done), name):
                    continue
                position = self._load_one(name, how, done, objects, known)
                if position is not None:
                    needs.append(position)
                elif how is None:
                    # A missing preload is a warning of ld.so's, no more.
                    missing.append(Missing(name, current.path))
            objects[done] = LoadedObject(
                current.name, current.path, current.real, current.host_path, current.facts, current.how,
                current.parent, tuple(needs),
            )  # fmt: skip
            done += 1
        return Tree(tuple(objects), tuple(missing))

    def _load_one(
        self, name: str, how: Found | None, asker: int, objects: list[LoadedObject], known: dict[str, int]
    ) -> int | None:
        if name in known:
            return known[name]
        found = self.find(name, _chain(objects, asker))
        usable = self._usable(found[0]) if found else None
        if found is None or usable is None:
            return None
        real, host, facts = usable
        if host in known:
            known[name] = known[host]
            return known[host]
        position = len(objects)
        objects.append(LoadedObject(name, found[0], real, host, facts, how or found[1], asker))
        known[name] = known[host] = position
        if facts.soname:
            known.setdefault(facts.soname, position)
        return position


def _origin(item: LoadedObject) -> str:
    # The kernel tells the program's real path, the loader the path by which it found a library.
    path = item.real if item.how is Found.PROGRAM else item.path
    return path[: path.rfind("/")] or "/"


def _chain(objects: list[LoadedObject], position: int) -> tuple[LoadedObject, ...]:
    """An object, who asked for it, and so on up to the program."""
    chain = []
    at: int | None = position
    while at is not None:
        chain.append(objects[at])
        at = objects[at].parent
    return tuple(chain)


def file_machine(host_path: str) -> str | None:
    """Architecture of a file by its header, None if it is not ELF; raises AbiError if it is unreadable."""
    try:
        with Path(host_path).open("rb") as file:
            return machine_name(file.read(64))
    except OSError as error:
        raise AbiError(f"{host_path}: cannot be read: {error.strerror}") from error
