"""Options of a measurement: what no clock can count, what a damaged directory asks, and what repeats it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept
from click.testing import CliRunner

from benchmarks.asked import check_asked
from benchmarks.cli import bench
from benchmarks.errors import BenchError
from benchmarks.folder import Folder
from benchmarks.run_cli import repeating


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(bench, words)
    return done.exit_code, done.output


@pytest.mark.parametrize("command", ["run", "launch", "latency", "app"])
@pytest.mark.parametrize(
    ("option", "value", "most"),
    [
        ("--limit", "inf", "3.16224e+07"),
        ("--limit", "nan", "3.16224e+07"),
        ("--limit", "1e300", "3.16224e+07"),
        ("--wait", "inf", "3.16224e+07"),
        ("--budget", "nan", "527040"),
    ],
)
def test_what_no_clock_can_count(command: str, option: str, value: str, most: str) -> None:
    code, said = run(command, "--image", "/images/a", option, value, *(("true",) * (command == "app")))
    assert code == 2
    assert f"Invalid value for '{option}': {value} is no number up to {most} (a year)." in said


def test_a_command_with_an_open_quote() -> None:
    code, said = run("app", "--image", "/images/a", "--bare", "a 'b", "--", "true")
    assert code == 2
    assert '--bare "a \'b" is no command as in a shell: No closing quotation' in said


def test_an_unknown_suite_leaves_no_directory(tmp_path: Path) -> None:
    code, said = run("run", "--image", "/images/a", "--suite", "foo", "--out", str(tmp_path / "new"))
    assert code == 125
    assert "foo" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"rounds": "15"}, "TypeError: rounds is '15'"),
        ({"rounds": 0}, "ValueError: rounds is 0"),
        ({"wait": 1e100}, "ValueError: wait is 1e+100"),
        ({"limit": 10**400}, "TypeError: limit is '1000"),
        ({"forms": ["a"]}, "TypeError: forms is 'a'"),
        ({"image": None}, "TypeError: image is 'None'"),
        ({"level": "x"}, "ValueError: 'x' is not a valid Level"),
        ({"lang": "x"}, "ValueError: 'x' is not a valid Language"),
        ({"app": {"argv": ["true"]}}, "KeyError: "),
        (
            {"app": {"argv": [], "bare": [], "metrics": [], "higher": [], "units": [], "directory": "/"}},
            "ValueError",
        ),
    ],
)
def test_a_directory_that_asks_for_what_no_option_can(
    asked: dict[str, object], why: str, tmp_path: Path
) -> None:
    kept = bench_kept(bench_case("a"))
    Folder(tmp_path).keep(replace(kept, asked={**kept.asked, **asked}))
    code, said = run("run", "--resume", str(tmp_path))
    assert code == 125
    assert f"error: {tmp_path}/setting.json is damaged: asked: {why}" in said


def test_an_image_was_asked_for() -> None:
    with pytest.raises(BenchError, match="here is damaged: asked: KeyError: 'image'"):
        check_asked({}, where="here")


def test_the_command_that_repeats_it() -> None:
    words = [
        "/opt/bin/bareboat",
        "bench",
        "app",
        "--out",
        "a",
        "--resume=b",
        "--image",
        "i",
        "--",
        "c",
        "--out",
        "d",
    ]
    assert repeating(words, {"PATH": "/bin"}) == (
        *("bareboat", "bench", "app", "--image", "i", "--", "c", "--out", "d"),
    )
    assert repeating(words[:3], {"BAREBOAT_MPI": "off", "BAREBOAT_MOUNTS": "/a b"}) == (
        *("env", "BAREBOAT_MOUNTS=/a b", "BAREBOAT_MPI=off", "bareboat", "bench", "app"),
    )
