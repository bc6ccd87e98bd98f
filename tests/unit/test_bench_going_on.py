"""What a measurement that goes on in another job keeps of the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept
from click.testing import CliRunner

from benchmarks.cli import bench
from benchmarks.folder import Folder
from benchmarks.results import NodeFacts
from benchmarks.running import _joined


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


@pytest.mark.parametrize(("before", "said"), [({}, "[]"), ({"engines": None}, "None")])
def test_other_engines_than_it_was_begun_with(before: dict[str, object], said: str, tmp_path: Path) -> None:
    """A directory of before there were other engines was measured with none."""
    kept = bench_kept(bench_case("a"))
    Folder(tmp_path).keep(replace(kept, asked={**kept.asked, **before}))
    done = CliRunner().invoke(bench, ["run", "--resume", str(tmp_path), "--engines", "ch-run"])
    assert done.exit_code == 125
    assert f"{tmp_path} was measured with another --engines: {said}, not ('ch-run',)" in done.output
