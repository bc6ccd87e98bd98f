/* The collectives, each in its blocking and its nonblocking form. */
#include "osu.h"

#define ROOT 0
#define WORLD MPI_COMM_WORLD

static void start_allgather(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Allgather(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, WORLD);
    else
        MPI_Iallgather(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, WORLD, request);
}

static void start_allgatherv(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Allgatherv(c->send, c->count, c->datatype, c->receive, c->counts, c->offsets, c->datatype, WORLD);
    else
        MPI_Iallgatherv(c->send, c->count, c->datatype, c->receive, c->counts, c->offsets, c->datatype, WORLD, request);
}

static void start_allreduce(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Allreduce(c->send, c->receive, c->count, c->datatype, MPI_SUM, WORLD);
    else
        MPI_Iallreduce(c->send, c->receive, c->count, c->datatype, MPI_SUM, WORLD, request);
}

static void start_alltoall(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Alltoall(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, WORLD);
    else
        MPI_Ialltoall(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, WORLD, request);
}

static void start_alltoallv(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Alltoallv(c->send, c->counts, c->offsets, c->datatype, c->receive, c->counts, c->offsets, c->datatype, WORLD);
    else
        MPI_Ialltoallv(c->send, c->counts, c->offsets, c->datatype, c->receive, c->counts, c->offsets, c->datatype, WORLD,
                       request);
}

static void start_alltoallw(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Alltoallw(c->send, c->counts, c->byte_offsets, c->datatypes, c->receive, c->counts, c->byte_offsets,
                      c->datatypes, WORLD);
    else
        MPI_Ialltoallw(c->send, c->counts, c->byte_offsets, c->datatypes, c->receive, c->counts, c->byte_offsets,
                       c->datatypes, WORLD, request);
}

static void start_barrier(const struct call *c, MPI_Request *request)
{
    (void)c;
    if (request == NULL)
        MPI_Barrier(WORLD);
    else
        MPI_Ibarrier(WORLD, request);
}

static void start_bcast(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Bcast(c->receive, c->count, c->datatype, ROOT, WORLD);
    else
        MPI_Ibcast(c->receive, c->count, c->datatype, ROOT, WORLD, request);
}

static void start_gather(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Gather(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD);
    else
        MPI_Igather(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD, request);
}

static void start_gatherv(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Gatherv(c->send, c->count, c->datatype, c->receive, c->counts, c->offsets, c->datatype, ROOT, WORLD);
    else
        MPI_Igatherv(c->send, c->count, c->datatype, c->receive, c->counts, c->offsets, c->datatype, ROOT, WORLD, request);
}

static void start_reduce(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Reduce(c->send, c->receive, c->count, c->datatype, MPI_SUM, ROOT, WORLD);
    else
        MPI_Ireduce(c->send, c->receive, c->count, c->datatype, MPI_SUM, ROOT, WORLD, request);
}

static void start_reduce_scatter(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Reduce_scatter(c->send, c->receive, c->counts, c->datatype, MPI_SUM, WORLD);
    else
        MPI_Ireduce_scatter(c->send, c->receive, c->counts, c->datatype, MPI_SUM, WORLD, request);
}

static void start_reduce_scatter_block(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Reduce_scatter_block(c->send, c->receive, c->counts[0], c->datatype, MPI_SUM, WORLD);
    else
        MPI_Ireduce_scatter_block(c->send, c->receive, c->counts[0], c->datatype, MPI_SUM, WORLD, request);
}

static void start_scatter(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Scatter(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD);
    else
        MPI_Iscatter(c->send, c->count, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD, request);
}

static void start_scatterv(const struct call *c, MPI_Request *request)
{
    if (request == NULL)
        MPI_Scatterv(c->send, c->counts, c->offsets, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD);
    else
        MPI_Iscatterv(c->send, c->counts, c->offsets, c->datatype, c->receive, c->count, c->datatype, ROOT, WORLD, request);
}

const struct operation operations[OPERATIONS] = {
    [ALLGATHER] = { .start = start_allgather, .receives_blocks = 1, .has_data = 1 },
    [ALLGATHERV] = { .start = start_allgatherv, .receives_blocks = 1, .has_data = 1 },
    [ALLREDUCE] = { .start = start_allreduce, .sums = SUMS_WHOLE, .has_data = 1 },
    [ALLTOALL] = { .start = start_alltoall, .sends_blocks = 1, .receives_blocks = 1, .has_data = 1 },
    [ALLTOALLV] = { .start = start_alltoallv, .sends_blocks = 1, .receives_blocks = 1, .has_data = 1 },
    [ALLTOALLW] = { .start = start_alltoallw, .sends_blocks = 1, .receives_blocks = 1, .has_data = 1 },
    [BARRIER] = { .start = start_barrier },
    [BCAST] = { .start = start_bcast, .flow = FLOW_FROM_ROOT, .in_place = 1, .has_data = 1 },
    [GATHER] = { .start = start_gather, .flow = FLOW_TO_ROOT, .receives_blocks = 1, .has_data = 1 },
    [GATHERV] = { .start = start_gatherv, .flow = FLOW_TO_ROOT, .receives_blocks = 1, .has_data = 1 },
    [REDUCE] = { .start = start_reduce, .flow = FLOW_TO_ROOT, .sums = SUMS_WHOLE, .has_data = 1 },
    [REDUCE_SCATTER] = { .start = start_reduce_scatter, .sums = SUMS_SPLIT, .has_data = 1 },
    [REDUCE_SCATTER_BLOCK] = { .start = start_reduce_scatter_block, .sums = SUMS_SPLIT_EVENLY, .has_data = 1 },
    [SCATTER] = { .start = start_scatter, .flow = FLOW_FROM_ROOT, .sends_blocks = 1, .has_data = 1 },
    [SCATTERV] = { .start = start_scatterv, .flow = FLOW_FROM_ROOT, .sends_blocks = 1, .has_data = 1 },
};
