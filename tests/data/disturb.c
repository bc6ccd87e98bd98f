/*
 * Preloaded, it has rank 0 send wrong data by one MPI function, the one that DISTURB names: a flipped bit, or, where it
 * reads another rank's memory, what its own memory holds.  Types of more than 4 bytes are left alone: with these the
 * programs count what is wrong.
 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

static int is_wanted(const char *function)
{
    int rank = -1;
    const char *wanted = getenv("DISTURB");
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank == 0 && wanted != NULL && strcmp(wanted, function) == 0;
}

/* Not freed: what is sent must stay until nobody knows when. */
static const void *spoil(const char *function, const void *data, int count, MPI_Datatype type)
{
    int size = 0;
    char *copy = NULL;
    PMPI_Type_size(type, &size);
    if (count == 0 || size > 4 || !is_wanted(function))
        return data;
    copy = malloc((size_t)count * (size_t)size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, (size_t)count * (size_t)size);
    copy[count * size - 1] ^= 0x41; /* also seen in the exponent of a float */
    return copy;
}

int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    return PMPI_Send(spoil("MPI_Send", data, count, type), count, type, to, tag, comm);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    return PMPI_Isend(spoil("MPI_Isend", data, count, type), count, type, to, tag, comm, request);
}

int MPI_Allreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    return PMPI_Allreduce(spoil("MPI_Allreduce", data, count, type), sum, count, type, op, comm);
}

int MPI_Iallreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request)
{
    return PMPI_Iallreduce(spoil("MPI_Iallreduce", data, count, type), sum, count, type, op, comm, request);
}

int MPI_Scatter(const void *data, int count, MPI_Datatype type, void *part, int part_count, MPI_Datatype part_type,
                int root, MPI_Comm comm)
{
    return PMPI_Scatter(spoil("MPI_Scatter", data, count, type), count, type, part, part_count, part_type, root, comm);
}

int MPI_Put(const void *data, int count, MPI_Datatype type, int to, MPI_Aint at, int there, MPI_Datatype as, MPI_Win window)
{
    return PMPI_Put(spoil("MPI_Put", data, count, type), count, type, to, at, there, as, window);
}

int MPI_Accumulate(const void *data, int count, MPI_Datatype type, int to, MPI_Aint at, int there, MPI_Datatype as,
                   MPI_Op op, MPI_Win window)
{
    return PMPI_Accumulate(spoil("MPI_Accumulate", data, count, type), count, type, to, at, there, as, op, window);
}

int MPI_Compare_and_swap(const void *data, const void *compared, void *result, MPI_Datatype type, int to, MPI_Aint at,
                         MPI_Win window)
{
    return PMPI_Compare_and_swap(spoil("MPI_Compare_and_swap", data, 1, type), compared, result, type, to, at, window);
}

int MPI_Get(void *data, int count, MPI_Datatype type, int from, MPI_Aint at, int there, MPI_Datatype as, MPI_Win window)
{
    return PMPI_Get(data, count, type, is_wanted("MPI_Get") ? 0 : from, at, there, as, window);
}
