"""The directory of a measurement: nothing that was measured is lost, and damage is named."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept, bench_record

from benchmarks.analysis import read_results
from benchmarks.cases import BARE, CONTAINER
from benchmarks.errors import BenchError
from benchmarks.folder import PAGE, RESULTS, ROUNDS, SETTING, TABLE, Folder
from benchmarks.records import to_line

RECORDS = (bench_record(-1, BARE, 1.5), bench_record(0, CONTAINER, None))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.make(tmp_path / "results" / "first")


def test_what_is_written_is_read(folder: Folder) -> None:
    kept = bench_kept(bench_case("a"), bench_case("b", "cold", nodes=2))
    folder.keep(kept)
    with folder.open_rounds() as rounds:
        for record in RECORDS:
            rounds.add(record)
    assert (folder.kept(), folder.records()) == (kept, RECORDS)
    assert sorted(path.name for path in folder.path.iterdir()) == [ROUNDS, SETTING]


def test_before_the_first_run_there_is_nothing(folder: Folder) -> None:
    assert folder.records() == ()


def test_a_line_that_a_crash_cut_off_is_taken_away(folder: Folder) -> None:
    with folder.open_rounds() as rounds:
        rounds.add(RECORDS[0])
    path = folder.path / ROUNDS
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    assert folder.records() == RECORDS[:1]
    with folder.open_rounds() as rounds:
        rounds.add(RECORDS[1])
    assert folder.records() == RECORDS


def test_a_damaged_line_is_named(folder: Folder) -> None:
    (folder.path / ROUNDS).write_text('{"session": 0}\n')
    with pytest.raises(BenchError, match=r"line 1 of .*/rounds\.jsonl is damaged: KeyError: 'figures'"):
        folder.records()


def test_a_directory_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(BenchError, match="is not empty") as error:
        Folder.make(tmp_path)
    assert error.value.hint == "name another directory"
    (tmp_path / "mine").rename(tmp_path / SETTING)
    with pytest.raises(BenchError, match="is not empty") as error:
        Folder.make(tmp_path)
    assert error.value.hint == f"name another directory, or go on with it: --resume {tmp_path}"


def test_one_that_was_killed_before_it_began_is_taken(folder: Folder) -> None:
    with folder.locked():
        (folder.path / "programs" / "bare").mkdir(parents=True)
        (folder.path / f".{SETTING}.new").write_text("half")
    with pytest.raises(BenchError, match="is no directory of a measurement") as error:
        folder.kept()
    assert error.value.hint == (
        f"it was ended before anything was measured: begin anew, with --out {folder.path}"
    )
    again = Folder.make(folder.path)
    again.keep(bench_kept(bench_case("a")))
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "programs", SETTING]


def test_a_directory_of_programs_that_is_not_ours_is_not_taken(tmp_path: Path) -> None:
    """Ours has a lock, which is made first."""
    (tmp_path / "programs").mkdir()
    with pytest.raises(BenchError, match="is not empty"):
        Folder.make(tmp_path)


def test_a_measurement_that_did_not_begin_leaves_nothing(folder: Folder) -> None:
    (folder.path / "programs").mkdir()
    folder.forget()
    assert not folder.path.exists()


def test_one_that_began_is_not_forgotten(folder: Folder) -> None:
    folder.keep(bench_kept(bench_case("a")))
    folder.forget()
    assert folder.kept() == bench_kept(bench_case("a"))


def test_a_place_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"the results cannot be put into .*: Not a directory"):
        Folder.make(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "setting.json is damaged: JSONDecodeError"),
        ("{}", "setting.json is damaged: KeyError: 'schema'"),
        ('{"schema": "bareboat-bench-setting/99"}', "has another schema than bareboat-bench-setting/1"),
    ],
)
def test_a_setting_that_is_none(folder: Folder, text: str, message: str) -> None:
    (folder.path / SETTING).write_text(text)
    with pytest.raises(BenchError, match=message):
        folder.kept()


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    message = "is no directory of a measurement: setting.json: No such file or directory"
    with pytest.raises(BenchError, match=message):
        Folder(tmp_path).kept()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"value":1.5', '"value":0', "time is 0: only values above 0 can be compared"),
        ('"value":1.5', '"value":NaN', "time is nan"),
        ('"value":1.5', '"value":"1"', "TypeError"),
        ('"round":-1', '"round":"-1"', "TypeError: round is '-1'"),
        ('"suite":"osu"', '"suite":["osu"]', r"TypeError: suite is \"\['osu'\]\""),
        ('"suite":"osu"', '"suite":"probe"', "ValueError: case is 'a, 1 node, 2 ranks', no number of nodes"),
        ('"session":0', '"session":true', "TypeError: session is 'True'"),
        ('"notes":[]', '"notes":[{}]', "TypeError: notes is '{}'"),
        ('"message_bytes":8', f'"message_bytes":{10**400}', "TypeError: message_bytes is '1000"),
        ('"message_bytes":8', '"message_bytes":-8', "ValueError: time has messages of -8 bytes"),
        ('"value":1.5', f'"value":{10**400}', "OverflowError"),
        ('"value":1.5', '"value":1e-70', "ValueError: time is 1e-70"),
    ],
)
def test_a_line_with_a_value_that_is_none(folder: Folder, old: str, new: str, why: str) -> None:
    line = to_line(RECORDS[0])
    assert old in line
    (folder.path / ROUNDS).write_text(line.replace(old, new))
    with pytest.raises(BenchError, match=rf"line 1 of .*/rounds\.jsonl is damaged: {why}"):
        folder.records()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("nodes", "a", "TypeError: nodes is 'a'"),
        ("nodes", 0, "ValueError: a, 1 node, 2 ranks is on 0 nodes with 2 ranks"),
        ("ranks", 1 << 63, "TypeError: ranks is '9223372036854775808'"),
        ("sides", [1], "TypeError: sides is '1'"),
    ],
)
def test_a_case_with_a_value_that_is_none(folder: Folder, name: str, value: object, why: str) -> None:
    folder.keep(bench_kept(bench_case("a")))
    data = json.loads((folder.path / SETTING).read_text())
    data["outlines"][0][name] = value
    (folder.path / SETTING).write_text(json.dumps(data))
    with pytest.raises(BenchError, match=rf"setting\.json is damaged: {why}"):
        folder.kept()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (SETTING, Folder.kept),
        (ROUNDS, Folder.records),
        (ROUNDS, Folder.open_rounds),
        (RESULTS, lambda folder: read_results(folder.path)),
    ],
)
def test_a_pipe_is_not_waited_for(folder: Folder, name: str, read: Callable[[Folder], object]) -> None:
    os.mkfifo(folder.path / name)
    with pytest.raises(BenchError, match=f"{name}.*: it is no regular file"):
        read(folder)


def test_runs_are_not_written_through_a_link(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a line that has no end")
    (folder.path / ROUNDS).symlink_to(tmp_path / "mine")
    with pytest.raises(BenchError, match=r"rounds\.jsonl cannot be written: it is a symbolic link"):
        folder.open_rounds()
    assert (tmp_path / "mine").read_text() == "a line that has no end"


def test_two_measurements_are_not_in_one_directory(folder: Folder) -> None:
    message = f"another measurement is writing to {folder.path}"
    with folder.locked(), pytest.raises(BenchError, match=message), Folder(folder.path).locked():
        pass
    with Folder.make(folder.path).locked():
        pass


def test_a_full_disk_cuts_no_line(folder: Folder) -> None:
    folder.keep(bench_kept(bench_case("a")))
    with folder.open_rounds() as rounds:
        rounds.add(RECORDS[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((folder.path / ROUNDS).stat().st_size + 10, hard))
        try:
            with pytest.raises(BenchError, match=r"rounds\.jsonl cannot be written: File too large"):
                rounds.add(RECORDS[1])
            with pytest.raises(BenchError, match=r"results\.json cannot be written: File too large"):
                folder.write(RESULTS, "x" * 100_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (folder.path / ROUNDS).read_text() == to_line(RECORDS[0])
        rounds.add(RECORDS[1])
    assert folder.records() == RECORDS
    assert not list(folder.path.glob(".*.new"))


def test_a_link_is_replaced_and_not_written_through(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for name in (PAGE, f".{PAGE}.new"):
        (folder.path / name).symlink_to(tmp_path / "mine")
    folder.write(PAGE, "page of /images/\udcff")
    assert (folder.path / PAGE).read_text() == "page of /images/\\udcff"
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(("name", "read"), [(SETTING, Folder.kept), (ROUNDS, Folder.records)])
def test_a_file_that_is_not_text(folder: Folder, name: str, read: Callable[[Folder], object]) -> None:
    (folder.path / name).write_bytes(b"\xff\n")
    with pytest.raises(BenchError, match=f"{name} is damaged: it is not text"):
        read(folder)


def test_old_results_do_not_outlive_new_rounds(folder: Folder) -> None:
    folder.keep(bench_kept(bench_case("a")))
    for name in (RESULTS, PAGE, TABLE):
        folder.write(name, "old")
    folder.drop_results()
    assert [item.name for item in folder.path.iterdir()] == [SETTING]
