/*
 * One line a rank: who it is, where it runs, and which MPI library answers.
 *
 *     rank R of N on HOST library FIRST-LINE-OF-MPI_Get_library_version
 *
 * --cma       the first rank of each node reads a word out of every other rank of that node by
 *             process_vm_readv(2) and prints "cma ok ...", "cma none ..." or "cma failed ...".
 * --env NAME  each rank prints also "rank R env NAME=VALUE" or "rank R env NAME is not set".
 *
 * One file without a header of ours: it is compiled on hosts and in images, by whatever mpicc is there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOST_ROOM 256
/* The header's own limit is 256 in Open MPI, but the library that answers may be another one than the header's:
 * this program is there to find that out.  8192 is the largest limit of the known MPIs. */
#define VERSION_ROOM (MPI_MAX_LIBRARY_VERSION_STRING > 8192 ? MPI_MAX_LIBRARY_VERSION_STRING : 8192)

struct neighbour {
    int64_t pid;
    uint64_t address;
    uint64_t word;
};

static void get_host(char host[HOST_ROOM])
{
    if (gethostname(host, HOST_ROOM) != 0)
        strcpy(host, "unknown");
    host[HOST_ROOM - 1] = '\0';
}

/* Cuts at the first line; MPICH puts tabs inside it, which would break columns. */
static void get_library(char version[VERSION_ROOM])
{
    int length = 0;
    memset(version, 0, VERSION_ROOM);
    MPI_Get_library_version(version, &length);
    version[VERSION_ROOM - 1] = '\0';
    version[strcspn(version, "\r\n")] = '\0';
    for (char *c = version; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
}

static void read_neighbours(const struct neighbour *all, int count, int rank, const char *host)
{
    int reached = 0;
    for (int i = 1; i < count; i++) {
        uint64_t word = 0;
        struct iovec here = { .iov_base = &word, .iov_len = sizeof word };
        struct iovec there = { .iov_base = (void *)(uintptr_t)all[i].address, .iov_len = sizeof word };
        ssize_t got = process_vm_readv((pid_t)all[i].pid, &here, 1, &there, 1, 0);
        if (got < 0) {
            int error = errno;
            printf("cma failed errno %d (%s) on %s: rank %d reading process %lld\n", error, strerror(error), host, rank,
                   (long long)all[i].pid);
            fflush(stdout);
            return;
        }
        if (got != (ssize_t)sizeof word || word != all[i].word) {
            printf("cma failed wrong word on %s: rank %d reading process %lld\n", host, rank, (long long)all[i].pid);
            fflush(stdout);
            return;
        }
        reached++;
    }
    if (reached == 0)
        printf("cma none on %s: rank %d has no neighbour\n", host, rank);
    else
        printf("cma ok on %s: rank %d read %d neighbours\n", host, rank, reached);
    fflush(stdout);
}

static int try_cma(int rank, const char *host)
{
    MPI_Comm node = MPI_COMM_NULL;
    int node_rank = 0;
    int node_size = 0;
    struct neighbour mine;
    struct neighbour *all = NULL;
    volatile uint64_t word = 0x6261726562000000u + (uint64_t)rank;

    /* Under Yama's ptrace_scope 1 a process must allow its siblings; MPI libraries do the same. */
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &node_rank);
    MPI_Comm_size(node, &node_size);
    mine.pid = (int64_t)getpid();
    mine.address = (uint64_t)(uintptr_t)&word;
    mine.word = word;
    all = calloc((size_t)node_size, sizeof *all);
    if (all == NULL) {
        fprintf(stderr, "mpi_hello: rank %d: no memory for %d neighbours\n", rank, node_size);
        return -1;
    }
    MPI_Gather(&mine, (int)sizeof mine, MPI_BYTE, all, (int)sizeof mine, MPI_BYTE, 0, node);
    if (node_rank == 0)
        read_neighbours(all, node_size, rank, host);
    MPI_Barrier(node); /* the word must stay on its stack until it is read */
    free(all);
    MPI_Comm_free(&node);
    return 0;
}

static void print_variable(int rank, const char *name)
{
    const char *value = getenv(name);
    if (value == NULL)
        printf("rank %d env %s is not set\n", rank, name);
    else
        printf("rank %d env %s=%s\n", rank, name, value);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static char version[VERSION_ROOM];
    char host[HOST_ROOM];
    int rank = 0;
    int size = 0;
    int status = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    get_host(host);
    get_library(version);
    printf("rank %d of %d on %s library %s\n", rank, size, host, version);
    fflush(stdout);
    for (int i = 1; i < argc && status == 0; i++) {
        if (strcmp(argv[i], "--cma") == 0) {
            status = try_cma(rank, host) == 0 ? 0 : 1;
        } else if (strcmp(argv[i], "--env") == 0 && i + 1 < argc) {
            print_variable(rank, argv[++i]);
        } else {
            if (rank == 0)
                fprintf(stderr, "usage: mpi_hello [--cma] [--env NAME]...\n");
            status = 2;
        }
    }
    if (status == 1)
        MPI_Abort(MPI_COMM_WORLD, status);
    MPI_Finalize();
    return status;
}
