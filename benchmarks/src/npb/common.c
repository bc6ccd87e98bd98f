/* See common.h. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "../common/ending.h"

#include "../common/library.h"

#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#define EXIT_WRONG 1   /* the verification failed */
#define EXIT_REFUSED 2 /* options, number of processes */

/* Every rank comes here and knows the reason, so none is left waiting. */
static _Noreturn void refuse(void)
{
    finalize_mpi(EXIT_REFUSED);
    exit(EXIT_REFUSED);
}

void npb_say(const struct npb_run *run, const char *format, ...)
{
    va_list arguments;

    if (run->rank != 0)
        return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

void npb_start(struct npb_run *run, const char *kernel, int *argc, char ***argv)
{
    const char *class = "S";
    bool wrong = false;

    MPI_Init(argc, argv);
    *run = (struct npb_run){.kernel = kernel};
    MPI_Comm_rank(MPI_COMM_WORLD, &run->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run->ranks);
    opterr = 0;
    for (int option; (option = getopt(*argc, *argv, "c:")) != -1;) {
        if (option == 'c')
            class = optarg;
        else
            wrong = true;
    }
    const char *found = strlen(class) == 1 ? strchr(NPB_CLASSES, class[0]) : NULL;
    if (wrong || optind != *argc || found == NULL) {
        npb_say(run, " *** ERROR in the arguments of %s: -c S, W, A, B or C is all it takes\n", kernel);
        refuse();
    }
    run->class = *found;
    run->index = (int)(found - NPB_CLASSES);
    npb_say(run, "\n\n NAS Parallel Benchmarks 3.4 -- %s Benchmark (bareboat's own implementation)\n\n", kernel);
}

void npb_need_power_of_two(const struct npb_run *run, int largest)
{
    int fitting = 1;

    while (fitting * 2 <= run->ranks && fitting * 2 <= largest)
        fitting *= 2;
    if (fitting == run->ranks)
        return;
    npb_say(run, " *** ERROR determining processor topology for %d processes\n", run->ranks);
    npb_say(run, "     Expecting a power-of-two number of processes (such as %d)\n", fitting);
    refuse();
}

void *npb_allocate(size_t count, size_t size)
{
    void *memory = NULL;
    size_t bytes = count * size;

    if ((size != 0 && bytes / size != count) || posix_memalign(&memory, 64, bytes + 64) != 0) {
        fprintf(stderr, " *** ERROR: no memory for %zu elements of %zu bytes\n", count, size);
        MPI_Abort(MPI_COMM_WORLD, EXIT_REFUSED);
        abort();
    }
    memset(memory, 0, bytes + 64);
    return memory;
}

int npb_log2(int power)
{
    int log = 0;
    while (1 << log < power)
        log++;
    return log;
}

bool npb_is_close(double value, double reference, double tolerance)
{
    return fabs(value - reference) <= tolerance * fabs(reference);
}

void npb_exchange(const double *send, int send_count, int to, double *receive, int receive_count, int from, int tag)
{
    MPI_Request request;

    MPI_Irecv(receive, receive_count, MPI_DOUBLE, from, tag, MPI_COMM_WORLD, &request);
    MPI_Send(send, send_count, MPI_DOUBLE, to, tag, MPI_COMM_WORLD);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

static void print_block(const struct npb_run *run, const struct npb_result *result, bool verified)
{
    double rate = result->operations / result->seconds;

    printf("\n\n %s Benchmark Completed.\n", run->kernel);
    printf(" Class           = %24c\n", run->class);
    printf(" Size            = %24s\n", result->size);
    printf(" Iterations      = %24d\n", result->iterations);
    /* NPB prints two digits, which makes class S a time of 0.00. */
    printf(" Time in seconds = %24.6f\n", result->seconds);
    printf(" Total processes = %24d\n", run->ranks);
    printf(" Active processes= %24d\n", run->ranks);
    printf(" Mop/s total     = %24.2f\n", rate);
    printf(" Mop/s/process   = %24.2f\n", rate / run->ranks);
    printf(" Operation type  = %24s\n", result->operation);
    printf(" Verification    = %24s\n", verified ? "SUCCESSFUL" : "UNSUCCESSFUL");
    printf(" Version         = %24s\n", "bareboat, as 3.4.1");
    printf(" Compile date    = %24s\n", __DATE__);
    printf("\n Compile options:\n");
    printf("    CC           = %s\n", __VERSION__);
    printf("    RAND         = integers of 64 bits\n\n");
    print_library();
    printf("\n These programs are bareboat's, not NASA's: they compute what NPB specifies and are held to its\n");
    printf(" reference values, but their code is their own.\n\n");
    fflush(stdout);
}

int npb_finish(const struct npb_run *run, const struct npb_result *result)
{
    int verified = result->verified;
    int status = EXIT_SUCCESS;

    /* Not all ranks need hold the same number where the library went wrong. */
    MPI_Allreduce(MPI_IN_PLACE, &verified, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (run->rank == 0)
        print_block(run, result, verified);
    if (run->rank == 0 && !verified)
        fprintf(stderr, "%s of class %c computed a wrong result, so its speed is no figure\n", run->kernel, run->class);
    status = verified ? EXIT_SUCCESS : EXIT_WRONG;
    finalize_mpi(status);
    return status;
}
