/* osu_init and osu_hello: what it costs to start, and that it works. */
#include "osu.h"

#include <stdio.h>
#include <time.h>

static long read_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now); /* MPI_Wtime may be called only behind MPI_Init */
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static int run_init(const struct setting *setting)
{
    long start = read_clock();
    long mine = 0;
    long least = 0;
    long most = 0;
    long sum = 0;
    int rank = 0;
    int size = 0;
    MPI_Init(NULL, NULL);
    mine = (read_clock() - start) / 1000000L;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Reduce(&mine, &least, 1, MPI_LONG, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &most, 1, MPI_LONG, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("# OSU %s Test v7.5\nnprocs: %d, min: %ld ms, max: %ld ms, avg: %ld ms\n", setting->program->title, size,
               least, most, sum / size);
    MPI_Finalize();
    return 0;
}

static int run_hello(const struct setting *setting)
{
    print_title(setting, 0);
    if (setting->rank == 0)
        printf("This is a test with %d processes\n", setting->size);
    return 0;
}

const struct family init_family = { .letters = "", .max_bytes = 1, .run = run_init };
const struct family hello_family = { .letters = "", .max_bytes = 1, .run = run_hello };
