/*
 * osu_put_latency and its like: rank 0 reads and writes rank 1's window.  A window is made for each size, and the whole
 * loop is timed, not each call.
 */
#include "one_sided.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN 0 /* the sources of the data that is compared */
#define TARGET 1

static const char *sync_names[] = {
    [SYNC_FLUSH] = "MPI_Win_flush",
    [SYNC_FLUSH_LOCAL] = "MPI_Win_flush_local",
    [SYNC_LOCK] = "MPI_Win_lock/unlock",
    [SYNC_LOCK_ALL] = "MPI_Win_lock_all/unlock_all",
    [SYNC_FENCE] = "MPI_Win_fence",
    [SYNC_PSCW] = "MPI_Win_post/start/complete/wait",
};
static const char *memory_names[] = {
    [MEMORY_ALLOCATE] = "MPI_Win_allocate",
    [MEMORY_CREATE] = "MPI_Win_create",
    [MEMORY_DYNAMIC] = "MPI_Win_create_dynamic",
};

/* ---- data that is compared ---- */

/* Under passive synchronisation, a rank's own look into its window takes a lock. */
static void lock_own(const struct one_sided *test)
{
    if (!is_active(test))
        MPI_Win_lock(MPI_LOCK_EXCLUSIVE, test->rank, 0, test->window);
}

static void unlock_own(const struct one_sided *test)
{
    if (!is_active(test))
        MPI_Win_unlock(test->rank, test->window);
}

/* Of what is, or is to be, in a rank's window: another one in each, so that what lands in the wrong one is seen. */
static struct pattern pattern_of(const struct one_sided *test, int source, int owner, long round)
{
    int sums = test->operation == ACCUMULATE || test->operation == GET_ACCUMULATE || test->operation == FETCH_AND_OP;
    return (struct pattern){ .source = source, .round = 2 * round + owner, .sums = sums };
}

static void prepare(struct one_sided *test, long round)
{
    struct pattern sent = pattern_of(test, ORIGIN, test->peer, round);
    struct pattern theirs = pattern_of(test, TARGET, test->peer, round);
    struct pattern mine = pattern_of(test, TARGET, test->rank, round);
    size_t all = (size_t)test->count * (size_t)test->calls;
    fill(test->origin, test->type, all, &sent);
    fill(test->compared, test->type, 1, &theirs);
    memset(test->result, 0xee, all * type_size(test->type));
    lock_own(test);
    fill(test->shared, test->type, all, &mine);
    unlock_own(test);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* What the calls of this rank brought, and what the peer's left in its window. */
static long check(struct one_sided *test, long round)
{
    struct pattern theirs = pattern_of(test, TARGET, test->peer, round);
    struct pattern received = pattern_of(test, ORIGIN, test->rank, round);
    size_t all = (size_t)test->count * (size_t)test->calls;
    int back = test->both_ways || (is_active(test) && is_latency(test));
    int reads = test->operation != PUT && test->operation != PUT_WINDOW && test->operation != PUT_BOTH_WAYS &&
                test->operation != ACCUMULATE;
    long wrong = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    if (reads && (test->rank == 0 || back))
        wrong += count_wrong(test->result, test->type, all, &theirs);
    if (test->operation == GET || test->operation == GET_WINDOW || (test->rank == 0 && !back))
        return wrong;
    lock_own(test);
    if (received.sums)
        wrong += count_wrong_sums(test->shared, test->type, all, &received, TARGET + 1);
    else
        wrong += count_wrong(test->shared, test->type, all, &received);
    unlock_own(test);
    return wrong;
}

/* In rounds of their own, so that no data is looked at while a lock is held for all iterations. */
static long count_wrong_rounds(struct one_sided *test)
{
    long wrong = 0;
    for (long round = 0; round <= test->options->untimed; round++) {
        prepare(test, round);
        begin_passive(test);
        iterate(test);
        end_passive(test);
        wrong += check(test, round);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    return add_over_ranks(wrong);
}

/* ---- measurement ---- */

static double time_iterations(struct one_sided *test, struct counts counts)
{
    double start = MPI_Wtime();
    double end = 0.0;
    MPI_Barrier(MPI_COMM_WORLD);
    begin_passive(test);
    for (long i = 0; i < counts.warmup + counts.iterations; i++) {
        double before = 0.0;
        if (i == counts.warmup)
            start = MPI_Wtime();
        if (test->samples != NULL)
            before = MPI_Wtime();
        iterate(test);
        if (test->samples != NULL && i >= counts.warmup)
            test->samples[i - counts.warmup] = MPI_Wtime() - before;
    }
    end = MPI_Wtime();
    end_passive(test);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0 || test->both_ways || (is_latency(test) && is_active(test)))
        count_payload((double)test->bytes * test->calls * (double)(counts.warmup + counts.iterations));
    return end - start;
}

static void measure(void *data, enum type type, size_t bytes, struct counts counts, struct row *row)
{
    struct one_sided *test = data;
    int latency = is_latency(test);
    double share = latency && is_active(test) ? 0.5 : 1.0;
    double megabytes = (double)bytes * test->calls * (test->both_ways ? 2.0 : 1.0) / 1e6;
    double seconds = 0.0;
    test->type = type;
    test->datatype = type_of(type, test->operation >= ACCUMULATE && test->operation <= COMPARE_AND_SWAP);
    test->count = (int)(bytes / type_size(type));
    test->bytes = (size_t)test->count * type_size(type);
    open_window(test);
    seconds = time_iterations(test, counts);
    for (long i = 0; test->samples != NULL && i < counts.iterations; i++)
        test->samples[i] = latency ? test->samples[i] * share * 1e6 : megabytes / test->samples[i];
    find_percentiles(test->options, test->samples, counts.iterations, row->tails);
    if (latency)
        row->values[0] = seconds * share * 1e6 / (double)counts.iterations;
    else
        row->values[0] = megabytes * (double)counts.iterations / seconds;
    if (test->options->validate)
        row->wrong = count_wrong_rounds(test);
    close_window(test);
}

static int choose_modes(const struct setting *setting, struct one_sided *test)
{
    const struct options *options = setting->options;
    test->sync = options->sync;
    test->memory = options->memory;
    if (test->sync == SYNC_DEFAULT)
        test->sync = test->both_ways ? SYNC_PSCW : test->operation == GET_ACCUMULATE ? SYNC_LOCK : SYNC_FLUSH;
    if (test->memory == MEMORY_DEFAULT)
        test->memory = test->operation == GET_ACCUMULATE ? MEMORY_CREATE : MEMORY_ALLOCATE;
    if (test->both_ways && !is_active(test)) {
        if (setting->rank == 0)
            fprintf(stderr, "Invalid option [-s]: %s takes pscw and fence\n", setting->program->name);
        return -1;
    }
    if (test->operation == COMPARE_AND_SWAP && options->wanted[TYPE_FLOAT]) {
        if (setting->rank == 0)
            fprintf(stderr, "Invalid option [-T]: MPI_Compare_and_swap takes integers\n");
        return -1;
    }
    return 0;
}

static int run(const struct setting *setting)
{
    static const struct column latency[] = { { "Latency (us)", 0 } };
    static const struct column bandwidth[] = { { "Bandwidth (MB/s)", 0 } };
    const struct options *options = setting->options;
    struct one_sided test = { .options = options, .operation = setting->program->operation, .rank = setting->rank };
    struct table table = { .column_count = 1, .measure = measure };
    MPI_Group world;
    int measures_bandwidth = !is_latency(&test);
    int status = 0;

    test.peer = 1 - setting->rank;
    test.both_ways = test.operation == PUT_BOTH_WAYS;
    test.calls = measures_bandwidth ? options->window : 1;
    if (choose_modes(setting, &test) != 0)
        return 1;
    test.origin = make_buffer(options->max_bytes * (size_t)test.calls, 'a');
    test.result = make_buffer(options->max_bytes * (size_t)test.calls, 'b');
    test.compared = make_buffer(sizeof(double), 0);
    test.samples = make_samples(options);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, 1, &test.peer, &test.partner);
    table.columns = measures_bandwidth ? bandwidth : latency;
    table.tail_name = measures_bandwidth ? "BW(MB/s)" : "Lat(us)";
    table.nameless = test.operation == GET_ACCUMULATE;
    table.one_element = test.operation == FETCH_AND_OP || test.operation == COMPARE_AND_SWAP;
    table.test = &test;
    print_title(setting, 0);
    if (setting->rank == 0)
        printf("# Window creation: %s\n# Synchronization: %s\n", memory_names[test.memory], sync_names[test.sync]);
    status = print_table(setting, &table);
    MPI_Group_free(&test.partner);
    MPI_Group_free(&world);
    free(test.origin);
    free(test.result);
    free(test.compared);
    free(test.samples);
    return status;
}

const struct family one_sided_latency_family = { .letters = "w:s:m:i:x:c::u:z::",
                                                 .ranks = RANKS_TWO,
                                                 .max_bytes = 1u << 22,
                                                 .small = { 10000, 100 },
                                                 .large = { 1000, 10 },
                                                 .run = run };
const struct family one_sided_typed_family = { .letters = "w:s:m:i:x:c::u:T:z::",
                                               .ranks = RANKS_TWO,
                                               .max_bytes = 1u << 22,
                                               .small = { 10000, 100 },
                                               .large = { 1000, 10 },
                                               .run = run };
const struct family one_sided_bandwidth_family = { .letters = "w:s:m:i:x:W:c::u:z::",
                                                   .ranks = RANKS_TWO,
                                                   .max_bytes = 1u << 22,
                                                   .small = { 100, 10 },
                                                   .large = { 20, 2 },
                                                   .run = run };
