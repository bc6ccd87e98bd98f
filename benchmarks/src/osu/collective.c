/*
 * The blocking collectives: each call is timed for itself, with a barrier behind it that is not; a rank's figure is the
 * mean of its calls, and the table's the mean, least and greatest of the ranks.
 *
 * The size is that of one rank's block where blocks are moved, and of the whole vector where it is the same for all.
 */
#include "osu.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct collective {
    const struct options *options;
    struct call call;
    double *samples;
};

/* ---- arguments of a call, its buffers and data ---- */

static size_t room_of(const struct setting *setting, int blocks)
{
    return setting->options->max_bytes * (blocks ? (size_t)setting->size : 1);
}

void open_call(const struct setting *setting, struct call *call)
{
    size_t ranks = (size_t)setting->size;
    memset(call, 0, sizeof *call);
    call->operation = &operations[setting->program->operation];
    call->rank = setting->rank;
    call->size = setting->size;
    call->send = make_buffer(room_of(setting, call->operation->sends_blocks), 1);
    call->receive = make_buffer(room_of(setting, call->operation->receives_blocks), 0);
    call->counts = make_buffer(ranks * sizeof(int), 0);
    call->offsets = make_buffer(ranks * sizeof(int), 0);
    call->byte_offsets = make_buffer(ranks * sizeof(int), 0);
    call->datatypes = make_buffer(ranks * sizeof(MPI_Datatype), 0);
}

void close_call(struct call *call)
{
    free(call->send);
    free(call->receive);
    free(call->counts);
    free(call->offsets);
    free(call->byte_offsets);
    free(call->datatypes);
}

/* Elements that a rank gets of a vector of sums: the first ranks get what is left over. */
static int share_of(const struct call *call, int rank)
{
    int rest = call->operation->sums == SUMS_SPLIT ? call->count % call->size : 0;
    return call->count / call->size + (rank < rest ? 1 : 0);
}

void shape_call(struct call *call, enum type type, size_t bytes)
{
    size_t element = type_size(type);
    int splits = call->operation->sums == SUMS_SPLIT || call->operation->sums == SUMS_SPLIT_EVENLY;
    int at = 0;
    call->type = type;
    call->datatype = type_of(type, call->operation->sums != SUMS_NOT);
    call->count = (int)(bytes / element);
    if (!splits && (size_t)call->size * bytes > INT_MAX) {
        fprintf(stderr, "osu: %d blocks of %zu bytes are beyond the offsets of MPI, which are int\n", call->size, bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int rank = 0; rank < call->size; rank++) {
        call->counts[rank] = splits ? share_of(call, rank) : call->count;
        call->offsets[rank] = at;
        call->byte_offsets[rank] = at * (int)element;
        call->datatypes[rank] = call->datatype;
        at += call->counts[rank];
    }
}

static int sends(const struct call *call)
{
    return call->operation->flow != FLOW_FROM_ROOT || call->rank == 0;
}

static int receives(const struct call *call)
{
    return call->operation->flow != FLOW_TO_ROOT || call->rank == 0;
}

void prepare_data(const struct call *call, int untimed, long round)
{
    const struct operation *operation = call->operation;
    size_t count = (size_t)call->count;
    size_t block = count * type_size(call->type);
    char *send = operation->in_place ? call->receive : call->send;
    MPI_Request request = MPI_REQUEST_NULL;
    for (int i = 0; i <= untimed; i++) {
        memset(call->receive, 0xee, block * (operation->receives_blocks ? (size_t)call->size : 1));
        for (int at = 0; sends(call) && at < (operation->sends_blocks ? call->size : 1); at++) {
            struct pattern pattern = {
                .source = call->rank, .block = at, .round = round, .sums = operation->sums != SUMS_NOT
            };
            fill(send + (size_t)at * block, call->type, count, &pattern);
        }
        if (i < untimed) {
            operation->start(call, &request);
            MPI_Wait(&request, MPI_STATUS_IGNORE);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

long check_data(const struct call *call, long round)
{
    const struct operation *operation = call->operation;
    size_t count = (size_t)call->count;
    long wrong = 0;
    if (!receives(call) || !operation->has_data)
        return 0;
    if (operation->sums != SUMS_NOT) {
        struct pattern pattern = { .round = round, .sums = 1 };
        if (operation->sums != SUMS_WHOLE) {
            count = (size_t)call->counts[call->rank];
            pattern.first = (size_t)call->offsets[call->rank];
        }
        return count_wrong_sums(call->receive, call->type, count, &pattern, call->size);
    }
    for (int from = 0; from < (operation->receives_blocks ? call->size : 1); from++) {
        struct pattern pattern = {
            .source = from, .block = operation->sends_blocks ? call->rank : 0, .round = round
        };
        const char *block = call->receive + (size_t)from * count * type_size(call->type);
        wrong += count_wrong(block, call->type, count, &pattern);
    }
    return wrong;
}

/* ---- measurement ---- */

void reduce_figures(double mine, int ranks, double *average, double *least, double *most)
{
    double sum = 0.0;
    MPI_Reduce(&mine, least, 1, MPI_DOUBLE, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, most, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    *average = sum / ranks;
}

static void measure(void *test, enum type type, size_t bytes, struct counts counts, struct row *row)
{
    struct collective *collective = test;
    struct call *call = &collective->call;
    const struct options *options = collective->options;
    double total = 0.0;
    shape_call(call, type, bytes);
    MPI_Barrier(MPI_COMM_WORLD);
    for (long i = 0; i < counts.warmup + counts.iterations; i++) {
        double start = 0.0;
        double elapsed = 0.0;
        if (options->validate)
            prepare_data(call, options->untimed, i);
        start = MPI_Wtime();
        call->operation->start(call, NULL);
        elapsed = MPI_Wtime() - start;
        if (i >= counts.warmup) {
            total += elapsed;
            if (collective->samples != NULL)
                collective->samples[i - counts.warmup] = elapsed * 1e6;
        }
        if (options->validate)
            row->wrong += check_data(call, i);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    reduce_figures(total * 1e6 / (double)counts.iterations, call->size, &row->values[0], &row->values[1], &row->values[2]);
    row->values[3] = (double)counts.iterations;
    find_percentiles(options, collective->samples, counts.iterations, row->tails);
    for (int i = 0; i < options->percentile_count; i++) {
        double least = 0.0;
        double most = 0.0;
        reduce_figures(row->tails[i], call->size, &row->tails[i], &least, &most);
    }
    row->wrong = add_over_ranks(row->wrong);
}

static int run(const struct setting *setting)
{
    static const struct column columns[] = {
        { "Avg Latency(us)", 0 }, { "Min Latency(us)", 0 }, { "Max Latency(us)", 0 }, { "Iterations", 1 }
    };
    struct collective collective = { .options = setting->options, .samples = make_samples(setting->options) };
    struct table table = { .columns = columns,
                           .column_count = setting->options->full ? 4 : 1,
                           .tail_name = "Lat(us)",
                           .measure = measure };
    int status = 0;
    open_call(setting, &collective.call);
    table.sums = collective.call.operation->sums != SUMS_NOT;
    table.usual = table.sums ? TYPE_INT : TYPE_CHAR;
    table.nameless = table.without_sizes = !collective.call.operation->has_data;
    table.test = &collective;
    print_title(setting, 1);
    status = print_table(setting, &table);
    close_call(&collective.call);
    free(collective.samples);
    return status;
}

const struct family collective_family = { .letters = "fm:i:x:c::u:T:z::",
                                          .ranks = RANKS_TWO_OR_MORE,
                                          .max_bytes = 1u << 20,
                                          .small = { 1000, 100 },
                                          .large = { 100, 10 },
                                          .run = run };
const struct family barrier_family = { .letters = "fi:x:z::",
                                       .ranks = RANKS_TWO_OR_MORE,
                                       .max_bytes = 1,
                                       .small = { 1000, 100 },
                                       .large = { 100, 10 },
                                       .run = run };
