/*
 * What the files of this suite share.
 *
 * The programs measure what the OSU micro-benchmarks 7.5 measure, by the same method, with the same options, and print
 * the same tables, so that a parser of theirs reads these too.  The code is bareboat's own.
 *
 * C11 and MPI-3 and nothing else: it is compiled on hosts and in images, by one call of whatever mpicc is there.
 */
#ifndef OSU_H
#define OSU_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <mpi.h>
#include <stddef.h>

#define MAX_BYTES ((size_t)1 << 30) /* counts of MPI are int */
#define MAX_WINDOW 4096
#define MAX_PERCENTILES 5
#define MAX_COLUMNS 16
#define LARGE_FROM 8192 /* larger messages have counts of their own */
#define VALUE_WIDTH 18
#define WHOLE_WIDTH 12

enum type { TYPE_CHAR, TYPE_INT, TYPE_FLOAT, TYPES };
enum sync { SYNC_DEFAULT, SYNC_FLUSH, SYNC_FLUSH_LOCAL, SYNC_LOCK, SYNC_LOCK_ALL, SYNC_FENCE, SYNC_PSCW };
enum memory { MEMORY_DEFAULT, MEMORY_ALLOCATE, MEMORY_CREATE, MEMORY_DYNAMIC };
enum ranks { RANKS_ANY, RANKS_TWO, RANKS_TWO_OR_MORE };

struct counts {
    long iterations;
    long warmup;
};

struct options {
    size_t min_bytes;
    size_t max_bytes;
    struct counts small;
    struct counts large;
    int window;
    int vary_window;
    int full;
    int validate;
    int untimed; /* before each iteration whose data is compared */
    int wanted[TYPES]; /* none: the program's own type */
    int percentiles[MAX_PERCENTILES];
    int percentile_count;
    int tests; /* calls of MPI_Test during the computation */
    int rate;
    int digits; /* -1: as OSU */
    int facts;
    enum sync sync;
    enum memory memory;
};

struct setting;

struct family {
    const char *letters; /* the options that it takes, as getopt(3) wants them */
    enum ranks ranks;
    size_t max_bytes;
    struct counts small;
    struct counts large;
    int (*run)(const struct setting *setting); /* exit status */
};

struct program {
    const char *name;
    const char *title;
    const struct family *family;
    int operation; /* the family's */
};

struct setting {
    const struct program *program;
    const struct options *options;
    int rank;
    int size;
};

extern const struct family latency_family, multi_latency_family, bandwidth_family, rate_family;
extern const struct family collective_family, barrier_family, nonblocking_family, nonblocking_barrier_family;
extern const struct family one_sided_latency_family, one_sided_typed_family, one_sided_bandwidth_family;
extern const struct family init_family, hello_family;

/* ---- options.c ---- */

enum parsed { PARSED_RUN, PARSED_HELP, PARSED_VERSION, PARSED_WRONG };

enum parsed parse_options(int argc, char **argv, const struct program *program, struct options *options, char *wrong,
                          size_t room);
void print_usage(const struct program *program);

/* ---- output.c ---- */

struct column {
    const char *name;
    int whole; /* a narrow column of integers */
};

struct row {
    double values[MAX_COLUMNS];
    double tails[MAX_PERCENTILES];
    long wrong; /* elements that arrived wrong, on all ranks */
};

/* A table, and how a line of it is measured: on every rank; the row counts on rank 0, its `wrong` on all. */
struct table {
    const struct column *columns;
    int column_count;
    const char *tail_name; /* of a percentile, with %d in it */
    int without_sizes; /* one row without a size */
    int one_element; /* one row, of the type's size */
    int nameless; /* no line says the type */
    int sums; /* the data is added up, for which MPI has no MPI_CHAR */
    enum type usual; /* the type if none is wanted */
    void (*measure)(void *test, enum type type, size_t bytes, struct counts counts, struct row *row);
    void *test;
};

int choose_digits(const struct options *options, int usual);
void print_title(const struct setting *setting, int blank);
int print_table(const struct setting *setting, const struct table *table);
struct counts choose_counts(const struct options *options, size_t bytes);
void find_percentiles(const struct options *options, double *samples, long count, double *tails);
double *make_samples(const struct options *options);

/* ---- facts.c ---- */

void begin_facts(void);
void count_payload(double bytes); /* that this rank sends, or has another one send */
void print_facts(const struct setting *setting);

/* ---- data.c ---- */

/* What an element holds follows from where it comes from: a block that is lost, doubled or swapped is seen. */
struct pattern {
    int source;
    int block;
    long round;
    size_t first; /* index of the first element */
    int sums; /* small, so that a sum over ranks stays in a char */
};

void *make_buffer(size_t bytes, int content);
size_t type_size(enum type type);
MPI_Datatype type_of(enum type type, int sums);
const char *type_name(enum type type, int sums);
void fill(void *buffer, enum type type, size_t count, const struct pattern *pattern);
long count_wrong(const void *buffer, enum type type, size_t count, const struct pattern *pattern);
long count_wrong_sums(const void *buffer, enum type type, size_t count, const struct pattern *pattern, int sources);
long add_over_ranks(long mine);

/* ---- operations.c ---- */

struct call {
    const struct operation *operation;
    enum type type;
    MPI_Datatype datatype;
    int rank;
    int size;
    int count; /* elements of a block; of the whole vector in reductions */
    char *send;
    char *receive;
    int *counts; /* by rank: of vector forms and of MPI_Reduce_scatter */
    int *offsets;
    int *byte_offsets;
    MPI_Datatype *datatypes;
};

enum flow { FLOW_ALL, FLOW_FROM_ROOT, FLOW_TO_ROOT };
enum sums { SUMS_NOT, SUMS_WHOLE, SUMS_SPLIT, SUMS_SPLIT_EVENLY };

struct operation {
    /* Calls the blocking form if request is NULL. */
    void (*start)(const struct call *call, MPI_Request *request);
    enum flow flow;
    int sends_blocks; /* a block for each rank */
    int receives_blocks;
    enum sums sums;
    int in_place; /* sends from where it receives */
    int has_data;
};

enum {
    ALLGATHER,
    ALLGATHERV,
    ALLREDUCE,
    ALLTOALL,
    ALLTOALLV,
    ALLTOALLW,
    BARRIER,
    BCAST,
    GATHER,
    GATHERV,
    REDUCE,
    REDUCE_SCATTER,
    REDUCE_SCATTER_BLOCK,
    SCATTER,
    SCATTERV,
    OPERATIONS
};

extern const struct operation operations[OPERATIONS];

/* ---- collective.c ---- */

void open_call(const struct setting *setting, struct call *call);
void shape_call(struct call *call, enum type type, size_t bytes); /* for one size */
void close_call(struct call *call);
void prepare_data(const struct call *call, int untimed, long round); /* with calls that nobody times */
long check_data(const struct call *call, long round); /* elements that this rank got wrong */
void reduce_figures(double mine, int ranks, double *average, double *least, double *most); /* on rank 0 */

/* ---- the families' operations ---- */

enum { LATENCY, MULTI_LATENCY, BANDWIDTH, BOTH_WAYS, RATE };
enum { PUT, GET, ACCUMULATE, GET_ACCUMULATE, FETCH_AND_OP, COMPARE_AND_SWAP, PUT_WINDOW, GET_WINDOW, PUT_BOTH_WAYS };

#endif
