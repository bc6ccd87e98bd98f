/*
 * osu_latency, osu_multi_lat, osu_bw, osu_bibw, osu_mbw_mr: pairs of ranks.
 *
 * Of N ranks, r < N/2 sends to r + N/2; the last of an odd number only takes part in barriers.
 */
#include "osu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_LATENCY 1
#define TAG_DATA 100
#define TAG_BACK 10
#define TAG_ACK 101
#define WINDOWS 8

#define COMMON "m:i:x:c::u:T:z::"

struct pairs {
    const struct options *options;
    int operation;
    int count;
    int peer; /* -1: idle */
    int sends;
    int window;
    char *send;
    char *receive;
    double *samples;
    MPI_Request *requests;
    MPI_Status *statuses; /* kept, as OSU does; gcc takes MPICH's MPI_STATUSES_IGNORE for an array of size 0 */
};

static void open_pairs(const struct setting *setting, struct pairs *pairs)
{
    const struct options *options = setting->options;
    memset(pairs, 0, sizeof *pairs);
    pairs->options = options;
    pairs->operation = setting->program->operation;
    pairs->count = setting->size / 2;
    pairs->sends = setting->rank < pairs->count;
    pairs->peer = pairs->sends ? setting->rank + pairs->count : setting->rank - pairs->count;
    if (setting->rank >= 2 * pairs->count)
        pairs->peer = -1;
    pairs->window = options->window;
    pairs->send = make_buffer(options->max_bytes, 'a');
    pairs->receive = make_buffer(options->max_bytes, 'b');
    pairs->samples = make_samples(options);
    pairs->requests = make_buffer(2 * MAX_WINDOW * sizeof *pairs->requests, 0);
    pairs->statuses = make_buffer(2 * MAX_WINDOW * sizeof *pairs->statuses, 0);
}

static void close_pairs(struct pairs *pairs)
{
    free(pairs->send);
    free(pairs->receive);
    free(pairs->samples);
    free(pairs->requests);
    free(pairs->statuses);
}

/* ---- one exchange ---- */

static void ping_pong(struct pairs *pairs, MPI_Datatype type, int count)
{
    if (pairs->sends) {
        MPI_Send(pairs->send, count, type, pairs->peer, TAG_LATENCY, MPI_COMM_WORLD);
        MPI_Recv(pairs->receive, count, type, pairs->peer, TAG_LATENCY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Recv(pairs->receive, count, type, pairs->peer, TAG_LATENCY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(pairs->send, count, type, pairs->peer, TAG_LATENCY, MPI_COMM_WORLD);
    }
}

static void send_window(struct pairs *pairs, MPI_Datatype type, int count, int tag, MPI_Request *requests)
{
    for (int i = 0; i < pairs->window; i++)
        MPI_Isend(pairs->send, count, type, pairs->peer, tag, MPI_COMM_WORLD, &requests[i]);
}

static void receive_window(struct pairs *pairs, MPI_Datatype type, int count, int tag, MPI_Request *requests)
{
    for (int i = 0; i < pairs->window; i++)
        MPI_Irecv(pairs->receive, count, type, pairs->peer, tag, MPI_COMM_WORLD, &requests[i]);
}

static void one_way(struct pairs *pairs, MPI_Datatype type, int count)
{
    if (pairs->sends) {
        char ack = 0;
        send_window(pairs, type, count, TAG_DATA, pairs->requests);
        MPI_Waitall(pairs->window, pairs->requests, pairs->statuses);
        MPI_Recv(&ack, 1, MPI_CHAR, pairs->peer, TAG_ACK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        char ack = 0;
        receive_window(pairs, type, count, TAG_DATA, pairs->requests);
        MPI_Waitall(pairs->window, pairs->requests, pairs->statuses);
        MPI_Send(&ack, 1, MPI_CHAR, pairs->peer, TAG_ACK, MPI_COMM_WORLD);
    }
}

static void both_ways(struct pairs *pairs, MPI_Datatype type, int count)
{
    MPI_Request *sent = pairs->requests + pairs->window;
    receive_window(pairs, type, count, pairs->sends ? TAG_BACK : TAG_DATA, pairs->requests);
    send_window(pairs, type, count, pairs->sends ? TAG_DATA : TAG_BACK, sent);
    MPI_Waitall(pairs->window, sent, pairs->statuses);
    MPI_Waitall(pairs->window, pairs->requests, pairs->statuses);
}

static void exchange(struct pairs *pairs, MPI_Datatype type, int count)
{
    if (pairs->peer < 0)
        return;
    if (pairs->operation == LATENCY || pairs->operation == MULTI_LATENCY)
        ping_pong(pairs, type, count);
    else if (pairs->operation == BOTH_WAYS)
        both_ways(pairs, type, count);
    else
        one_way(pairs, type, count);
}

/* ---- data that is compared ---- */

static int sends_data(const struct pairs *pairs, int sender)
{
    return sender || pairs->operation == LATENCY || pairs->operation == MULTI_LATENCY || pairs->operation == BOTH_WAYS;
}

static void prepare(struct pairs *pairs, enum type type, size_t bytes, long round)
{
    struct pattern pattern = { .source = !pairs->sends, .round = round };
    size_t count = bytes / type_size(type);
    fill(pairs->send, type, count, &pattern);
    memset(pairs->receive, 0xee, bytes);
    for (int i = 0; i < pairs->options->untimed; i++)
        exchange(pairs, type_of(type, 0), (int)count);
    memset(pairs->receive, 0xee, bytes);
}

static long check(const struct pairs *pairs, enum type type, size_t bytes, long round)
{
    struct pattern pattern = { .source = pairs->sends, .round = round };
    if (pairs->peer < 0 || !sends_data(pairs, !pairs->sends))
        return 0;
    return count_wrong(pairs->receive, type, bytes / type_size(type), &pattern);
}

/* ---- measurement ---- */

/* Seconds of all timed iterations; each goes to samples too, if these are wanted. */
static double time_exchanges(struct pairs *pairs, enum type type, size_t bytes, struct counts counts, long *wrong)
{
    MPI_Datatype datatype = type_of(type, 0);
    int count = (int)(bytes / type_size(type));
    int in_step = pairs->operation == MULTI_LATENCY || pairs->operation == RATE;
    double total = 0.0;
    MPI_Barrier(MPI_COMM_WORLD);
    for (long i = 0; i < counts.warmup + counts.iterations; i++) {
        double start = 0.0;
        double elapsed = 0.0;
        if (pairs->options->validate)
            prepare(pairs, type, bytes, i);
        if (in_step)
            MPI_Barrier(MPI_COMM_WORLD);
        start = MPI_Wtime();
        exchange(pairs, datatype, count);
        elapsed = MPI_Wtime() - start;
        if (i >= counts.warmup) {
            total += elapsed;
            if (pairs->samples != NULL)
                pairs->samples[i - counts.warmup] = elapsed;
        }
        if (pairs->options->validate)
            *wrong += check(pairs, type, bytes, i);
    }
    if (sends_data(pairs, pairs->sends))
        count_payload((double)bytes * (double)(counts.warmup + counts.iterations) *
                      (pairs->operation == LATENCY || pairs->operation == MULTI_LATENCY ? 1 : pairs->window));
    return total;
}

/* The mean over those that send; on rank 0. */
static double average(const struct pairs *pairs, double mine)
{
    double sum = 0.0;
    double counted = pairs->sends ? mine : 0.0;
    MPI_Reduce(&counted, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    return sum / pairs->count;
}

static void average_tails(struct pairs *pairs, long count, double *tails)
{
    find_percentiles(pairs->options, pairs->samples, count, tails);
    for (int i = 0; i < pairs->options->percentile_count; i++)
        tails[i] = average(pairs, tails[i]);
}

static void measure_latency(void *test, enum type type, size_t bytes, struct counts counts, struct row *row)
{
    struct pairs *pairs = test;
    double total = time_exchanges(pairs, type, bytes, counts, &row->wrong);
    for (long i = 0; pairs->samples != NULL && i < counts.iterations; i++)
        pairs->samples[i] *= 1e6 / 2.0;
    row->values[0] = average(pairs, total) * 1e6 / (2.0 * (double)counts.iterations);
    average_tails(pairs, counts.iterations, row->tails);
    row->wrong = add_over_ranks(row->wrong);
}

static void measure_bandwidth(void *test, enum type type, size_t bytes, struct counts counts, struct row *row)
{
    struct pairs *pairs = test;
    double megabytes = (double)(bytes / type_size(type) * type_size(type)) * pairs->window * pairs->count / 1e6;
    double total = time_exchanges(pairs, type, bytes, counts, &row->wrong);
    if (pairs->operation == BOTH_WAYS)
        megabytes *= 2.0;
    for (long i = 0; pairs->samples != NULL && i < counts.iterations; i++)
        pairs->samples[i] = megabytes / pairs->samples[i];
    total = average(pairs, total);
    row->values[0] = megabytes * (double)counts.iterations / total;
    row->values[1] = 1e6 * row->values[0] / (double)bytes;
    average_tails(pairs, counts.iterations, row->tails);
    row->wrong = add_over_ranks(row->wrong);
}

/* ---- programs ---- */

static int run_latency(const struct setting *setting)
{
    static const struct column columns[] = { { "Avg Latency(us)", 0 } };
    struct pairs pairs;
    struct table table = { .columns = columns, .column_count = 1, .tail_name = "Lat(us)" };
    int status = 0;
    open_pairs(setting, &pairs);
    table.measure = measure_latency;
    table.test = &pairs;
    print_title(setting, 1);
    status = print_table(setting, &table);
    close_pairs(&pairs);
    return status;
}

static int run_bandwidth(const struct setting *setting)
{
    static const struct column columns[] = { { "Bandwidth (MB/s)", 0 } };
    struct pairs pairs;
    struct table table = { .columns = columns, .column_count = 1, .tail_name = "BW(MB/s)" };
    int status = 0;
    open_pairs(setting, &pairs);
    table.measure = measure_bandwidth;
    table.test = &pairs;
    print_title(setting, 1);
    status = print_table(setting, &table);
    close_pairs(&pairs);
    return status;
}

static void print_profile(const struct options *options, const double (*values)[WINDOWS], enum type type)
{
    size_t at = 0;
    printf("%-7s", "#");
    for (int i = 0; i < WINDOWS; i++)
        printf("%12d", 1 << i);
    printf("\n");
    for (size_t bytes = options->min_bytes; bytes <= options->max_bytes; bytes *= 2) {
        if (bytes < type_size(type))
            continue;
        printf("%-7zu", bytes);
        for (int i = 0; i < WINDOWS; i++)
            printf("%12.*f", choose_digits(options, 2), values[at][i]);
        printf("\n");
        at++;
    }
}

/* -V: windows of 1 to 128 messages beside each other, first the bandwidth, then the rate. */
static int run_windows(const struct setting *setting, struct pairs *pairs)
{
    const struct options *options = setting->options;
    enum type type = options->wanted[TYPE_INT] ? TYPE_INT : options->wanted[TYPE_FLOAT] ? TYPE_FLOAT : TYPE_CHAR;
    double (*bandwidths)[WINDOWS] = make_buffer(64 * sizeof *bandwidths, 0);
    double (*rates)[WINDOWS] = make_buffer(64 * sizeof *rates, 0);
    size_t at = 0;
    long wrong = 0;
    for (size_t bytes = options->min_bytes; bytes <= options->max_bytes; bytes *= 2) {
        if (bytes < type_size(type))
            continue;
        for (int i = 0; i < WINDOWS; i++) {
            struct row row = { .wrong = 0 };
            pairs->window = 1 << i;
            measure_bandwidth(pairs, type, bytes, choose_counts(options, bytes), &row);
            bandwidths[at][i] = row.values[0];
            rates[at][i] = row.values[1];
            wrong += row.wrong;
        }
        at++;
    }
    if (setting->rank == 0) {
        printf("\n# Uni-directional Bandwidth (MB/sec)\n# Datatype: %s.\n", type_name(type, 0));
        print_profile(options, (const double (*)[WINDOWS])bandwidths, type);
        printf("\n# Message Rate Profile\n");
        print_profile(options, (const double (*)[WINDOWS])rates, type);
        if (wrong != 0)
            fprintf(stderr, "DATA VALIDATION ERROR: %s exited with status 1.\n", setting->program->name);
    }
    free(bandwidths);
    free(rates);
    return wrong == 0 ? 0 : 1;
}

static int run_rate(const struct setting *setting)
{
    static const struct column columns[] = { { "MB/s", 0 }, { "Messages/s", 0 } };
    const struct options *options = setting->options;
    struct pairs pairs;
    struct table table = { .columns = columns, .column_count = options->rate ? 2 : 1, .tail_name = "BW(MB/s)" };
    int status = 0;
    open_pairs(setting, &pairs);
    table.measure = measure_bandwidth;
    table.test = &pairs;
    print_title(setting, 0);
    if (setting->rank == 0 && options->vary_window)
        printf("# [ pairs: %d ] [ window size: varied ]\n", pairs.count);
    else if (setting->rank == 0)
        printf("# [ pairs: %d ] [ window size: %d ]\n", pairs.count, options->window);
    status = options->vary_window ? run_windows(setting, &pairs) : print_table(setting, &table);
    close_pairs(&pairs);
    return status;
}

const struct family latency_family = { .letters = COMMON,
                                       .ranks = RANKS_TWO,
                                       .max_bytes = 1u << 22,
                                       .small = { 10000, 100 },
                                       .large = { 1000, 10 },
                                       .run = run_latency };
const struct family multi_latency_family = { .letters = COMMON,
                                             .ranks = RANKS_TWO_OR_MORE,
                                             .max_bytes = 1u << 22,
                                             .small = { 10000, 100 },
                                             .large = { 1000, 10 },
                                             .run = run_latency };
const struct family bandwidth_family = { .letters = COMMON "W:",
                                         .ranks = RANKS_TWO,
                                         .max_bytes = 1u << 22,
                                         .small = { 100, 10 },
                                         .large = { 20, 2 },
                                         .run = run_bandwidth };
const struct family rate_family = { .letters = COMMON "W:R:p:V",
                                    .ranks = RANKS_TWO_OR_MORE,
                                    .max_bytes = 1u << 22,
                                    .small = { 100, 10 },
                                    .large = { 20, 2 },
                                    .run = run_rate };
