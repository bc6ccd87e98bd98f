/*
 * Between an MPI program and MPI: alters one message, by so little that only a verification notices.
 *
 *     DISTURB=FUNCTION:CALL   the CALLth call of FUNCTION on rank 0, from 1
 *
 * Doubles become larger by one part in 10^5, the last of the integers by 1.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_turn(const char *function, int *calls)
{
    const char *wanted = getenv("DISTURB");
    size_t length = strlen(function);
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (*calls)++;
    if (rank != 0 || wanted == NULL || strncmp(wanted, function, length) != 0 || wanted[length] != ':')
        return 0;
    return atoi(wanted + length + 1) == *calls;
}

static void disturb(void *data, int count, MPI_Datatype type)
{
    if (type == MPI_DOUBLE) {
        double *values = data;
        for (int i = 0; i < count; i++)
            values[i] *= 1.0 + 1e-5;
        fprintf(stderr, "disturbed %d doubles\n", count);
    } else if (type == MPI_INT) {
        ((int *)data)[count - 1] ^= 1;
        fprintf(stderr, "disturbed 1 of %d integers\n", count);
    }
}

int MPI_Allreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm communicator)
{
    static int calls;
    int status = PMPI_Allreduce(send, receive, count, type, op, communicator);
    if (is_turn("Allreduce", &calls))
        disturb(receive, count, type);
    return status;
}

int MPI_Alltoall(const void *send, int send_count, MPI_Datatype send_type, void *receive, int count, MPI_Datatype type,
                 MPI_Comm communicator)
{
    static int calls;
    int status = PMPI_Alltoall(send, send_count, send_type, receive, count, type, communicator);
    if (is_turn("Alltoall", &calls))
        disturb(receive, count, type);
    return status;
}

int MPI_Alltoallv(const void *send, const int *send_counts, const int *send_starts, MPI_Datatype send_type,
                  void *receive, const int *counts, const int *starts, MPI_Datatype type, MPI_Comm communicator)
{
    static int calls;
    int status = PMPI_Alltoallv(send, send_counts, send_starts, send_type, receive, counts, starts, type, communicator);
    if (is_turn("Alltoallv", &calls))
        disturb(receive, counts[0], type);
    return status;
}

/* A blocking send: it is a copy that is altered, and it is gone when this returns. */
int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm communicator)
{
    static int calls;
    if (!is_turn("Send", &calls) || type != MPI_DOUBLE)
        return PMPI_Send(data, count, type, to, tag, communicator);
    double *copy = malloc((size_t)count * sizeof *copy);
    if (copy == NULL)
        abort();
    memcpy(copy, data, (size_t)count * sizeof *copy);
    disturb(copy, count, type);
    int status = PMPI_Send(copy, count, type, to, tag, communicator);
    free(copy);
    return status;
}
