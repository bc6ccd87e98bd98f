"""Kept answers of ``bareboat abi check``: given while nothing changed, and only then."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, compile_c, library_dir, make_host, make_image, make_library
from click.testing import CliRunner

from mpi_abi.cli import abi
from mpi_abi.guards import Guard, GuardKind, Recorder, holds, make_stamp
from mpi_abi.kept import MOST_FILES, Kept, cache_directory, make_head
from mpi_abi.rootfs import RootView


class Scene:
    """An image, a host's MPI and a cache; every image that is opened is noted."""

    def __init__(self, top: Path) -> None:
        self.root = make_image(top / "image")
        self.cache = top / "cache"
        self.options: tuple[str, ...] = ("--prefix", make_host(top / "host"))
        self.host = top / "host/lib/libmpi.so.12"
        self.library = library_dir(self.root) / "libmpi.so.12"
        self.app = self.root / "usr/bin/app"
        self.opened = 0
        self.sealed = False

    @contextmanager
    def _open(self, name: str) -> Iterator[RootView]:
        self.opened += 1
        yield RootView(str(self.root), sealed=self.sealed, name=name)

    def ask(self, *more: str, image: str = "") -> tuple[str, int]:
        """The answer once all stamps are old enough to tell of the next change."""
        time.sleep(0.05)
        args = ["check", *self.options, *more, image or str(self.root)]
        result = CliRunner().invoke(abi, args, obj=self._open)
        return result.stdout, result.exit_code

    def is_kept(self, *more: str, image: str = "") -> bool:
        """Ask once more; whether the image stayed closed."""
        before = self.opened
        self.ask(*more, image=image)
        return self.opened == before

    @property
    def files(self) -> list[Path]:
        return sorted((self.cache / "bareboat/abi").glob("*"))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Scene(tmp_path)


def test_an_unchanged_image_is_answered_from_what_is_kept(scene: Scene) -> None:
    first = scene.ask()
    assert (first[1], "    NATIVE      /usr/bin/app" in first[0]) == (0, True)
    assert (scene.ask(), scene.opened) == (first, 1)
    value = json.loads(scene.ask("--json")[0])
    assert (value["worst"], scene.opened) == ("native", 1)
    assert [file.stat().st_mode & 0o777 for file in scene.files] == [0o600]
    assert scene.files[0].parent.stat().st_mode & 0o777 == 0o700


def test_other_questions_have_answers_of_their_own(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.ask()
    assert not scene.is_kept("--no-programs")
    assert not scene.is_kept("--no-cache")
    assert not scene.is_kept("--app", "app")
    scene.options = ()
    assert not scene.is_kept()
    monkeypatch.setenv("SLURM_MPI_TYPE", "pmix")
    assert not scene.is_kept()
    assert len(scene.files) == 4


def test_what_srun_offers_is_asked_each_time(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    srun.write_text("#!/bin/sh\necho pmi2\n")
    srun.chmod(0o755)
    assert "start it with srun --mpi=pmi2" in scene.ask()[0]
    assert scene.is_kept()
    srun.write_text("#!/bin/sh\necho none\n")
    assert "srun here offers only none" in scene.ask()[0]


def in_place(path: Path, make: Callable[[Path], object]) -> None:
    """Write a file anew without a new name in its directory."""
    other = path.with_name("other")
    make(other)
    data = other.read_bytes()
    other.unlink()
    path.write_bytes(data)


def more(path: Path) -> None:
    make_library(path, MPICH_SOURCE + "int MPI_More() { return 0; }", soname="libmpi.so.12")


CHANGES: dict[str, Callable[[Scene], object]] = {
    "a program, in place": lambda scene: scene.app.write_bytes(b"#!/bin/sh\n"),
    "a script that becomes a program": lambda scene: shutil.copyfile(
        scene.app, scene.root / "usr/bin/script"
    ),
    "a new program": lambda scene: shutil.copy(scene.app, scene.root / "opt/empty/app"),
    "a removed program": lambda scene: scene.app.unlink(),
    "a renamed directory": lambda scene: (scene.root / "opt/empty").rename(scene.root / "opt/full"),
    "a program that may run no more": lambda scene: scene.app.chmod(0o644),
    "the image's library, in place": lambda scene: in_place(scene.library, more),
    "the host's library, in place": lambda scene: in_place(scene.host, more),
    "a new library of the host": lambda scene: shutil.copy(scene.host, scene.host.with_name("libmpi.so.13")),
    "a link that leads elsewhere": lambda scene: _turn(scene.root / "lib", "lib64"),
    "a library of a program, in place": lambda scene: (library_dir(scene.root) / "libmine.so").write_bytes(
        b""
    ),
}


def _turn(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen(scene: Scene, change: Callable[[Scene], object]) -> None:
    (scene.root / "opt/empty").mkdir(parents=True)
    (scene.root / "usr/bin/script").write_text("#!/bin/sh\n")
    (scene.root / "usr/bin/script").chmod(0o755)
    mine = make_library(library_dir(scene.root) / "libmine.so", "int mine() { return 0; }")
    compile_c(scene.root / "usr/bin/mine", "int mine(); int main(void) { return mine(); }", str(mine))
    scene.ask()
    assert scene.is_kept()
    change(scene)
    assert not scene.is_kept()
    assert scene.is_kept()


def test_of_an_image_that_is_a_file_the_file_is_compared(scene: Scene, tmp_path: Path) -> None:
    scene.sealed, file = True, tmp_path / "image.sqsh"
    file.write_bytes(b"hsqs")
    scene.ask(image=str(file))
    assert scene.is_kept(image=str(file))
    # In it, nothing can change while it does not.
    scene.app.unlink()
    assert scene.is_kept(image=str(file))
    file.write_bytes(b"hsq2")
    assert not scene.is_kept(image=str(file))


def recorded(path: Path) -> Recorder:
    recorder = Recorder()
    recorder.same(str(path))
    return recorder


def test_what_changed_just_now_or_has_no_guard_is_not_kept(tmp_path: Path) -> None:
    kept, file = Kept(str(tmp_path / "abi")), tmp_path / "file"
    file.touch()
    question, changed = {"image": str(file)}, file.stat().st_ctime_ns
    # It may change once more and look the same.
    assert not kept.keep(question, {"b": 2}, recorded(file), changed)
    assert kept.recall(question) is None
    assert kept.keep(question, {"b": 2}, recorded(file), changed + 10**9)
    assert kept.recall(question) == {"b": 2}
    recorder = recorded(file)
    recorder.forbid("nothing tells")
    assert not kept.keep({**question, "c": 1}, {"b": 2}, recorder, changed + 10**9)
    assert kept.recall({**question, "c": 1}) is None


def changed_body(data: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """A file with another content, and a right checksum."""
    content = json.loads(data.partition(b"\n")[2])
    change(content)
    body = json.dumps(content).encode()
    return make_head(body) + body


LIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-100],
    "one bit": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "no json": lambda data: changed_body(data, lambda content: None).partition(b"\n")[0] + b"\n{",
    "nested": lambda data: _deep(),
    "another question": lambda data: changed_body(data, lambda c: c.update(question={"image": "/"})),
    "no guards": lambda data: changed_body(data, lambda c: c.update(guards=[])),
    "guards of another image": lambda data: changed_body(
        data, lambda c: c.update(guards=[["there", "/", ""]])
    ),
    "a strange guard": lambda data: changed_body(data, lambda c: c.update(guards=[["same", 7]])),
    "an unknown guard": lambda data: changed_body(data, lambda c: c.update(guards=[["odd", "/", ""]])),
    "no answer": lambda data: changed_body(data, lambda c: c.update(answer=3)),
    "a strange answer": lambda data: changed_body(data, lambda c: c.update(answer={"text": 1, "value": {}})),
    "an answer of other types": lambda data: changed_body(
        data, lambda c: c.update(answer={"text": 1, "value": {}, "code": "0"})
    ),
}


def _deep() -> bytes:
    body = b"[" * 100_000
    return make_head(body) + body


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_damaged_file_is_passed_over_and_replaced(scene: Scene, lie: Callable[[bytes], bytes]) -> None:
    first = scene.ask()
    [file] = scene.files
    file.write_bytes(lie(file.read_bytes()))
    assert (scene.ask(), scene.opened) == (first, 2)
    assert scene.is_kept()


def test_what_is_not_the_users_own_is_neither_read_nor_written(scene: Scene, tmp_path: Path) -> None:
    first = scene.ask()
    [file] = scene.files
    file.chmod(0o666)
    assert not scene.is_kept()
    assert scene.is_kept()
    file.rename(tmp_path / "other")
    file.symlink_to(tmp_path / "other")
    assert not scene.is_kept()
    assert not file.is_symlink()
    file.unlink()
    os.mkfifo(file)
    assert scene.ask() == first
    assert scene.is_kept()
    file.parent.chmod(0o777)
    file.unlink()
    assert (scene.ask(), scene.files) == (first, [])
    shutil.rmtree(file.parent)
    file.parent.symlink_to(tmp_path)
    assert scene.ask() == first
    assert not (tmp_path / file.name).exists()


def test_without_a_place_to_keep_answers_there_are_answers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.ask()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert (scene.ask(), scene.ask(), scene.opened) == (first, first, 3)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert (scene.ask(), scene.opened) == (first, 4)


def test_the_cache_lies_where_the_user_keeps_caches() -> None:
    assert cache_directory({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == "/c/bareboat/abi"
    assert cache_directory({"XDG_CACHE_HOME": "relative", "HOME": "/h"}) == "/h/.cache/bareboat/abi"
    assert cache_directory({"HOME": ""}) == ""


def test_only_the_last_answers_stay(scene: Scene) -> None:
    scene.ask()
    [mine] = scene.files
    for number in range(MOST_FILES + 5):
        file = mine.parent / f"{number:08x}.json"
        file.write_text("old")
        os.utime(file, (number, number))
    (mine.parent / ".left").touch()
    os.utime(mine.parent / ".left", (0, 0))
    scene.app.chmod(0o700)
    scene.ask()
    left = {file.name for file in scene.files}
    assert len(left) == MOST_FILES
    assert mine.name in left
    assert "00000024.json" in left and "00000005.json" not in left


def test_guards_hold_until_their_thing_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert holds(Guard(GuardKind.ABSENT, str(file)))
    assert not holds(Guard(GuardKind.THERE, str(file)))
    file.write_text("1")
    stamp = make_stamp(file.stat())
    assert holds(Guard(GuardKind.SAME, str(file), stamp))
    assert not holds(Guard(GuardKind.ABSENT, str(file)))
    assert holds(Guard(GuardKind.READABLE, str(file)))
    file.write_text("22")
    assert not holds(Guard(GuardKind.SAME, str(file), stamp))
    link = tmp_path / "link"
    link.symlink_to("none")
    assert not holds(Guard(GuardKind.ABSENT, str(link)))
    assert holds(Guard(GuardKind.LINK, str(link), make_stamp(link.lstat())))
