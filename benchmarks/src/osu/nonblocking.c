/*
 * The nonblocking collectives: how much of a call's time is left for computing.
 *
 * First the call with its wait alone ("Pure Comm.").  Then the call, a computation of that length with calls of MPI_Test
 * spread through it, and the wait:
 *
 *     overlap = 100 - 100 * (overall - computation) / pure, not below 0
 *
 * Every column but the pure one's minimum and maximum is a mean over iterations and ranks.
 */
#include "osu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORDER 25

struct computation {
    float matrix[ORDER][ORDER];
    float vector[ORDER];
    float result[ORDER];
};

/* Seconds of the parts of one iteration. */
struct parts {
    double overall;
    double compute;
    double start;
    double test;
    double wait;
};

struct nonblocking {
    const struct options *options;
    struct call call;
    struct computation computation;
    double *samples;
};

enum { OVERALL, COMPUTE, START, TEST, WAIT, PURE, LEAST, MOST, OVERLAP, FIGURES };

static const struct column all_columns[FIGURES] = {
    [OVERALL] = { "Overall(us)", 0 },   [COMPUTE] = { "Compute(us)", 0 },    [START] = { "Coll. Init(us)", 0 },
    [TEST] = { "MPI_Test(us)", 0 },     [WAIT] = { "MPI_Wait(us)", 0 },      [PURE] = { "Pure Comm.(us)", 0 },
    [LEAST] = { "Min Comm.(us)", 0 },   [MOST] = { "Max Comm.(us)", 0 },     [OVERLAP] = { "Overlap(%)", 0 },
};
static const int few_figures[] = { OVERALL, COMPUTE, PURE, OVERLAP };
#define FEW (sizeof few_figures / sizeof few_figures[0])

static void multiply(struct computation *c)
{
    for (int i = 0; i < ORDER; i++)
        for (int j = 0; j < ORDER; j++)
            c->result[i] += c->matrix[i][j] * c->vector[j];
}

/* Computes for so many seconds, in one part more than there are calls of MPI_Test. */
static void compute(struct nonblocking *test, double seconds, MPI_Request *request, struct parts *parts)
{
    int calls = test->options->tests;
    for (int part = 0; part <= calls; part++) {
        double start = MPI_Wtime();
        double now = start;
        do {
            multiply(&test->computation);
            now = MPI_Wtime();
        } while (now - start < seconds / (calls + 1));
        parts->compute += now - start;
        if (part < calls) {
            int done = 0;
            MPI_Test(request, &done, MPI_STATUS_IGNORE);
            parts->test += MPI_Wtime() - now;
        }
    }
}

static double time_pure(struct nonblocking *test, struct counts counts)
{
    const struct call *call = &test->call;
    double total = 0.0;
    MPI_Barrier(MPI_COMM_WORLD);
    for (long i = 0; i < counts.warmup + counts.iterations; i++) {
        MPI_Request request = MPI_REQUEST_NULL;
        double start = MPI_Wtime();
        call->operation->start(call, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
        if (i >= counts.warmup)
            total += MPI_Wtime() - start;
        MPI_Barrier(MPI_COMM_WORLD);
    }
    return total / (double)counts.iterations;
}

static struct parts time_overlapped(struct nonblocking *test, double seconds)
{
    struct parts parts = { 0 };
    MPI_Request request = MPI_REQUEST_NULL;
    double begin = MPI_Wtime();
    double waiting = 0.0;
    double end = 0.0;
    test->call.operation->start(&test->call, &request);
    parts.start = MPI_Wtime() - begin;
    compute(test, seconds, &request, &parts);
    waiting = MPI_Wtime();
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    end = MPI_Wtime();
    parts.wait = end - waiting;
    parts.overall = end - begin;
    return parts;
}

static void gather_figures(const struct nonblocking *test, const struct parts *total, double pure, long iterations,
                           double *figures)
{
    const double mine[] = { [OVERALL] = total->overall, [COMPUTE] = total->compute, [START] = total->start,
                            [TEST] = total->test,       [WAIT] = total->wait };
    double least = 0.0;
    double most = 0.0;
    for (int i = OVERALL; i <= WAIT; i++)
        reduce_figures(mine[i] * 1e6 / (double)iterations, test->call.size, &figures[i], &least, &most);
    reduce_figures(pure * 1e6, test->call.size, &figures[PURE], &figures[LEAST], &figures[MOST]);
    figures[OVERLAP] = 100.0 - 100.0 * (figures[OVERALL] - figures[COMPUTE]) / figures[PURE];
    if (!(figures[OVERLAP] > 0.0))
        figures[OVERLAP] = 0.0;
}

static void measure(void *data, enum type type, size_t bytes, struct counts counts, struct row *row)
{
    struct nonblocking *test = data;
    const struct options *options = test->options;
    struct parts total = { 0 };
    double figures[FIGURES] = { 0 };
    double pure = 0.0;
    shape_call(&test->call, type, bytes);
    pure = time_pure(test, counts);
    MPI_Barrier(MPI_COMM_WORLD);
    for (long i = 0; i < counts.warmup + counts.iterations; i++) {
        struct parts parts;
        if (options->validate)
            prepare_data(&test->call, options->untimed, i);
        parts = time_overlapped(test, pure);
        if (i >= counts.warmup) {
            total.overall += parts.overall;
            total.compute += parts.compute;
            total.start += parts.start;
            total.test += parts.test;
            total.wait += parts.wait;
            if (test->samples != NULL)
                test->samples[i - counts.warmup] = parts.overall * 1e6;
        }
        if (options->validate)
            row->wrong += check_data(&test->call, i);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    gather_figures(test, &total, pure, counts.iterations, figures);
    for (size_t i = 0; i < (options->full ? (size_t)FIGURES : FEW); i++)
        row->values[i] = figures[options->full ? (int)i : few_figures[i]];
    find_percentiles(options, test->samples, counts.iterations, row->tails);
    for (int i = 0; i < options->percentile_count; i++) {
        double least = 0.0;
        double most = 0.0;
        reduce_figures(row->tails[i], test->call.size, &row->tails[i], &least, &most);
    }
    row->wrong = add_over_ranks(row->wrong);
}

static int run(const struct setting *setting)
{
    struct column few[FEW];
    struct nonblocking test = { .options = setting->options, .samples = make_samples(setting->options) };
    struct table table = { .columns = all_columns, .column_count = FIGURES, .tail_name = "Lat(us)", .measure = measure };
    int status = 0;
    for (size_t i = 0; i < FEW; i++)
        few[i] = all_columns[few_figures[i]];
    if (!setting->options->full) {
        table.columns = few;
        table.column_count = FEW;
    }
    for (int i = 0; i < ORDER; i++) {
        test.computation.vector[i] = 1.0f;
        for (int j = 0; j < ORDER; j++)
            test.computation.matrix[i][j] = 1.0f;
    }
    open_call(setting, &test.call);
    table.sums = test.call.operation->sums != SUMS_NOT;
    table.usual = table.sums ? TYPE_INT : TYPE_CHAR;
    table.nameless = table.without_sizes = !test.call.operation->has_data;
    table.test = &test;
    print_title(setting, 1);
    if (setting->rank == 0)
        printf("# Overall = Coll. Init + Compute + MPI_Test + MPI_Wait\n\n");
    status = print_table(setting, &table);
    close_call(&test.call);
    free(test.samples);
    return status;
}

const struct family nonblocking_family = { .letters = "fm:i:x:t:c::u:T:z::",
                                           .ranks = RANKS_TWO_OR_MORE,
                                           .max_bytes = 1u << 20,
                                           .small = { 1000, 100 },
                                           .large = { 100, 10 },
                                           .run = run };
const struct family nonblocking_barrier_family = { .letters = "fi:x:t:z::",
                                                   .ranks = RANKS_TWO_OR_MORE,
                                                   .max_bytes = 1,
                                                   .small = { 1000, 100 },
                                                   .large = { 100, 10 },
                                                   .run = run };
