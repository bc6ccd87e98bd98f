/*
 * One program of many names:
 *
 *     osu_latency [OPTIONS]        by a link of that name
 *     osu osu_latency [OPTIONS]    without one
 */
#include "../common/ending.h"
#include "osu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct program programs[] = {
    { "osu_latency", "MPI Latency", &latency_family, LATENCY },
    { "osu_multi_lat", "MPI Multi Latency", &multi_latency_family, MULTI_LATENCY },
    { "osu_bw", "MPI Bandwidth", &bandwidth_family, BANDWIDTH },
    { "osu_bibw", "MPI Bi-Directional Bandwidth", &bandwidth_family, BOTH_WAYS },
    { "osu_mbw_mr", "MPI Multiple Bandwidth / Message Rate", &rate_family, RATE },
    { "osu_allgather", "MPI Allgather Latency", &collective_family, ALLGATHER },
    { "osu_allgatherv", "MPI Allgatherv Latency", &collective_family, ALLGATHERV },
    { "osu_allreduce", "MPI Allreduce Latency", &collective_family, ALLREDUCE },
    { "osu_alltoall", "MPI All-to-All Personalized Exchange Latency", &collective_family, ALLTOALL },
    { "osu_alltoallv", "MPI All-to-Allv Personalized Exchange Latency", &collective_family, ALLTOALLV },
    { "osu_alltoallw", "MPI All-to-Allw Personalized Exchange Latency", &collective_family, ALLTOALLW },
    { "osu_barrier", "MPI Barrier Latency", &barrier_family, BARRIER },
    { "osu_bcast", "MPI Broadcast Latency", &collective_family, BCAST },
    { "osu_gather", "MPI Gather Latency", &collective_family, GATHER },
    { "osu_gatherv", "MPI Gatherv Latency", &collective_family, GATHERV },
    { "osu_reduce", "MPI Reduce Latency", &collective_family, REDUCE },
    { "osu_reduce_scatter", "MPI Reduce_scatter Latency", &collective_family, REDUCE_SCATTER },
    { "osu_reduce_scatter_block", "MPI Reduce_scatter_block Latency", &collective_family, REDUCE_SCATTER_BLOCK },
    { "osu_scatter", "MPI Scatter Latency", &collective_family, SCATTER },
    { "osu_scatterv", "MPI Scatterv Latency", &collective_family, SCATTERV },
    { "osu_iallgather", "MPI Non-blocking Allgather Latency", &nonblocking_family, ALLGATHER },
    { "osu_iallgatherv", "MPI Non-blocking Allgatherv Latency", &nonblocking_family, ALLGATHERV },
    { "osu_iallreduce", "MPI Non-blocking Allreduce Latency", &nonblocking_family, ALLREDUCE },
    { "osu_ialltoall", "MPI Non-blocking All-to-All Latency", &nonblocking_family, ALLTOALL },
    { "osu_ialltoallv", "MPI Non-blocking All-to-Allv Personalized Exchange Latency", &nonblocking_family, ALLTOALLV },
    { "osu_ialltoallw", "MPI Non-blocking All-to-Allw Personalized Exchange Latency", &nonblocking_family, ALLTOALLW },
    { "osu_ibarrier", "MPI Non-blocking Barrier Latency", &nonblocking_barrier_family, BARRIER },
    { "osu_ibcast", "MPI Non-Blocking Broadcast Latency", &nonblocking_family, BCAST },
    { "osu_igather", "MPI Non-blocking Gather Latency", &nonblocking_family, GATHER },
    { "osu_igatherv", "MPI Non-blocking Gatherv Latency", &nonblocking_family, GATHERV },
    { "osu_ireduce", "MPI Non-blocking Reduce Latency", &nonblocking_family, REDUCE },
    { "osu_ireduce_scatter", "MPI Non-blocking Reduce_scatter Latency", &nonblocking_family, REDUCE_SCATTER },
    { "osu_ireduce_scatter_block", "MPI Non-blocking Reduce_scatter_block Latency", &nonblocking_family,
      REDUCE_SCATTER_BLOCK },
    { "osu_iscatter", "MPI Non-blocking Scatter Latency", &nonblocking_family, SCATTER },
    { "osu_iscatterv", "MPI Non-blocking Scatterv Latency", &nonblocking_family, SCATTERV },
    { "osu_put_latency", "MPI_Put Latency", &one_sided_latency_family, PUT },
    { "osu_put_bw", "MPI_Put Bandwidth", &one_sided_bandwidth_family, PUT_WINDOW },
    { "osu_put_bibw", "MPI_Put Bi-directional Bandwidth", &one_sided_bandwidth_family, PUT_BOTH_WAYS },
    { "osu_get_latency", "MPI_Get latency", &one_sided_latency_family, GET },
    { "osu_get_bw", "MPI_Get Bandwidth", &one_sided_bandwidth_family, GET_WINDOW },
    { "osu_acc_latency", "MPI_Accumulate latency", &one_sided_typed_family, ACCUMULATE },
    { "osu_get_acc_latency", "MPI_Get_accumulate latency", &one_sided_latency_family, GET_ACCUMULATE },
    { "osu_fop_latency", "MPI_Fetch_and_op latency", &one_sided_typed_family, FETCH_AND_OP },
    { "osu_cas_latency", "MPI_Compare_and_swap latency", &one_sided_typed_family, COMPARE_AND_SWAP },
    { "osu_init", "MPI Init", &init_family, 0 },
    { "osu_hello", "MPI Hello World", &hello_family, 0 },
};
#define PROGRAMS (sizeof programs / sizeof programs[0])

static const struct program *find_program(const char *name)
{
    for (size_t i = 0; i < PROGRAMS; i++)
        if (strcmp(programs[i].name, name) == 0)
            return &programs[i];
    return NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static int refuse_ranks(const struct setting *setting)
{
    enum ranks ranks = setting->program->family->ranks;
    if (ranks == RANKS_TWO && setting->size != 2) {
        if (setting->rank == 0)
            fprintf(stderr, "This test requires exactly two processes\n");
        return 1;
    }
    if (ranks == RANKS_TWO_OR_MORE && setting->size < 2) {
        if (setting->rank == 0)
            fprintf(stderr, "This test requires at least two processes\n");
        return 1;
    }
    return 0;
}

static void print_version(const struct setting *setting)
{
    print_title(setting, 0);
    if (setting->rank == 0)
        printf("# bareboat's own implementation of the method and the format of OSU 7.5; no code of OSU's\n");
}

static int run(struct setting *setting, int argc, char **argv)
{
    struct options options;
    char wrong[256] = "";
    enum parsed parsed = parse_options(argc, argv, setting->program, &options, wrong, sizeof wrong);
    int status = 0;
    setting->options = &options;
    if (parsed == PARSED_VERSION) {
        print_version(setting);
        return 0;
    }
    if (parsed != PARSED_RUN) {
        if (setting->rank == 0) {
            if (parsed == PARSED_WRONG)
                fprintf(stderr, "%s\n\n", wrong);
            print_usage(setting->program);
        }
        return parsed == PARSED_HELP ? 0 : 1;
    }
    if (refuse_ranks(setting) != 0)
        return 1;
    begin_facts();
    status = setting->program->family->run(setting);
    if (options.facts && status == 0)
        print_facts(setting);
    return status;
}

/* Itself times MPI_Init, where its options are right. */
static int run_init(struct setting *setting, int argc, char **argv)
{
    struct options options;
    char wrong[256] = "";
    if (parse_options(argc, argv, setting->program, &options, wrong, sizeof wrong) != PARSED_RUN)
        return -1;
    setting->options = &options;
    return init_family.run(setting);
}

int main(int argc, char **argv)
{
    struct setting setting = { .program = find_program(base_name(argv[0])) };
    int status = 0;

    if (setting.program == NULL && argc > 1) {
        argc--;
        argv++;
        setting.program = find_program(argv[0]);
    }
    if (setting.program == NULL) {
        fprintf(stderr, "osu: name a test:");
        for (size_t i = 0; i < PROGRAMS; i++)
            fprintf(stderr, " %s", programs[i].name);
        fprintf(stderr, "\n");
        return 1;
    }
    if (setting.program->family == &init_family && run_init(&setting, argc, argv) == 0) {
        finalize_mpi(0);
        return 0;
    }
    optind = 0; /* getopt(3) starts again */
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &setting.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &setting.size);
    status = run(&setting, argc, argv);
    finalize_mpi(status);
    return status;
}
