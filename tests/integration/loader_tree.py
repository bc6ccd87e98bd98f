"""A root with a loader in it and small ELF files of every kind that its rules are about; nothing of it runs.

All is linked against stubs that bear the names wanted: so a file can need any name, be it of a library that
is elsewhere, or a path with tokens.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from loading import INTERPRETER, Asked

from mpi_abi.rootfs import RootView

MULTIARCH = "usr/lib/x86_64-linux-gnu"


class LoaderTree:
    """A root being made; paths are those in it."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._work = work
        self._stubs: dict[str, Path] = {}
        self.asked: list[Asked] = []
        for name in ("lib64", MULTIARCH, "usr/bin", "etc"):
            (root / name).mkdir(parents=True)
        (root / "lib").symlink_to("usr/lib")
        self._object = work / "start.o"
        command: list[str | Path] = ["gcc", "-c", "-fPIC", "-x", "c", "-", "-o", self._object]
        subprocess.run(command, input=b"void _start(void) {}", check=True)

    def put_loader(self, of: Path) -> None:
        """Give the root the loader of another one."""
        source = RootView(str(of)).resolve(INTERPRETER)
        assert source is not None
        target = self.root / MULTIARCH / "ld-linux-x86-64.so.2"
        shutil.copy(source, target)
        link = self.root / INTERPRETER.lstrip("/")
        link.unlink(missing_ok=True)
        link.symlink_to(f"/{target.relative_to(self.root)}")

    def lib(self, path: str, *needs: str, soname: str | None = "", options: tuple[str, ...] = ()) -> Path:
        """A library; its soname is its file's name unless given, None for none."""
        name = Path(path).name if soname == "" else soname
        named = ("-soname", name) if name is not None else ()
        return self._link(path, needs, ("-shared", *named, *options))

    def app(
        self, path: str, *needs: str, options: tuple[str, ...] = (), interpreter: str = INTERPRETER
    ) -> None:
        """A program, which is then asked about."""
        self._link(path, needs, ("-pie", "-dynamic-linker", interpreter, *options))
        self.asked.append(Asked(path, program=True))

    def ask(self, path: str) -> None:
        """Ask about a library, too."""
        self.asked.append(Asked(path, program=False))

    def write(self, path: str, content: bytes) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def link(self, path: str, target: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def make_cache(self, *folders: str, form: str = "new") -> Path:
        """Let ldconfig make the root's table of these directories and the loader's own."""
        self.write("/etc/ld.so.conf", "".join(f"{folder}\n" for folder in folders).encode())
        command: list[str | Path] = ["/sbin/ldconfig", "-X", "-c", form, "-r", self.root]
        subprocess.run(command, check=True, capture_output=True)
        return self.root / "etc/ld.so.cache"

    def _link(self, path: str, needs: tuple[str, ...], options: tuple[str, ...]) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        stubs = [self._stub(name) for name in needs]
        command: list[str | Path] = ["ld", "--no-as-needed", "-o", file, self._object, *stubs, *options]
        subprocess.run(command, check=True, capture_output=True)
        return file

    def _stub(self, name: str) -> Path:
        if name not in self._stubs:
            file = self._work / f"stub{len(self._stubs)}.so"
            subprocess.run(["ld", "-shared", "-o", file, "-soname", name, self._object], check=True)
            self._stubs[name] = file
        return self._stubs[name]


def rpath(*folders: str) -> tuple[str, ...]:
    """Linker options for a DT_RPATH."""
    return ("--disable-new-dtags", "-rpath", ":".join(folders))


def runpath(*folders: str) -> tuple[str, ...]:
    """Linker options for a DT_RUNPATH."""
    return ("--enable-new-dtags", "-rpath", ":".join(folders))
