"""What a reader is told of what nobody saw: transports, and what a site's programs use."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept, bench_record

from benchmarks.analysis import analyse
from benchmarks.cases import BARE, CONTAINER, Asked, Facts, Ground, Level
from benchmarks.offers import make_offers
from benchmarks.probes import ask_nodes
from benchmarks.runner import Allocation, Client

TOLD = (
    "which way messages took inside a node is not known of either side: the rows are compared as if it were "
    "the same"
)


@pytest.mark.parametrize(
    ("transport", "told"),
    [("", (TOLD,)), ("unknown: no counter moved with the bytes", (TOLD,)), ("shared memory", ())],
)
def test_a_transport_that_nobody_saw(transport: str, told: tuple[str, ...]) -> None:
    records = [
        bench_record(number, side, 1.0, facts=Facts("MPICH 4", "abc", transport))
        for number in range(6)
        for side in (BARE, CONTAINER)
    ]
    results = analyse(bench_kept(bench_case("a")), records)
    assert results.notes == told
    assert all(row.comparison is not None for row in results.rows)


@pytest.mark.parametrize("probed", [True, False])
def test_a_sites_programs_do_not_say_what_they_use(tmp_path: Path, *, probed: bool) -> None:
    for name in ("osu_latency", "cg.S.x"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    asked = Asked(Level.QUICK, ranks=(2,), osu=(str(tmp_path), ""), npb=(str(tmp_path), ""))
    programs = (
        {(side, "mpi_hello"): f"/made/{side}/mpi_hello" for side in (BARE, CONTAINER)} if probed else {}
    )
    ground = Ground(asked, "/images", (1,), 2, programs)
    notes = make_offers(("osu", "npb"), ground, None, None, alone=False)[2]
    said = [note for note in notes if "bareboat's own probe" in note]
    assert said == [
        f"{suite}: library and transport are those that bareboat's own probe used on each side; the programs "
        f"of {tmp_path} do not say theirs"
        for suite in (("osu", "npb") if probed else ())
    ]


def test_the_binding_is_of_a_rank_with_the_users_options(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    bound = "case $* in *--cpu-bind=map_cpu:3*) bound=3 ;; *) bound=0-7 ;; esac"
    said = "0: /proc/sys/kernel/hostname:n1\\n0: /proc/self/status:Cpus_allowed_list:$bound\\n"
    srun.write_text(f'#!/bin/sh\n{bound}\nprintf "{said}"\n')
    srun.chmod(0o755)
    client = Client({"PATH": str(tmp_path)}, srun_options=("--cpu-bind=map_cpu:3",))
    (node,), _ = ask_nodes(client, Allocation("7", ("n1",), 8, ours=True), "/images")
    assert node.binding == ((BARE, "3"), (CONTAINER, "3"))
