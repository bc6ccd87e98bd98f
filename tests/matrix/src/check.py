#!/usr/bin/python3
"""Does MPI work through mpi4py?  ``check.py FILE``: the same as check.c."""

import array
import sys

import mpi4py

mpi4py.rc.threads = False  # Open MPI 4 has one-sided operations over TCP for a single thread only

from mpi4py import MPI  # noqa: E402

COUNT = 1000
WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.Get_rank(), WORLD.Get_size()
NEXT, LAST = (RANK + 1) % SIZE, (RANK - 1) % SIZE


def say(text: str) -> None:
    print(f"rank {RANK} {text}", flush=True)


def expect(right: bool, what: str) -> None:
    if not right:
        print(f"rank {RANK}: wrong: {what}", file=sys.stderr, flush=True)
        WORLD.Abort(3)


def pass_around() -> None:
    mine = array.array("i", range(RANK * COUNT, (RANK + 1) * COUNT))
    theirs = array.array("i", [0] * COUNT)
    status = MPI.Status()
    WORLD.Sendrecv([mine, MPI.INT], NEXT, 7, [theirs, MPI.INT], MPI.ANY_SOURCE, MPI.ANY_TAG, status)
    expect((status.Get_source(), status.Get_tag()) == (LAST, 7), "source or tag of a message")
    expect(status.Get_count(MPI.INT) == COUNT, "length of a message")
    expect(list(theirs) == list(range(LAST * COUNT, (LAST + 1) * COUNT)), "content of a message")
    expect(WORLD.sendrecv({"from": RANK}, NEXT, source=LAST) == {"from": LAST}, "a pickled message")
    say("part p2p ok")


def return_errors() -> None:
    try:
        WORLD.Send([array.array("i", [1]), MPI.INT], SIZE + 5)
    except MPI.Exception as error:
        expect(error.Get_error_class() == MPI.ERR_RANK, "class of an error")
    else:
        expect(False, "a message to nobody was sent")
    say("part error ok")


def reduce() -> None:
    expect(WORLD.allreduce(RANK + 1) == SIZE * (SIZE + 1) // 2, "sum of a reduction")
    largest = array.array("i", [RANK])
    WORLD.Allreduce(MPI.IN_PLACE, [largest, MPI.INT], MPI.MAX)
    expect(largest[0] == SIZE - 1, "maximum of a reduction in place")
    say("part collective ok")


def put() -> None:
    memory = array.array("i", [-1] * COUNT)
    mine = array.array("i", [RANK + 100])  # must live until the second fence
    window = MPI.Win.Create(memory, 4, MPI.INFO_NULL, WORLD)
    window.Fence(MPI.MODE_NOPRECEDE)
    window.Put([mine, MPI.INT], NEXT)
    window.Fence(MPI.MODE_NOSUCCEED)
    window.Free()
    expect(memory[0] == LAST + 100, "what another rank has put")
    say("part one-sided ok")


def share(path: str) -> None:
    mine = array.array("i", [RANK + 2 * i for i in range(COUNT)])
    theirs = array.array("i", [0] * COUNT)
    file = MPI.File.Open(WORLD, path, MPI.MODE_CREATE | MPI.MODE_RDWR)
    file.Write_at_all(4 * COUNT * RANK, [mine, MPI.INT])
    file.Sync()
    WORLD.Barrier()
    file.Read_at_all(4 * COUNT * NEXT, [theirs, MPI.INT])
    expect(list(theirs) == [NEXT + 2 * i for i in range(COUNT)], "what another rank has written")
    file.Seek(0, MPI.SEEK_END)
    expect(file.Get_position() == 4 * COUNT * SIZE, "end of the shared file")
    file.Close()
    say("part io ok")


version = MPI.Get_library_version().splitlines()[0].replace("\t", " ")
say(f"of {SIZE} on {MPI.Get_processor_name()} library {version}")
pass_around()
return_errors()
reduce()
put()
share(sys.argv[1])
