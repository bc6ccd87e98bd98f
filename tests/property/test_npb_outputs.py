"""NPB's result block: what is written is read back; what is damaged is refused, and never a figure."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.errors import BenchError
from benchmarks.npb import NpbResult, parse_npb


@dataclass(frozen=True, slots=True)
class Block:
    """What a program printed."""

    kernel: str
    problem_class: str
    size: str
    iterations: int
    seconds: float
    processes: int
    mops: float
    stop: str

    def lines(self) -> list[str]:
        """As NPB prints it; stop: the dot behind "Completed", which IS does not print."""
        return [
            f" NAS Parallel Benchmarks 3.4 -- {self.kernel} Benchmark",
            "",
            f" {self.kernel} Benchmark Completed{self.stop}",
            f" Class           = {self.problem_class:>24}",
            f" Size            = {self.size:>24}",
            f" Iterations      = {self.iterations:24d}",
            f" Time in seconds = {self.seconds:24.2f}",
            f" Total processes = {self.processes:24d}",
            f" Active processes= {self.processes:24d}",
            f" Mop/s total     = {self.mops:24.2f}",
            f" Mop/s/process   = {self.mops / self.processes:24.2f}",
            f" Operation type  = {'floating point':>24}",
            f" Verification    = {'SUCCESSFUL':>24}",
            f" Version         = {'3.4.1':>24}",
        ]


blocks = st.builds(
    Block,
    kernel=st.sampled_from(("EP", "IS", "CG", "MG", "FT", "LU", "SP", "BT")),
    problem_class=st.sampled_from("SWABCDEF"),
    size=st.sampled_from(("1400", "64x  64x  64", "33554432")),
    iterations=st.integers(0, 500),
    seconds=st.floats(0, 1e5),
    processes=st.integers(1, 100_000),
    mops=st.floats(0.01, 1e12),
    stop=st.sampled_from(("", ".")),
)
noise = st.text(max_size=60)
FIRST_OF_BLOCK = 2
LAST_REQUIRED = 12


def read(lines: list[str]) -> NpbResult | None:
    try:
        return parse_npb("\n".join(lines))
    except BenchError as error:
        assert str(error)
        return None


@given(blocks)
def test_blocks_are_read_back(block: Block) -> None:
    result = read(block.lines())
    assert result is not None
    assert (result.kernel, result.problem_class, result.size) == (
        block.kernel,
        block.problem_class,
        block.size,
    )
    assert (result.iterations, result.processes) == (block.iterations, block.processes)
    assert result.mops == float(f"{block.mops:.2f}")
    assert result.seconds == float(f"{block.seconds:.2f}")


@given(blocks, st.lists(noise, max_size=4), st.lists(noise, max_size=4))
def test_noise_around_a_block_changes_nothing(block: Block, before: list[str], after: list[str]) -> None:
    assume(not any("=" in line or "Completed" in line for line in (*before, *after)))
    assert read([*before, *block.lines(), *after]) == read(block.lines())


@given(st.lists(st.one_of(noise, blocks.flatmap(lambda block: st.sampled_from(block.lines()))), max_size=30))
def test_garbage_is_refused_or_is_a_whole_block(lines: list[str]) -> None:
    result = read(lines)
    if result is not None:
        printed = " ".join(" ".join(lines).split())
        assert f"{result.kernel} Benchmark Completed" in printed
        assert "Verification = SUCCESSFUL" in printed
        assert f"Mop/s total = {result.mops:.2f}" in printed


@given(blocks, st.integers(FIRST_OF_BLOCK, LAST_REQUIRED))
def test_without_any_one_line_there_is_no_figure(block: Block, index: int) -> None:
    lines = block.lines()
    del lines[index]
    active = 8
    assert (read(lines) is None) == (index != active)


@given(blocks, st.data())
def test_a_block_that_was_cut_off_is_no_figure(block: Block, data: st.DataObject) -> None:
    text = "\n".join(block.lines())
    end = text.index("SUCCESSFUL") + len("SUCCESSFUL")
    cut = data.draw(st.integers(0, end - 1))
    assert read(text[:cut].split("\n")) is None


@given(blocks, noise)
def test_any_other_verification_is_no_figure(block: Block, said: str) -> None:
    assume(said.strip() != "SUCCESSFUL" and "\n" not in said)
    lines = block.lines()
    lines[LAST_REQUIRED] = f" Verification    = {said}"
    assert read(lines) is None
