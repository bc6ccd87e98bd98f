"""Fill an empty directory with an installation.  What goes in was decided by ``payload``.

Everything is made as it will be in its final place (byte code, the command's first line), so that the
directory only has to be renamed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm.errors import SlurmError
from slurm.payload import NAME, Payload
from slurm.safety import problem_with

_LIMIT = 600.0
_VERSION_NUMBER = re.compile(r"#define\s+SLURM_VERSION_NUMBER\s+0x([0-9a-fA-F]{6})\b")
_COMMAND = """#!{prefix}/venv/bin/python -I
import sys

# Nothing but the installer writes below the prefix.
sys.dont_write_bytecode = True

from launcher.cli import main

main()
"""
_ASK = "import json, sys, sysconfig; print(json.dumps([*sys.version_info[:2], sysconfig.get_path('stdlib')]))"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can stand below an installation: its program and its standard library."""

    program: Path
    library: Path


def find_interpreter(chosen: Path | None) -> Interpreter:
    """The Python under the installation: ``chosen``, else the one under the running copy.

    Raises:
        SlurmError: if it does not run, is of another release than the running one (the compiled parts are
            that one's), or is not root's and readable by all.
    """
    running = sys.version_info[:2]
    program = chosen or Path(sys.base_prefix, "bin", f"python{running[0]}.{running[1]}")
    hint = "name another one of the same release with --python, such as /usr/bin/python3"
    try:
        answer = json.loads(_run([str(program), "-I", "-c", _ASK]))
    except (SlurmError, ValueError) as error:
        raise SlurmError(f"the Python {program} does not run: {error}", hint=hint) from error
    if (answer[0], answer[1]) != running:
        raise SlurmError(
            f"{program} is Python {answer[0]}.{answer[1]}, bareboat runs with {running[0]}.{running[1]} here",
            hint="name a Python of that release, or run bareboat with the other one",
        )
    for path in (program, Path(answer[2])):
        problem = problem_with(path)
        if problem is not None:
            raise SlurmError(
                f"the Python {program} cannot serve every user of the cluster: {problem}", hint=hint
            )
    return Interpreter(program.resolve(), Path(answer[2]))


def find_headers(slurm_include: Path | None) -> tuple[Path, str]:
    """The directory that holds slurm/spank.h, and the release of Slurm that it is of.

    Raises:
        SlurmError: if there is none, or it does not say its release.
    """
    places = (slurm_include,) if slurm_include else (Path("/usr/include"), Path("/usr/local/include"))
    for place in places:
        if (place / "slurm/spank.h").is_file():
            break
    else:
        raise SlurmError(
            f"slurm/spank.h is not in {' nor in '.join(map(str, places))}",
            hint="install Slurm's headers (Debian: libslurm-dev), or name their place with --slurm-include",
        )
    for name in ("slurm_version.h", "slurm.h"):
        header = place / "slurm" / name
        found = _VERSION_NUMBER.search(header.read_text(errors="replace")) if header.is_file() else None
        if found:
            return place, version_text(int(found[1], 16))
    raise SlurmError(f"the headers in {place}/slurm do not say which release of Slurm they are of")


def version_text(number: int) -> str:
    """SLURM_VERSION_NUMBER (slurm_version.h: a byte each of major, minor, micro) as text, such as 22.05.8."""
    return f"{number >> 16}.{number >> 8 & 0xFF:02d}.{number & 0xFF}"


def fill(stage: Path, prefix: Path, payload: Payload, interpreter: Interpreter, headers: Path) -> None:
    """Make the whole installation in ``stage``, fit for being renamed to ``prefix``.

    Raises:
        SlurmError: if something does not compile or cannot be copied.
    """
    _make_venv(stage, interpreter)
    packages = next(iter((stage / "venv/lib").glob("python*/site-packages")))
    _copy(payload, packages)
    _compile_native(stage, payload, headers)
    _write_command(stage, prefix)
    _copy_manuals(stage, payload)
    python = str(stage / "venv/bin/python")
    _run([python, "-I", "-m", "compileall", "-q", "-s", str(stage), "-p", str(prefix), str(packages)])
    _run([python, "-I", "-c", "import launcher.cli, launcher.step, launcher._core"])


def _make_venv(stage: Path, interpreter: Interpreter) -> None:
    venv = stage / "venv"
    _run([str(interpreter.program), "-I", "-m", "venv", "--without-pip", "--symlinks", str(venv)])
    for script in (venv / "bin").glob("[aA]ctivate*"):
        script.unlink()  # they name the place where they were made
    settings = venv / "pyvenv.cfg"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("command")))
    # The programs are looked for below sys.prefix, which is the environment.
    (venv / "libexec").symlink_to("../libexec")


def _copy(payload: Payload, packages: Path) -> None:
    passed_over = shutil.ignore_patterns("__pycache__", "*.pyc", "*.o")
    for name, source in payload.packages:
        shutil.copytree(source, packages / name, ignore=passed_over, copy_function=_copy_file)
    for relative, source in payload.files:
        target = packages / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(str(source), str(target))
    about = packages / f"{NAME}-{payload.version}.dist-info"
    about.mkdir()
    fields = ("Metadata-Version: 2.1", f"Name: {NAME}", f"Version: {payload.version}")
    needed = (f"Requires-Dist: {name}" for name in payload.requires)
    (about / "METADATA").write_text("\n".join((*fields, *needed, "")))
    (about / "INSTALLER").write_text("bareboat slurm install\n")


def _copy_file(source: str, target: str) -> str:
    """Copy a file with its time, and its byte code if Python has cached it: compiling takes the longest.

    A cache that does not fit is compiled again later; on loading, Python puts the module's own path into it.
    """
    shutil.copy2(source, target)
    if source.endswith(".py"):
        cached = Path(importlib.util.cache_from_source(source))
        if cached.is_file():
            place = Path(importlib.util.cache_from_source(target))
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(cached, place)
    return target


def _compile_native(stage: Path, payload: Payload, headers: Path) -> None:
    plugin = str(stage / "lib/slurm/bareboat.so")
    programs = str(stage / "libexec/bareboat")
    build = (sys.executable, "-B", "-m")
    _run([*build, "cffi_build.build_native", "--output", programs], cwd=payload.top)
    include = ("--slurm-include", str(headers))
    _run([*build, "cffi_build.build_spank", "--output", plugin, *include], cwd=payload.top)


def _write_command(stage: Path, prefix: Path) -> None:
    command = stage / "bin/bareboat"
    command.parent.mkdir()
    command.write_text(_COMMAND.format(prefix=prefix))
    command.chmod(0o755)


def _copy_manuals(stage: Path, payload: Payload) -> None:
    """Manual pages of the source tree, or of the installation that runs here."""
    places = (payload.top / "docs/man", Path(sys.prefix).parent / "share/man")
    for page in (page for place in places for page in sorted(place.rglob("*.[1-8]"))):
        target = stage / f"share/man/man{page.suffix[1:]}" / page.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, target)


def set_modes(top: Path) -> None:
    """Make everything root's, readable by all and writable by root, whatever the umask was."""
    for path in (top, *top.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & 0o111
        path.chmod(0o755 if executable else 0o644)


def _run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    environment: Mapping[str, str] = {
        name: value for name, value in os.environ.items() if name in ("PATH", "CC", "HOME", "TMPDIR")
    }
    try:
        done = subprocess.run(
            command,
            env={**environment, "LC_ALL": "C.UTF-8"},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise SlurmError(f"{' '.join(command)} failed (exit code {done.returncode}):\n{said}")
    return done.stdout
