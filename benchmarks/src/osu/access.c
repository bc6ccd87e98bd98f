/*
 * The calls of the one-sided tests under each way of synchronising, and their windows.
 *
 * flush, flush_local   one lock for all iterations; the call and the flush are one
 * lock, lock_all       lock, call, unlock
 * fence, pscw          latency: there and back; bandwidth: one epoch
 *
 * For bandwidth, an iteration is a window of calls, each to a place of its own.
 */
#include "one_sided.h"

#include <stdlib.h>
#include <string.h>

/*
 * Windows of MPI_Win_allocate get a multiple of this.  MPICH 4.0.2 finds a neighbour's window in shared memory as if its
 * size were a multiple of 16, and writes into the wrong one where it is not.
 */
#define WINDOW_UNIT 64

int is_active(const struct one_sided *test)
{
    return test->sync == SYNC_FENCE || test->sync == SYNC_PSCW;
}

int is_latency(const struct one_sided *test)
{
    return test->operation < PUT_WINDOW;
}

/* ---- calls ---- */

static void call_once(struct one_sided *test, int at)
{
    size_t place = (size_t)at * test->bytes;
    char *origin = test->origin + place;
    char *result = test->result + place;
    MPI_Aint there = test->base + (MPI_Aint)place;
    switch (test->operation) {
    case GET:
    case GET_WINDOW:
        MPI_Get(result, test->count, test->datatype, test->peer, there, test->count, test->datatype, test->window);
        return;
    case ACCUMULATE:
        MPI_Accumulate(origin, test->count, test->datatype, test->peer, there, test->count, test->datatype, MPI_SUM,
                       test->window);
        return;
    case GET_ACCUMULATE:
        MPI_Get_accumulate(origin, test->count, test->datatype, result, test->count, test->datatype, test->peer, there,
                           test->count, test->datatype, MPI_SUM, test->window);
        return;
    case FETCH_AND_OP:
        MPI_Fetch_and_op(origin, result, test->datatype, test->peer, there, MPI_SUM, test->window);
        return;
    case COMPARE_AND_SWAP:
        MPI_Compare_and_swap(origin, test->compared, result, test->datatype, test->peer, there, test->window);
        return;
    default:
        MPI_Put(origin, test->count, test->datatype, test->peer, there, test->count, test->datatype, test->window);
    }
}

static void call_all(struct one_sided *test)
{
    for (int i = 0; i < test->calls; i++)
        call_once(test, i);
}

/* ---- one iteration ---- */

void begin_passive(struct one_sided *test)
{
    if (test->rank == 0 && (test->sync == SYNC_FLUSH || test->sync == SYNC_FLUSH_LOCAL))
        MPI_Win_lock(MPI_LOCK_SHARED, test->peer, 0, test->window);
}

void end_passive(struct one_sided *test)
{
    if (test->rank == 0 && (test->sync == SYNC_FLUSH || test->sync == SYNC_FLUSH_LOCAL))
        MPI_Win_unlock(test->peer, test->window);
}

static void access_by_pscw(struct one_sided *test)
{
    MPI_Win_start(test->partner, 0, test->window);
    call_all(test);
    MPI_Win_complete(test->window);
}

static void expose_by_pscw(struct one_sided *test)
{
    MPI_Win_post(test->partner, 0, test->window);
    MPI_Win_wait(test->window);
}

static void iterate_pscw(struct one_sided *test, int there_and_back)
{
    if (test->both_ways) {
        MPI_Win_post(test->partner, 0, test->window);
        access_by_pscw(test);
        MPI_Win_wait(test->window);
    } else if (test->rank == 0) {
        access_by_pscw(test);
        if (there_and_back)
            expose_by_pscw(test);
    } else {
        expose_by_pscw(test);
        if (there_and_back)
            access_by_pscw(test);
    }
}

static void iterate_fence(struct one_sided *test, int there_and_back)
{
    MPI_Win_fence(0, test->window);
    if (test->both_ways || test->rank == 0)
        call_all(test);
    MPI_Win_fence(0, test->window);
    if (!there_and_back)
        return;
    if (test->rank == 1)
        call_all(test);
    MPI_Win_fence(0, test->window);
}

void iterate(struct one_sided *test)
{
    int there_and_back = is_latency(test);
    if (test->sync == SYNC_PSCW) {
        iterate_pscw(test, there_and_back);
    } else if (test->sync == SYNC_FENCE) {
        iterate_fence(test, there_and_back);
    } else if (test->rank == 0) {
        if (test->sync == SYNC_LOCK)
            MPI_Win_lock(MPI_LOCK_SHARED, test->peer, 0, test->window);
        else if (test->sync == SYNC_LOCK_ALL)
            MPI_Win_lock_all(0, test->window);
        call_all(test);
        if (test->sync == SYNC_LOCK)
            MPI_Win_unlock(test->peer, test->window);
        else if (test->sync == SYNC_LOCK_ALL)
            MPI_Win_unlock_all(test->window);
        else if (test->sync == SYNC_FLUSH)
            MPI_Win_flush(test->peer, test->window);
        else
            MPI_Win_flush_local(test->peer, test->window);
    }
}

/* ---- windows ---- */

void open_window(struct one_sided *test)
{
    MPI_Aint room = ((MPI_Aint)(test->bytes * (size_t)test->calls) + WINDOW_UNIT - 1) / WINDOW_UNIT * WINDOW_UNIT;
    MPI_Aint mine = 0;
    test->base = 0;
    if (test->memory == MEMORY_ALLOCATE) {
        MPI_Win_allocate(room, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &test->shared, &test->window);
        memset(test->shared, 0, (size_t)room);
        return;
    }
    test->shared = make_buffer((size_t)room, 0);
    if (test->memory == MEMORY_CREATE) {
        MPI_Win_create(test->shared, room, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &test->window);
        return;
    }
    MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &test->window);
    MPI_Win_attach(test->window, test->shared, room);
    MPI_Get_address(test->shared, &mine);
    MPI_Sendrecv(&mine, 1, MPI_AINT, test->peer, 0, &test->base, 1, MPI_AINT, test->peer, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
}

void close_window(struct one_sided *test)
{
    if (test->memory == MEMORY_DYNAMIC)
        MPI_Win_detach(test->window, test->shared);
    MPI_Win_free(&test->window);
    if (test->memory != MEMORY_ALLOCATE)
        free(test->shared);
}
