/* osu_init and osu_hello: what it costs to start, and that it works. */
#include "osu.h"

#include <stdio.h>
#include <time.h>

#define NANOSECONDS 1000000L /* of a millisecond */

static long read_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now); /* MPI_Wtime may be called only behind MPI_Init */
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static int run_init(const struct setting *setting)
{
    const struct options *options = setting->options;
    int digits = choose_digits(options, 0);
    struct setting running = *setting;
    long start = read_clock();
    long mine = 0;
    long least = 0;
    long most = 0;
    long sum = 0;
    MPI_Init(NULL, NULL);
    mine = read_clock() - start;
    if (options->digits < 0) /* OSU's are whole milliseconds before they are averaged */
        mine = mine / NANOSECONDS * NANOSECONDS;
    MPI_Comm_rank(MPI_COMM_WORLD, &running.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &running.size);
    MPI_Reduce(&mine, &least, 1, MPI_LONG, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &most, 1, MPI_LONG, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    sum /= running.size;
    if (options->digits < 0)
        sum = sum / NANOSECONDS * NANOSECONDS;
    print_title(&running, 0);
    if (running.rank == 0)
        printf("nprocs: %d, min: %.*f ms, max: %.*f ms, avg: %.*f ms\n", running.size, digits,
               (double)least / NANOSECONDS, digits, (double)most / NANOSECONDS, digits, (double)sum / NANOSECONDS);
    if (options->facts)
        print_facts(&running);
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
