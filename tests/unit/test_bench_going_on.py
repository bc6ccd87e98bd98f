"""What a measurement that goes on keeps of the first, and that its images are the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept
from click.testing import CliRunner

from benchmarks.cases import CONTAINER, Command
from benchmarks.cli import bench
from benchmarks.errors import BenchError
from benchmarks.folder import Folder
from benchmarks.identity import identify, require_same
from benchmarks.offers import make_starter, not_inside
from benchmarks.results import Failure, NodeFacts
from benchmarks.runner import Allocation, Client
from benchmarks.running import _joined
from benchmarks.suites.common import Target


def test_the_nodes_of_all_jobs_are_told() -> None:
    kept = bench_kept(bench_case("a"))
    first, second = (
        replace(
            kept,
            setting=replace(
                kept.setting,
                job_id=job,
                nodes=hosts,
                machine=tuple(NodeFacts(host, load=job) for host in hosts),
            ),
        )
        for job, hosts in (("7", ("n1", "n2")), ("8", ("n2", "n3")))
    )
    setting = _joined(first, second).setting
    assert (setting.job_id, setting.nodes) == ("7, 8", ("n1", "n2", "n3"))
    assert [(node.host, node.load) for node in setting.machine] == [("n1", "7"), ("n2", "8"), ("n3", "8")]


def test_what_was_left_out_at_first_has_still_failed() -> None:
    kept = bench_kept(bench_case("a"))
    first = replace(kept, failures=(Failure("ch-run is left out", "it hung"), Failure("suite io", "then")))
    now = replace(kept, failures=(Failure("suite io", "now"),))
    assert _joined(first, now).failures == (first.failures[0], now.failures[0])


@pytest.mark.parametrize(("before", "said"), [({}, "[]"), ({"engines": None}, "None")])
def test_other_engines_than_it_was_begun_with(before: dict[str, object], said: str, tmp_path: Path) -> None:
    """A directory of before there were other engines was measured with none."""
    kept = bench_kept(bench_case("a"))
    Folder(tmp_path).keep(replace(kept, asked={**kept.asked, **before}))
    done = CliRunner().invoke(bench, ["run", "--resume", str(tmp_path), "--engines", "ch-run"])
    assert done.exit_code == 125
    assert f"{tmp_path} was measured with another --engines: {said}, not ('ch-run',)" in done.output


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An image as a directory, with a link that leads out of it."""
    (tmp_path / "image/usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "image/usr/bin").symlink_to(tmp_path)
    return tmp_path / "image"


def test_an_image_that_nobody_touched_is_the_same(directory: Path, tmp_path: Path) -> None:
    before = identify([str(directory), str(directory)])
    (tmp_path / "elsewhere").touch()
    assert identify([str(directory)]) == before
    require_same(before, identify([str(directory), str(tmp_path)]))


@pytest.mark.parametrize("place", ["", "usr/lib", "usr/lib/x86_64-linux-gnu"])
def test_what_is_new_in_a_directory_makes_it_another(directory: Path, place: str) -> None:
    before = identify([str(directory)])
    (directory / place / "new").touch()
    with pytest.raises(BenchError, match=f"the image {directory} is not the one that was measured") as error:
        require_same(before, identify([str(directory)]))
    assert error.value.hint == "measure it into a new directory (--out DIR)"


def test_a_file_that_was_packed_anew_is_another(tmp_path: Path) -> None:
    file, fresh = tmp_path / "a.sqfs", tmp_path / "b.sqfs"
    file.write_text("one")
    os.utime(file, (1, 1))
    before = identify([str(file)])
    fresh.write_text("two")
    os.utime(fresh, (1, 1))
    fresh.replace(file)
    assert identify([str(file)]) != before


def test_an_image_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"the image {tmp_path}/none cannot be looked at: No such file"):
        identify([f"{tmp_path}/none"])


def test_images_are_kept_and_those_of_older_files_are_any(tmp_path: Path) -> None:
    folder = Folder.make(tmp_path / "results")
    folder.keep(replace(bench_kept(bench_case("a")), images=identify([str(tmp_path)])))
    assert [path for path, _ in folder.kept().images] == [str(tmp_path)]
    require_same((), identify([str(tmp_path)]))


def test_a_form_that_is_no_container_is_not_measured(tmp_path: Path) -> None:
    """Its `bareboat run` starts the program without one."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/readlink").touch()
    bareboat = tmp_path / "bareboat"
    bareboat.write_text('#!/bin/sh\nshift 3\nexec /usr"$@"\n')
    bareboat.chmod(0o755)
    target = Target(Client(dict(os.environ), bareboat=str(bareboat)))
    here = Allocation("none", ("here",), 1, ours=False, launcher=())
    found = not_inside(target, here, (("file", str(tmp_path)), ("gone", str(tmp_path / "bin"))), 1)
    assert {side: str(error) for side, error in found.items()} == {
        "file": "the container side ran on the bare host: rank 0 is its node's mount namespace",
        "gone": f"readlink is not in image {tmp_path}/bin",
    }


def test_a_trial_of_launches_refuses_no_side_of_another_suite() -> None:
    target = Target(Client({"PATH": "/usr/bin:/bin"}))
    here = Allocation("none", ("here",), 1, ours=False, launcher=())
    tried, forms = {CONTAINER: BenchError("too slow", hint="wait")}, {"file": BenchError("no container")}
    start = make_starter(target, here, forms=forms, tried=tried)
    for suite, side, said in (
        *(
            ("launch", CONTAINER, "too slow"),
            ("launch", "file", "no container"),
            ("osu", "file", "no container"),
        ),
        ("osu", CONTAINER, ""),
    ):
        case = bench_case("echo", "file", suite=suite)
        case = replace(case, ranks=1, commands={**case.commands, CONTAINER: Command(("echo",))})
        if said:
            with pytest.raises(BenchError, match=said):
                start(case, side)
        else:
            assert start(case, side).stdout == "\n"
