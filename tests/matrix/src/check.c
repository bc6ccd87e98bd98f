/*
 * Does MPI work?  Two ranks or more, each on whatever node:
 *
 *     check FILE
 *
 * Point-to-point, an error that must come back as its class, a collective, one-sided, and a shared FILE.  Each rank
 * says "rank R of N on HOST library VERSION" and "part NAME ok" for each part; a wrong result ends all ranks with 3.
 * Compiled as C and as C++, with whatever mpi.h is there, and run on the library of another build of that MPI.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than any header says: the library that answers may be another one. */
#define VERSION_ROOM 8192
#define COUNT 1000

static int rank;
static int size;

static void expect(int right, const char *what)
{
    if (!right) {
        fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
        fflush(stderr);
        MPI_Abort(MPI_COMM_WORLD, 3);
        exit(3);
    }
}

static void done(const char *part)
{
    printf("rank %d part %s ok\n", rank, part);
    fflush(stdout);
}

static void introduce(void)
{
    static char version[VERSION_ROOM];
    static char host[VERSION_ROOM];
    int length = 0;

    MPI_Get_processor_name(host, &length);
    MPI_Get_library_version(version, &length);
    version[strcspn(version, "\r\n")] = '\0';
    for (char *c = version; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
    printf("rank %d of %d on %s library %s\n", rank, size, host, version);
    fflush(stdout);
}

static void pass_around(void)
{
    int mine[COUNT];
    int theirs[COUNT];
    int count = 0;
    MPI_Status status;

    for (int i = 0; i < COUNT; i++)
        mine[i] = rank * COUNT + i;
    memset(&status, 0, sizeof status);
    MPI_Sendrecv(mine, COUNT, MPI_INT, (rank + 1) % size, 7, theirs, COUNT, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG,
                 MPI_COMM_WORLD, &status);
    int from = (rank + size - 1) % size;
    expect(status.MPI_SOURCE == from && status.MPI_TAG == 7, "source or tag of a message");
    MPI_Get_count(&status, MPI_INT, &count);
    expect(count == COUNT, "length of a message");
    for (int i = 0; i < COUNT; i++)
        expect(theirs[i] == from * COUNT + i, "content of a message");
    done("p2p");
}

static void return_errors(void)
{
    int class_of_it = 0;

    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    int code = MPI_Send(&class_of_it, 1, MPI_INT, size + 5, 0, MPI_COMM_WORLD);
    expect(code != MPI_SUCCESS, "a message to nobody was sent");
    MPI_Error_class(code, &class_of_it);
    expect(class_of_it == MPI_ERR_RANK, "class of an error");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
    done("error");
}

static void multiply(void *in, void *inout, int *length, MPI_Datatype *type)
{
    expect(*type == MPI_DOUBLE, "type that a reduction hands to its function");
    for (int i = 0; i < *length; i++)
        ((double *)inout)[i] *= ((double *)in)[i];
}

static void reduce(void)
{
    double mine = rank + 1.0;
    double sum = 0.0;
    double product = 0.0;
    double right = 1.0;
    int largest = rank;
    MPI_Op operation;

    MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    expect(sum == size * (size + 1) / 2.0, "sum of a reduction");
    MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    expect(largest == size - 1, "maximum of a reduction in place");
    MPI_Op_create(multiply, 1, &operation);
    MPI_Allreduce(&mine, &product, 1, MPI_DOUBLE, operation, MPI_COMM_WORLD);
    for (int i = 1; i <= size; i++)
        right *= i;
    expect(product == right, "product of a reduction by a function of the program");
    MPI_Op_free(&operation);
    done("collective");
}

static void put(void)
{
    /* Not of the stack: there, Debian 12's MPICH loses what UCX puts over TCP. */
    int *memory = (int *)malloc(COUNT * sizeof *memory);
    int mine = rank + 100;
    MPI_Win window;

    expect(memory != NULL, "no memory");
    memory[0] = -1;
    MPI_Win_create(memory, (MPI_Aint)(COUNT * sizeof *memory), (int)sizeof *memory, MPI_INFO_NULL, MPI_COMM_WORLD,
                   &window);
    MPI_Win_fence(MPI_MODE_NOPRECEDE, window);
    MPI_Put(&mine, 1, MPI_INT, (rank + 1) % size, 0, 1, MPI_INT, window);
    MPI_Win_fence(MPI_MODE_NOSUCCEED, window);
    expect(memory[0] == (rank + size - 1) % size + 100, "what another rank has put");
    MPI_Win_free(&window);
    free(memory);
    done("one-sided");
}

static void share(const char *path)
{
    int mine[COUNT];
    int theirs[COUNT];
    int next = (rank + 1) % size;
    int count = 0;
    MPI_File file;
    MPI_Offset end = 0;
    MPI_Status status;

    for (int i = 0; i < COUNT; i++)
        mine[i] = rank + 2 * i;
    /* Files return their errors, whatever the communicator does. */
    expect(MPI_File_open(MPI_COMM_WORLD, (char *)path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file) ==
               MPI_SUCCESS,
           "opening the shared file");
    MPI_File_write_at_all(file, (MPI_Offset)sizeof mine * rank, mine, COUNT, MPI_INT, &status);
    MPI_File_sync(file);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_File_read_at_all(file, (MPI_Offset)sizeof mine * next, theirs, COUNT, MPI_INT, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    expect(count == COUNT, "length of what was read");
    for (int i = 0; i < COUNT; i++)
        expect(theirs[i] == next + 2 * i, "what another rank has written");
    MPI_File_seek(file, 0, MPI_SEEK_END);
    MPI_File_get_position(file, &end);
    expect(end == (MPI_Offset)sizeof mine * size, "end of the shared file");
    MPI_File_close(&file);
    done("io");
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    introduce();
    expect(argc == 2, "arguments; usage: check FILE");
    pass_around();
    return_errors();
    reduce();
    put();
    share(argv[1]);
    MPI_Finalize();
    return 0;
}
