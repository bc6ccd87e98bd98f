"""Latency, bandwidth and allreduce through mpi4py: what a Python program gets of the MPI below it.

    python3 osu.py osu_latency|osu_bw|osu_allreduce [OPTIONS]

The method, options and tables are those of the programs in C (../osu), which are those of OSU 7.5; here
every call goes through mpi4py with a buffer of Python's own, so that no NumPy is needed.  One file without
imports of ours: it runs in images.  Python 3.7 and mpi4py 3 are enough.
"""

from __future__ import annotations

import argparse
import array
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from mpi4py import MPI, __version__

WORLD = MPI.COMM_WORLD
LARGE_FROM = 8192
MAX_BYTES = 1 << 30
TAG_LATENCY, TAG_DATA, TAG_ACK = 1, 100, 101
WIDTH = 18


@dataclass(frozen=True)
class Test:
    """What a program measures.

    small and large: iterations and those before them, for messages up to LARGE_FROM bytes and for others;
    measure(options, size, iterations, warm-up): a row's values, on rank 0, and whether its data was right.
    """

    title: str
    columns: tuple[str, ...]
    max_bytes: int
    small: tuple[int, int]
    large: tuple[int, int]
    measure: Callable[[argparse.Namespace, int, int, int], tuple[list[float], bool]]
    datatype: str = "MPI_CHAR"
    element: int = 1


def pattern(size: int, source: int, turn: int) -> bytes:
    """Bytes that follow from who sends them in which iteration."""
    first = 7 * source + turn
    return bytes((first + at) % 61 for at in range(size))


def measure_latency(
    options: argparse.Namespace, size: int, count: int, warmup: int
) -> tuple[list[float], bool]:
    """Ping-pong: half of the mean round trip in microseconds."""
    rank = WORLD.Get_rank()
    sent, received = bytearray(b"a" * size), bytearray(b"b" * size)
    total, right = 0.0, True
    outgoing, incoming = [sent, size, MPI.CHAR], [received, size, MPI.CHAR]
    send, receive, clock = WORLD.Send, WORLD.Recv, MPI.Wtime
    WORLD.Barrier()
    for turn in range(warmup + count):
        if options.validation:
            sent[:] = pattern(size, rank, turn)
            received[:] = bytes(size)
            WORLD.Barrier()
        start = clock()
        if rank == 0:
            send(outgoing, 1, TAG_LATENCY)
            receive(incoming, 1, TAG_LATENCY)
        else:
            receive(incoming, 0, TAG_LATENCY)
            send(outgoing, 0, TAG_LATENCY)
        if turn >= warmup:
            total += clock() - start
        if options.validation:
            right = right and received == pattern(size, 1 - rank, turn)
    return [total * 1e6 / (2 * count)], right


def measure_bandwidth(
    options: argparse.Namespace, size: int, count: int, warmup: int
) -> tuple[list[float], bool]:
    """A window of messages in flight, then a byte back: 10^6 bytes a second."""
    rank = WORLD.Get_rank()
    data, ack = bytearray(b"a" * size), bytearray(1)
    total, right = 0.0, True
    message, answer = [data, size, MPI.CHAR], [ack, 1, MPI.CHAR]
    clock, wait_all = MPI.Wtime, MPI.Request.Waitall
    WORLD.Barrier()
    for turn in range(warmup + count):
        if options.validation:
            data[:] = pattern(size, 0, turn) if rank == 0 else bytes(size)
            WORLD.Barrier()
        start = clock()
        if rank == 0:
            wait_all([WORLD.Isend(message, 1, TAG_DATA) for _ in range(options.window)])
            WORLD.Recv(answer, 1, TAG_ACK)
        else:
            wait_all([WORLD.Irecv(message, 0, TAG_DATA) for _ in range(options.window)])
            WORLD.Send(answer, 0, TAG_ACK)
        if turn >= warmup:
            total += clock() - start
        if options.validation:
            right = right and data == pattern(size, 0, turn)
    return [size * options.window * count / 1e6 / total], right


def measure_allreduce(
    options: argparse.Namespace, size: int, count: int, warmup: int
) -> tuple[list[float], bool]:
    """The mean, least and greatest of the ranks' mean times, each call for itself, in microseconds."""
    rank, ranks = WORLD.Get_rank(), WORLD.Get_size()
    length = size // 4
    sent, received = array.array("i", [1] * length), array.array("i", [0] * length)
    total, right = 0.0, True
    outgoing, incoming = [sent, length, MPI.INT], [received, length, MPI.INT]
    clock = MPI.Wtime
    WORLD.Barrier()
    for turn in range(warmup + count):
        if options.validation:
            sent[:] = array.array("i", list(pattern(length, rank, turn)))
            received[:] = array.array("i", [0] * length)
        start = clock()
        WORLD.Allreduce(outgoing, incoming, MPI.SUM)
        if turn >= warmup:
            total += clock() - start
        if options.validation:
            parts = [pattern(length, source, turn) for source in range(ranks)]
            right = right and received.tolist() == [sum(part[at] for part in parts) for at in range(length)]
        WORLD.Barrier()
    means = WORLD.allgather(total * 1e6 / count)
    return [sum(means) / ranks, min(means), max(means), float(count)], right


TESTS = {
    "osu_latency": Test("Latency", ("Avg Latency(us)",), 1 << 22, (10000, 100), (1000, 10), measure_latency),
    "osu_bw": Test("Bandwidth", ("Bandwidth (MB/s)",), 1 << 22, (100, 10), (20, 2), measure_bandwidth),
    "osu_allreduce": Test(
        title="Allreduce Latency",
        columns=("Avg Latency(us)", "Min Latency(us)", "Max Latency(us)", "Iterations"),
        max_bytes=1 << 20,
        small=(1000, 100),
        large=(100, 10),
        measure=measure_allreduce,
        datatype="MPI_INT",
        element=4,
    ),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong as the programs in C do, with their exit status, on one rank."""

    def format_usage(self) -> str:
        return super().format_usage().replace("usage:", "Usage:", 1)

    def error(self, message: str) -> NoReturn:
        if WORLD.Get_rank() == 0:
            print(f"Invalid option [{message}]\n\n{self.format_usage()}", end="", file=sys.stderr, flush=True)
        sys.exit(1)


def count_of(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is no number from {least} up")
        return int(text)

    return parse


def parse_sizes(text: str) -> tuple[int, int | None]:
    """``[MIN:]MAX`` or ``MIN:``; the largest is None where it is not given."""
    least, colon, most = text.rpartition(":")
    if colon and not most:
        return count_of(1)(least), None
    return (count_of(1)(least) if colon else 1), count_of(1)(most)


def parse_arguments(name: str, arguments: list[str]) -> argparse.Namespace:
    test = TESTS[name]
    parser = Parser(prog=name, add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--message-size", dest="sizes", type=parse_sizes, default=(1, None))
    parser.add_argument("-i", "--iterations", type=count_of(1))
    parser.add_argument("-x", "--warmup", type=count_of(0))
    parser.add_argument("-c", "--validation", action="store_true")
    parser.add_argument("--digits", type=count_of(0), default=2)
    parser.add_argument("--facts", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    if name == "osu_bw":
        parser.add_argument("-W", "--window-size", dest="window", type=count_of(1), default=64)
    parser.add_argument("-f", "--full", action="store_true")
    options = parser.parse_args(arguments)
    options.least, most = options.sizes
    options.most = test.max_bytes if most is None else most
    if not 1 <= options.least <= options.most <= MAX_BYTES:
        parser.error("-m")
    if options.help:
        if WORLD.Get_rank() == 0:
            parser.print_usage()
        sys.exit(0)
    return options


def describe_library() -> str:
    """The library's first line, and the digest (FNV-1a, 64 bits) of all that it says of itself."""
    text = MPI.Get_library_version().rstrip("\0")
    digest = 0xCBF29CE484222325
    for byte in text.encode():
        digest = ((digest ^ byte) * 0x100000001B3) % (1 << 64)
    first = text.splitlines()[0].replace("\t", " ")
    return f"# library: {first}\n# library digest: {digest:016x}"


def run(name: str, options: argparse.Namespace) -> int:
    """Measure and print the table.  Returns the exit status."""
    test = TESTS[name]
    columns = test.columns if options.full else test.columns[:1]
    rank = WORLD.Get_rank()

    def show(text: str) -> None:
        if rank == 0:
            print(text, flush=True)

    show(f"\n# OSU MPI {test.title} Test v7.5")
    show(f"# Language: Python, mpi4py {__version__}")
    show(f"# Datatype: {test.datatype}.")
    heads = (*columns, *(("Validation",) if options.validation else ()))
    show(f"{'# Size':<10}" + "".join(f"{head:>{12 if head == 'Iterations' else WIDTH}}" for head in heads))
    size = options.least
    while size <= options.most:
        if size >= test.element:
            count, warmup = test.large if size > LARGE_FROM else test.small
            count = options.iterations or count
            warmup = warmup if options.warmup is None else options.warmup
            values, mine = test.measure(options, size, count, warmup)
            right = all(WORLD.allgather(mine))
            line = f"{size:<10}{values[0]:>{WIDTH}.{options.digits}f}"
            if options.full and len(values) > 1:
                line += "".join(f"{value:>{WIDTH}.{options.digits}f}" for value in values[1:3])
                line += f"{values[3]:>12.0f}"
            show(line + (f"{'Pass' if right else 'Fail':>{WIDTH}}" if options.validation else ""))
            if not right:
                if rank == 0:
                    text = f"DATA VALIDATION ERROR: {name} exited with status 1 on message size {size}."
                    print(text, file=sys.stderr, flush=True)
                return 1
        size *= 2
    if options.facts:
        show(describe_library())
    return 0


def main(arguments: list[str]) -> int:
    """Choose the program by the first argument."""
    if not arguments or arguments[0] not in TESTS:
        if WORLD.Get_rank() == 0:
            print(f"osu.py: name a test: {' '.join(TESTS)}", file=sys.stderr)
        return 1
    name = arguments[0]
    options: Any = parse_arguments(name, arguments[1:])
    ranks = WORLD.Get_size()
    if (ranks != 2 and name != "osu_allreduce") or ranks < 2:
        if WORLD.Get_rank() == 0:
            number = "at least two" if name == "osu_allreduce" else "exactly two"
            print(f"This test requires {number} processes", file=sys.stderr)
        return 1
    return run(name, options)


if __name__ == "__main__":
    try:
        STATUS = main(sys.argv[1:])
        WORLD.Barrier()  # some MPIs hang in their end where rank 0 comes later, as it has printed
    except Exception:
        traceback.print_exc()
        WORLD.Abort(1)  # the other ranks would wait for this one
    sys.exit(STATUS)
