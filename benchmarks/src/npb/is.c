/*
 * IS, integer sort: ranks keys by counting, ten times, each time with two keys changed.
 *
 * Keys travel to the process that owns their bucket (Allreduce, Alltoall, Alltoallv); owners are chosen anew in each
 * iteration so that every process gets about as many keys.  The ranks of five keys are published for each iteration.
 * At the end the keys are put in order, and must be the keys that there were: their count, sum and sum of squares.
 */
#include "common.h"

#define ITERATIONS 10
#define TESTS 5

static const struct {
    int keys_log;
    int range_log; /* keys are below 2^range_log */
    int buckets_log;
    int places[TESTS]; /* in the sequence of keys */
    int ranks[TESTS];  /* of the key at that place, before the adjustment */
    int signs[TESTS];  /* the adjustment is sign * (iteration - delay) */
    int delays[TESTS];
} classes[NPB_CLASS_COUNT] = {
    {16,
     11,
     9,
     {48427, 17148, 23627, 62548, 4431},
     {0, 18, 346, 64917, 65463},
     {1, 1, 1, -1, -1},
     {0}},
    {20,
     16,
     10,
     {357773, 934767, 875723, 898999, 404505},
     {1249, 11698, 1039987, 1043896, 1048018},
     {1, 1, -1, -1, -1},
     {2, 2, 0, 0, 0}},
    {23,
     19,
     10,
     {2112377, 662041, 5336171, 3642833, 4250760},
     {104, 17523, 123928, 8288932, 8388264},
     {1, 1, 1, -1, -1},
     {1, 1, 1, 1, 1}},
    {25,
     21,
     10,
     {41869, 812306, 5102857, 18232239, 26860214},
     {33422937, 10244, 59149, 33135281, 99},
     {-1, 1, 1, -1, 1},
     {0}},
    {27,
     23,
     10,
     {44172927, 72999161, 74326391, 129606274, 21736814},
     {61147, 882988, 266290, 133997595, 133525895},
     {1, 1, 1, -1, -1},
     {0}},
};

struct sort {
    struct npb_run run;
    int mine; /* how many keys each process starts with */
    int range;
    int buckets;
    int shift; /* key >> shift: its bucket */
    int *keys;
    int *by_bucket; /* the same, in the order of their buckets */
    int *received;
    int received_room;
    int *counts; /* of this process's range; after rank_keys: how many keys of the process are not above this one */
    int *bucket_sums; /* of this process, then the tests' keys */
    int *bucket_totals;
    int *bucket_starts;
    int *send_counts;
    int *send_starts;
    int *receive_counts;
    int *receive_starts;
    int low;    /* the range of this process: low <= key < high */
    int high;
    int held;   /* how many keys lie in it */
    int passed; /* tests, of those that this process can make */
    int stray;  /* keys that came to a process that does not own them */
};

/* Count, sum and sum of squares: a key that was lost, doubled or changed alters one of them. */
struct digest {
    uint64_t count;
    uint64_t sum;
    uint64_t squares;
};

static void make_keys(struct sort *sort)
{
    uint64_t state = npb_skip(NPB_SEED, (uint64_t)sort->run.rank * 4 * (uint64_t)sort->mine);
    double quarter = sort->range / 4;

    for (int i = 0; i < sort->mine; i++) {
        double sum = npb_draw(&state);
        sum += npb_draw(&state);
        sum += npb_draw(&state);
        sum += npb_draw(&state);
        sort->keys[i] = (int)(quarter * sum);
    }
}

/* Local counts of the buckets and the keys of the tests; the local keys in the order of their buckets. */
static void fill_buckets(struct sort *sort)
{
    int first = sort->run.rank * sort->mine;
    int start = 0;

    memset(sort->bucket_sums, 0, (size_t)(sort->buckets + TESTS) * sizeof *sort->bucket_sums);
    for (int test = 0; test < TESTS; test++) {
        int place = classes[sort->run.index].places[test] - first;
        if (place >= 0 && place < sort->mine)
            sort->bucket_sums[sort->buckets + test] = sort->keys[place];
    }
    for (int i = 0; i < sort->mine; i++)
        sort->bucket_sums[sort->keys[i] >> sort->shift]++;
    for (int bucket = 0; bucket < sort->buckets; bucket++) {
        sort->bucket_starts[bucket] = start;
        start += sort->bucket_sums[bucket];
    }
    for (int i = 0; i < sort->mine; i++)
        sort->by_bucket[sort->bucket_starts[sort->keys[i] >> sort->shift]++] = sort->keys[i];
}

/* Each process in turn gets buckets until those so far hold its share of the keys; says where this one's begin. */
static void share_buckets(struct sort *sort, int *smaller)
{
    int64_t total = 0;
    int bucket = 0;
    int start = 0;

    for (int process = 0; process < sort->run.ranks; process++) {
        int64_t share = (int64_t)(process + 1) * sort->mine;
        bool last = process == sort->run.ranks - 1;
        int sent = 0;
        if (process == sort->run.rank) {
            sort->low = bucket << sort->shift;
            *smaller = (int)total;
        }
        for (; bucket < sort->buckets && (last || total < share); bucket++) {
            total += sort->bucket_totals[bucket];
            sent += sort->bucket_sums[bucket];
        }
        if (process == sort->run.rank)
            sort->high = bucket << sort->shift;
        sort->send_counts[process] = sent;
        sort->send_starts[process] = start;
        start += sent;
    }
}

static void move_keys(struct sort *sort)
{
    int total = 0;

    MPI_Alltoall(sort->send_counts, 1, MPI_INT, sort->receive_counts, 1, MPI_INT, MPI_COMM_WORLD);
    for (int process = 0; process < sort->run.ranks; process++) {
        sort->receive_starts[process] = total;
        total += sort->receive_counts[process];
    }
    if (total > sort->received_room) { /* in the untimed iteration: later ones differ by a few keys */
        free(sort->received);
        sort->received_room = total + total / 16 + 4 * ITERATIONS;
        sort->received = npb_allocate((size_t)sort->received_room, sizeof *sort->received);
    }
    sort->held = total;
    MPI_Alltoallv(sort->by_bucket, sort->send_counts, sort->send_starts, MPI_INT, sort->received, sort->receive_counts,
                  sort->receive_starts, MPI_INT, MPI_COMM_WORLD);
}

static void count_keys(struct sort *sort)
{
    unsigned width = (unsigned)(sort->high - sort->low);
    int sum = 0;

    memset(sort->counts, 0, width * sizeof *sort->counts);
    for (int i = 0; i < sort->held; i++) {
        unsigned offset = (unsigned)(sort->received[i] - sort->low);
        if (offset < width)
            sort->counts[offset]++;
        else
            sort->stray++;
    }
    for (unsigned offset = 0; offset < width; offset++) {
        sum += sort->counts[offset];
        sort->counts[offset] = sum;
    }
}

static void check_tests(struct sort *sort, int iteration, int smaller)
{
    for (int test = 0; test < TESTS; test++) {
        int key = sort->bucket_totals[sort->buckets + test];
        if (key <= 0 || key < sort->low || key >= sort->high)
            continue;
        int rank = smaller + (key > sort->low ? sort->counts[key - 1 - sort->low] : 0);
        int wanted = classes[sort->run.index].ranks[test] +
                     classes[sort->run.index].signs[test] * (iteration - classes[sort->run.index].delays[test]);
        sort->passed += rank == wanted;
    }
}

static void rank_keys(struct sort *sort, int iteration)
{
    int smaller = 0;

    if (sort->run.rank == 0) {
        sort->keys[iteration] = iteration;
        sort->keys[iteration + ITERATIONS] = sort->range - iteration;
    }
    fill_buckets(sort);
    MPI_Allreduce(sort->bucket_sums, sort->bucket_totals, sort->buckets + TESTS, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    share_buckets(sort, &smaller);
    move_keys(sort);
    count_keys(sort);
    check_tests(sort, iteration, smaller);
}

static struct digest digest_keys(const int *keys, int count)
{
    struct digest digest = {.count = (uint64_t)count};
    for (int i = 0; i < count; i++) {
        digest.sum += (uint64_t)keys[i];
        digest.squares += (uint64_t)keys[i] * (uint64_t)keys[i];
    }
    return digest;
}

/* Whether all keys, put where their ranks say, are in order, and are the keys of the start. */
static bool is_sorted(struct sort *sort)
{
    int *sorted = npb_allocate((size_t)sort->held + 1, sizeof *sorted);
    int before = -1;
    int wrong = sort->stray;

    for (int i = 0; i < sort->held && sort->stray == 0; i++)
        sorted[--sort->counts[sort->received[i] - sort->low]] = sort->received[i];
    for (int i = 1; i < sort->held; i++)
        wrong += sorted[i - 1] > sorted[i];
    int last = sort->held > 0 ? sorted[sort->held - 1] : -1;
    MPI_Exscan(&last, &before, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (sort->run.rank > 0 && sort->held > 0)
        wrong += before > sorted[0];

    struct digest start = digest_keys(sort->keys, sort->mine);
    struct digest end = digest_keys(sorted, sort->held);
    uint64_t sums[] = {start.count,  start.sum, start.squares,  end.count,
                       end.sum,      end.squares, (uint64_t)wrong, (uint64_t)sort->passed};
    MPI_Allreduce(MPI_IN_PLACE, sums, (int)(sizeof sums / sizeof *sums), MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    free(sorted);
    return memcmp(sums, sums + 3, 3 * sizeof *sums) == 0 && sums[6] == 0 && sums[7] == ITERATIONS * TESTS;
}

static void allocate_all(struct sort *sort)
{
    size_t ranks = (size_t)sort->run.ranks;
    size_t buckets = (size_t)sort->buckets;

    sort->keys = npb_allocate((size_t)sort->mine, sizeof(int));
    sort->by_bucket = npb_allocate((size_t)sort->mine, sizeof(int));
    sort->counts = npb_allocate((size_t)sort->range, sizeof(int));
    sort->bucket_sums = npb_allocate(buckets + TESTS, sizeof(int));
    sort->bucket_totals = npb_allocate(buckets + TESTS, sizeof(int));
    sort->bucket_starts = npb_allocate(buckets, sizeof(int));
    sort->send_counts = npb_allocate(ranks, sizeof(int));
    sort->send_starts = npb_allocate(ranks, sizeof(int));
    sort->receive_counts = npb_allocate(ranks, sizeof(int));
    sort->receive_starts = npb_allocate(ranks, sizeof(int));
}

int main(int argc, char **argv)
{
    struct sort sort = {.received = NULL};
    char size[32];
    double elapsed;
    double slowest;

    npb_start(&sort.run, "IS", &argc, &argv);
    npb_need_power_of_two(&sort.run, sort.run.class == 'S' ? 128 : 1024);
    int keys = 1 << classes[sort.run.index].keys_log;
    sort.mine = keys / sort.run.ranks;
    sort.range = 1 << classes[sort.run.index].range_log;
    sort.buckets = 1 << classes[sort.run.index].buckets_log;
    sort.shift = classes[sort.run.index].range_log - classes[sort.run.index].buckets_log;
    npb_say(&sort.run, " Size:  %d  (class %c)\n Iterations:   %d\n", keys, sort.run.class, ITERATIONS);
    npb_say(&sort.run, " Total number of processes:  %d\n", sort.run.ranks);
    allocate_all(&sort);

    make_keys(&sort);
    rank_keys(&sort, 1);
    sort.passed = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int iteration = 1; iteration <= ITERATIONS; iteration++)
        rank_keys(&sort, iteration);
    elapsed = MPI_Wtime() - start;
    MPI_Allreduce(&elapsed, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);

    snprintf(size, sizeof size, "%d", keys);
    struct npb_result result = {
        .size = size,
        .iterations = ITERATIONS,
        .seconds = slowest,
        .operations = (double)ITERATIONS * keys / 1e6,
        .operation = "keys ranked",
        .verified = is_sorted(&sort),
    };
    return npb_finish(&sort.run, &result);
}
