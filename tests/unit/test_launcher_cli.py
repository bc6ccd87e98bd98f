"""The command: what it lists, what it refuses, and with which codes it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import BareboatError, NotExecutableError, NotFoundError, UsageError
from launcher.messages import describe, exit_code, known_errors
from mpi_abi import AbiError

TOP = Path(__file__).parents[2]


def bareboat(*arguments: str, cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import launcher.cli as c; c.main()",
    ]
    return subprocess.run(
        [*command, str(TOP), *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_help_lists_every_command_without_importing_it() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "import launcher.cli\n"
        "try: launcher.cli.main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'mpi_abi', 'slurm', 'benchmarks', 'launcher.plan', 'launcher.doctor', 'rich', 'pyroute2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False, timeout=60
    )
    *text, modules = done.stdout.splitlines()
    listed = [line.split()[0] for line in text if line.startswith("  ") and not line.startswith("  -")]
    assert {"abi", "bench", "demo", "doctor", "plan", "run", "slurm", "testbed"} <= set(listed)
    assert modules == "[]"


def test_what_no_launch_takes_for_an_image_is_not_judged_either(tmp_path: Path) -> None:
    (tmp_path / "Documents").mkdir()
    for words in (("abi", "check"), ("run",)):
        done = bareboat(*words, str(tmp_path), *(("true",) if words == ("run",) else ()))
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr == (
            f"bareboat: error: {tmp_path} is not an image: it has none of "
            "/bin, /usr/bin, /etc, /lib, /lib64, /usr/lib, /sbin, /usr/sbin\n"
            "bareboat: hint: name the directory that holds the image's root file system\n"
        )


def test_the_version_is_one_line() -> None:
    done = bareboat("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("bareboat ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "/img"], "no program was named: bareboat run IMG -- app ARG..."),
        (["run"], "Missing argument 'IMAGE'"),
        (["rnu"], "No such command 'rnu'"),
        (["plan", "--nope", "/img"], "No such option"),
        (
            ["plan", "--mpi", "no", "/img"],
            "bareboat: error: --mpi: 'no' is not a mode\nbareboat: hint: modes: auto",
        ),
        (
            ["run", "--without", "x", "/img", "--", "a"],
            "bareboat: error: --without: 'x' is not a part of the view",
        ),
        (
            ["run", "--mount", "/a:/b:c", "/img", "a"],
            "bareboat: error: --mount: entry 1 ('/a:/b:c') its mode 'c' is",
        ),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], text: str) -> None:
    done = bareboat(*arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stdout == ""


def test_a_missing_image_ends_with_125(tmp_path: Path) -> None:
    done = bareboat("run", "none", "--", "true", cwd=tmp_path)
    assert done.returncode == 125
    assert done.stderr.startswith(
        f"bareboat: error: the image {tmp_path}/none does not exist\nbareboat: hint: "
    )


def test_a_missing_configuration_ends_with_125() -> None:
    done = bareboat("plan", "--config", "/none.toml", "/img")
    assert done.returncode == 125
    assert done.stderr == (
        "bareboat: error: cannot read the configuration /none.toml: it does not exist\n"
        "bareboat: hint: check BAREBOAT_CONFIG and --config; a step reads the file on each of its nodes\n"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BareboatError("a"), 125),
        (UsageError("a"), 2),
        (NotFoundError("a"), 127),
        (NotExecutableError("a"), 126),
        (AbiError("a"), 125),
    ],
)
def test_every_error_has_its_code(error: Exception, code: int) -> None:
    assert isinstance(error, known_errors())
    assert exit_code(error) == code


def test_an_error_is_said_with_its_hint() -> None:
    assert describe(BareboatError("it broke")) == "bareboat: error: it broke\n"
    assert (
        describe(AbiError("it broke", hint="mend it"))
        == "bareboat: error: it broke\nbareboat: hint: mend it\n"
    )


def test_what_an_error_names_does_no_harm_to_a_terminal() -> None:
    error = AbiError("/lib/\x1b[2J: not an ELF file", hint="look at \udcff")
    assert describe(error) == (
        "bareboat: error: /lib/\\x1b[2J: not an ELF file\nbareboat: hint: look at \\udcff\n"
    )
