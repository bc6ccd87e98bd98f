"""The io suite's program, compiled as for a measurement: what it does, leaves and refuses."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.image_python import find_python
from benchmarks.programs import compile_plain


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("io")
    compile_plain(("bareboat_io",), directory)
    return directory / "bareboat_io"


def run(program: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [str(program), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def test_it_writes_blocks_and_files_and_leaves_nothing(program: Path, tmp_path: Path) -> None:
    done = run(program, "write", tmp_path, 1000)
    assert re.fullmatch(r"write: 1000 times, 512000 bytes, \d+\.\d{9} s\n", done.stdout), done.stderr
    assert re.fullmatch(r"meta: 50 times, 0 bytes, \d+\.\d{9} s\n", run(program, "meta", tmp_path, 50).stdout)
    assert re.match("meta: 5 times", run(program, "meta", ".", 5, cwd=tmp_path).stdout)
    assert list(tmp_path.iterdir()) == []


def test_it_reads_every_regular_file_once_and_follows_no_link(program: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"x" * 300_000)
    (tmp_path / "two").write_bytes(b"y" * 5)
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    assert run(program, "tree", tmp_path).stdout.startswith("tree: 2 times, 300005 bytes, ")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "usage: bareboat_io"),
        (("write", "/tmp"), 2, "usage: bareboat_io"),
        (("write", "/tmp", "0"), 2, "bareboat_io: 0 is not a number above 0"),
        (("meta", "/tmp", "9x"), 2, "bareboat_io: 9x is not a number above 0"),
        (("write", "/missing", "1"), 1, "bareboat_io: find /missing: No such file or directory"),
        (("write", "/proc", "1"), 1, "bareboat_io: make a directory in /proc: "),
        (("tree", "/missing"), 1, "bareboat_io: walk /missing: No such file or directory"),
    ],
)
def test_what_it_refuses(program: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told)


def test_a_full_disk_is_an_error_and_leaves_nothing(program: Path, tmp_path: Path) -> None:
    script = 'ulimit -f 8; trap "" XFSZ; exec "$0" write "$1" 100'
    done = subprocess.run(
        ["sh", "-c", script, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "bareboat_io: write blocks: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_static_program(program: Path) -> None:
    assert b"/lib64/ld-linux" not in program.read_bytes()


def test_a_host_without_a_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="there is no C compiler to make bareboat_io with"):
        compile_plain(("bareboat_io",), tmp_path)


def test_an_images_python_starts_by_the_images_own_loader(plain: Path) -> None:
    python = find_python(str(plain))
    assert python is not None
    code = "import json, sys; print(json.__file__, sys.version_info[1])"
    done = subprocess.run(
        [*python.outside, "-S", "-B", "-c", code],
        env=dict(python.variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(f"{plain}/usr/lib/python3.13/json/__init__.py 13")
