"""What a measurement that goes on in another job keeps of the first."""

from __future__ import annotations

from dataclasses import replace

from bench_cases import bench_case, bench_kept

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
