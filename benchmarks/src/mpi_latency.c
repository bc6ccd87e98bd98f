/*
 * Latency and bandwidth between two ranks, by the method and in the output format of osu_latency and osu_bw 7.5,
 * so that a parser of theirs reads this too:
 *
 *     mpi_latency latency|bw [-m [MIN:]MAX] [-i ITERATIONS] [-x WARM-UP] [-W WINDOW] [-p DIGITS]
 *
 * latency  ping-pong; half of the mean round trip, microseconds
 * bw       WINDOW sends in flight, then one byte back; 10^6 bytes a second
 *
 * -p gives more digits after the point than OSU's 2: at 0.25 us these alone are 4 %.
 *
 * Comment lines say what else decides such a figure: the MPI library that answered, and for each rank how many bytes
 * the network interfaces of its node counted meanwhile, beside the payload that it sent.
 *
 * One file without a header of ours: it is compiled on hosts and in images, by whatever mpicc is there.
 */
#define _GNU_SOURCE
#include <glob.h>
#include <inttypes.h>
#include <mpi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_ROOM 256
/* The library that answers may have a larger limit than the header this was compiled with. */
#define VERSION_ROOM (MPI_MAX_LIBRARY_VERSION_STRING > 8192 ? MPI_MAX_LIBRARY_VERSION_STRING : 8192)
#define LARGE_FROM 8192
#define MAX_BYTES (1L << 30) /* counts are int */
#define MAX_WINDOW 4096
#define TAG_LATENCY 1
#define TAG_DATA 100
#define TAG_ACK 101
#define FINALIZE_LIMIT 5 /* seconds; with two ranks it takes milliseconds */

enum mode { LATENCY, BANDWIDTH };

struct options {
    enum mode mode;
    long min_bytes;
    long max_bytes;
    long iterations; /* 0: as OSU */
    long warmup;     /* -1: as OSU */
    int window;
    int digits;
};

struct counters {
    uint64_t sent;
    uint64_t received;
    uint64_t loopback;
    uint64_t fabric_sent;
    uint64_t fabric_received;
};

struct rank_record {
    struct counters moved;
    uint64_t payload;
    char host[HOST_ROOM];
};

struct buffers {
    char *send;
    char *receive;
    MPI_Request *requests;
    MPI_Status *statuses; /* kept, as OSU does; gcc takes MPICH's MPI_STATUSES_IGNORE for an array of size 0 */
};

/* ---- arguments ---- */

static int parse_number(const char *text, long low, long high, long *value)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < low || number > high)
        return -1;
    *value = number;
    return 0;
}

static int parse_sizes(char *text, struct options *options)
{
    char *colon = strchr(text, ':');
    const char *max = text;
    if (colon != NULL) {
        *colon = '\0';
        max = colon + 1;
        if (*text != '\0' && parse_number(text, 1, MAX_BYTES, &options->min_bytes) != 0)
            return -1;
        if (*max == '\0')
            return 0;
    }
    return parse_number(max, 1, MAX_BYTES, &options->max_bytes);
}

static int parse_options(int argc, char **argv, struct options *options)
{
    long number = 0;
    *options = (struct options){
        .min_bytes = 1, .max_bytes = 1L << 22, .iterations = 0, .warmup = -1, .window = 64, .digits = 2
    };
    if (argc < 2)
        return -1;
    if (strcmp(argv[1], "latency") == 0)
        options->mode = LATENCY;
    else if (strcmp(argv[1], "bw") == 0)
        options->mode = BANDWIDTH;
    else
        return -1;
    for (int i = 2; i < argc; i += 2) {
        const char *flag = argv[i];
        if (i + 1 == argc || flag[0] != '-' || strlen(flag) != 2)
            return -1;
        switch (flag[1]) {
        case 'm':
            if (parse_sizes(argv[i + 1], options) != 0)
                return -1;
            break;
        case 'i':
            if (parse_number(argv[i + 1], 1, 100000000, &options->iterations) != 0)
                return -1;
            break;
        case 'x':
            if (parse_number(argv[i + 1], 0, 100000000, &options->warmup) != 0)
                return -1;
            break;
        case 'W':
            if (parse_number(argv[i + 1], 1, MAX_WINDOW, &number) != 0)
                return -1;
            options->window = (int)number;
            break;
        case 'p':
            if (parse_number(argv[i + 1], 0, 9, &number) != 0)
                return -1;
            options->digits = (int)number;
            break;
        default:
            return -1;
        }
    }
    return options->min_bytes <= options->max_bytes ? 0 : -1;
}

static void choose_counts(const struct options *options, long bytes, long *iterations, long *warmup)
{
    int large = bytes > LARGE_FROM;
    if (options->mode == LATENCY) {
        *iterations = large ? 1000 : 10000;
        *warmup = large ? 10 : 100;
    } else {
        *iterations = large ? 20 : 100;
        *warmup = large ? 2 : 10;
    }
    if (options->iterations > 0)
        *iterations = options->iterations;
    if (options->warmup >= 0)
        *warmup = options->warmup;
}

/* ---- counters ---- */

/* Interface totals of this network namespace, proc_pid_net(5): name: 8 receive fields, bytes first, then transmit. */
static void read_interfaces(struct counters *total)
{
    char line[1024];
    FILE *file = fopen("/proc/self/net/dev", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t received = 0;
        uint64_t sent = 0;
        char *name = line + strspn(line, " ");
        char *colon = strchr(name, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        if (sscanf(colon + 1, "%" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &received, &sent) != 2)
            continue;
        if (strcmp(name, "lo") == 0) {
            total->loopback += sent;
        } else {
            total->sent += sent;
            total->received += received;
        }
    }
    fclose(file);
}

/* RDMA passes by the interfaces; its ports count words of 4 bytes (InfiniBand, PortCounters). */
static uint64_t read_ports(const char *pattern)
{
    uint64_t words = 0;
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint64_t count = 0;
        FILE *file = fopen(found.gl_pathv[i], "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%" SCNu64, &count) == 1)
            words += count;
        fclose(file);
    }
    globfree(&found);
    return words * 4;
}

static struct counters read_counters(void)
{
    struct counters now = { 0, 0, 0, 0, 0 };
    read_interfaces(&now);
    now.fabric_sent = read_ports("/sys/class/infiniband/*/ports/*/counters/port_xmit_data");
    now.fabric_received = read_ports("/sys/class/infiniband/*/ports/*/counters/port_rcv_data");
    return now;
}

static struct counters subtract(struct counters after, struct counters before)
{
    return (struct counters){
        .sent = after.sent - before.sent,
        .received = after.received - before.received,
        .loopback = after.loopback - before.loopback,
        .fabric_sent = after.fabric_sent - before.fabric_sent,
        .fabric_received = after.fabric_received - before.fabric_received,
    };
}

/* ---- what is said besides the figures ---- */

/* The first line names the library; the digest (FNV-1a, 64 bits) of the whole text tells two builds of one version
 * apart, since MPICH and its kin put their configuration into it. */
static void print_library(void)
{
    static char version[VERSION_ROOM];
    uint64_t digest = 0xcbf29ce484222325u;
    int length = 0;
    MPI_Get_library_version(version, &length);
    version[VERSION_ROOM - 1] = '\0';
    for (const char *c = version; *c != '\0'; c++)
        digest = (digest ^ (unsigned char)*c) * 0x100000001b3u;
    version[strcspn(version, "\r\n")] = '\0';
    for (char *c = version; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
    printf("# library: %s\n", version);
    printf("# library digest: %016" PRIx64 "\n", digest);
}

static void print_header(enum mode mode)
{
    const char *title = mode == LATENCY ? "MPI Latency Test" : "MPI Bandwidth Test";
    const char *column = mode == LATENCY ? "Avg Latency(us)" : "Bandwidth (MB/s)";
    printf("\n# bareboat %s, as OSU 7.5\n# Datatype: MPI_CHAR.\n", title);
    print_library();
    printf("%-10s%18s\n", "# Size", column);
    fflush(stdout);
}

static void print_traffic(int rank, struct counters before, uint64_t payload)
{
    struct rank_record mine;
    struct rank_record both[2];

    memset(&mine, 0, sizeof mine);
    mine.moved = subtract(read_counters(), before);
    mine.payload = payload;
    if (gethostname(mine.host, sizeof mine.host - 1) != 0)
        strcpy(mine.host, "unknown");
    MPI_Gather(&mine, (int)sizeof mine, MPI_BYTE, both, (int)sizeof mine, MPI_BYTE, 0, MPI_COMM_WORLD);
    if (rank != 0)
        return;
    for (int i = 0; i < 2; i++)
        printf("# net bytes rank %d on %s: sent %" PRIu64 " received %" PRIu64 " loopback %" PRIu64 " fabric-sent %" PRIu64
               " fabric-received %" PRIu64 " payload %" PRIu64 "\n",
               i, both[i].host, both[i].moved.sent, both[i].moved.received, both[i].moved.loopback, both[i].moved.fabric_sent,
               both[i].moved.fabric_received, both[i].payload);
    fflush(stdout);
}

/* ---- the two methods ---- */

static double run_latency(int rank, int bytes, long iterations, long warmup, struct buffers *buffers)
{
    double total = 0.0;
    for (long i = 0; i < warmup + iterations; i++) {
        if (rank == 0) {
            double start = MPI_Wtime();
            MPI_Send(buffers->send, bytes, MPI_CHAR, 1, TAG_LATENCY, MPI_COMM_WORLD);
            MPI_Recv(buffers->receive, bytes, MPI_CHAR, 1, TAG_LATENCY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            if (i >= warmup)
                total += MPI_Wtime() - start;
        } else {
            MPI_Recv(buffers->receive, bytes, MPI_CHAR, 0, TAG_LATENCY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(buffers->send, bytes, MPI_CHAR, 0, TAG_LATENCY, MPI_COMM_WORLD);
        }
    }
    return total * 1e6 / (2.0 * (double)iterations);
}

static double run_bandwidth(int rank, int bytes, long iterations, long warmup, int window, struct buffers *buffers)
{
    double total = 0.0;
    for (long i = 0; i < warmup + iterations; i++) {
        if (rank == 0) {
            double start = MPI_Wtime();
            for (int k = 0; k < window; k++)
                MPI_Isend(buffers->send, bytes, MPI_CHAR, 1, TAG_DATA, MPI_COMM_WORLD, &buffers->requests[k]);
            MPI_Waitall(window, buffers->requests, buffers->statuses);
            MPI_Recv(buffers->receive, 1, MPI_CHAR, 1, TAG_ACK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            if (i >= warmup)
                total += MPI_Wtime() - start;
        } else {
            for (int k = 0; k < window; k++)
                MPI_Irecv(buffers->receive, bytes, MPI_CHAR, 0, TAG_DATA, MPI_COMM_WORLD, &buffers->requests[k]);
            MPI_Waitall(window, buffers->requests, buffers->statuses);
            MPI_Send(buffers->send, 1, MPI_CHAR, 0, TAG_ACK, MPI_COMM_WORLD);
        }
    }
    return (double)bytes * (double)iterations * (double)window / 1e6 / total;
}

static uint64_t measure(int rank, const struct options *options, struct buffers *buffers)
{
    uint64_t payload = 0;
    long first = 1;
    while (first < options->min_bytes)
        first *= 2;
    for (long bytes = first; bytes <= options->max_bytes; bytes *= 2) {
        long iterations = 0;
        long warmup = 0;
        double value = 0.0;
        uint64_t messages = 0;
        choose_counts(options, bytes, &iterations, &warmup);
        messages = (uint64_t)(iterations + warmup);
        MPI_Barrier(MPI_COMM_WORLD);
        if (options->mode == LATENCY) {
            value = run_latency(rank, (int)bytes, iterations, warmup, buffers);
            payload += messages * (uint64_t)bytes;
        } else {
            value = run_bandwidth(rank, (int)bytes, iterations, warmup, options->window, buffers);
            payload += rank == 0 ? messages * (uint64_t)bytes * (uint64_t)options->window : messages;
        }
        if (rank == 0) {
            printf("%-10ld%18.*f\n", bytes, options->digits, value);
            fflush(stdout);
        }
    }
    return payload;
}

static int make_buffers(const struct options *options, struct buffers *buffers)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = ((size_t)options->max_bytes + page - 1) / page * page;
    buffers->send = aligned_alloc(page, room);
    buffers->receive = aligned_alloc(page, room);
    buffers->requests = calloc((size_t)options->window, sizeof *buffers->requests);
    buffers->statuses = calloc((size_t)options->window, sizeof *buffers->statuses);
    if (buffers->send == NULL || buffers->receive == NULL || buffers->requests == NULL || buffers->statuses == NULL)
        return -1;
    memset(buffers->send, 'a', room);
    memset(buffers->receive, 'b', room);
    return 0;
}

static void leave(int number)
{
    static const char text[] = "# MPI_Finalize did not return\n";
    (void)number;
    _exit(write(STDOUT_FILENO, text, sizeof text - 1) < 0 ? 1 : 0);
}

/*
 * MPICH 4.0 over UCX's TCP hangs here in one run of twenty or so: a rank closes its endpoints, which takes the peer's
 * help, while the peer waits in a barrier of PMI and does not look at UCX.  The figures are complete by then, so that the
 * run counts; the line above says what happened.
 */
static void finalize_within_limit(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = leave;
    sigaction(SIGALRM, &action, NULL);
    alarm(FINALIZE_LIMIT);
    MPI_Finalize();
    alarm(0);
}

int main(int argc, char **argv)
{
    struct options options;
    struct buffers buffers = { NULL, NULL, NULL, NULL };
    struct counters before;
    uint64_t payload = 0;
    int rank = 0;
    int size = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (parse_options(argc, argv, &options) != 0) {
        if (rank == 0)
            fprintf(stderr, "usage: mpi_latency latency|bw [-m [MIN:]MAX] [-i ITERATIONS] [-x WARM-UP] [-W WINDOW] [-p DIGITS]\n");
        MPI_Finalize();
        return 2;
    }
    if (size != 2) {
        /* Each of N programs that did not find each other says this too: the usual sign of a wrong --mpi. */
        if (rank == 0)
            fprintf(stderr, "mpi_latency: needs exactly 2 ranks in MPI_COMM_WORLD, has %d\n", size);
        MPI_Finalize();
        return 1;
    }
    if (make_buffers(&options, &buffers) != 0) {
        fprintf(stderr, "mpi_latency: rank %d: no memory for two buffers of %ld bytes\n", rank, options.max_bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (rank == 0)
        print_header(options.mode);
    MPI_Barrier(MPI_COMM_WORLD);
    before = read_counters();
    payload = measure(rank, &options, &buffers);
    MPI_Barrier(MPI_COMM_WORLD);
    print_traffic(rank, before, payload);
    free(buffers.send);
    free(buffers.receive);
    free(buffers.requests);
    free(buffers.statuses);
    finalize_within_limit();
    return 0;
}
