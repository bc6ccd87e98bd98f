/* Buffers, datatypes, and the data that is sent where it is compared. */
#include "osu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULUS 61
#define MODULUS_OF_SUMS 4
#define TOLERANCE 0.001

void *make_buffer(size_t bytes, int content)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (bytes / page + 1) * page;
    void *buffer = aligned_alloc(page, room);
    if (buffer == NULL) {
        fprintf(stderr, "osu: no memory for a buffer of %zu bytes\n", room);
        MPI_Abort(MPI_COMM_WORLD, 1);
        exit(1);
    }
    memset(buffer, content, room);
    return buffer;
}

size_t type_size(enum type type)
{
    static const size_t sizes[TYPES] = { sizeof(char), sizeof(int), sizeof(float) };
    return sizes[type];
}

MPI_Datatype type_of(enum type type, int sums)
{
    if (type == TYPE_CHAR)
        return sums ? MPI_SIGNED_CHAR : MPI_CHAR;
    return type == TYPE_INT ? MPI_INT : MPI_FLOAT;
}

const char *type_name(enum type type, int sums)
{
    if (type == TYPE_CHAR)
        return sums ? "MPI_SIGNED_CHAR" : "MPI_CHAR";
    return type == TYPE_INT ? "MPI_INT" : "MPI_FLOAT";
}

static int value_at(const struct pattern *pattern, int source, size_t index)
{
    size_t mixed = 7u * (size_t)source + 13u * (size_t)pattern->block + 3u * (pattern->first + index);
    return (int)((mixed + (size_t)pattern->round) % (pattern->sums ? MODULUS_OF_SUMS : MODULUS));
}

static int is_value(const void *buffer, enum type type, size_t index, int value)
{
    switch (type) {
    case TYPE_INT:
        return ((const int *)buffer)[index] == value;
    case TYPE_FLOAT:
        return fabs((double)((const float *)buffer)[index] - value) <= TOLERANCE;
    default: /* the sum over very many ranks wraps around */
        return ((const signed char *)buffer)[index] == (signed char)value;
    }
}

void fill(void *buffer, enum type type, size_t count, const struct pattern *pattern)
{
    for (size_t i = 0; i < count; i++) {
        int value = value_at(pattern, pattern->source, i);
        if (type == TYPE_INT)
            ((int *)buffer)[i] = value;
        else if (type == TYPE_FLOAT)
            ((float *)buffer)[i] = (float)value;
        else
            ((signed char *)buffer)[i] = (signed char)value;
    }
}

long count_wrong(const void *buffer, enum type type, size_t count, const struct pattern *pattern)
{
    long wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += !is_value(buffer, type, i, value_at(pattern, pattern->source, i));
    return wrong;
}

long count_wrong_sums(const void *buffer, enum type type, size_t count, const struct pattern *pattern, int sources)
{
    int sums[MODULUS_OF_SUMS] = { 0 }; /* the pattern repeats after so many elements */
    long wrong = 0;
    for (size_t i = 0; i < MODULUS_OF_SUMS; i++)
        for (int source = 0; source < sources; source++)
            sums[i] += value_at(pattern, source, i);
    for (size_t i = 0; i < count; i++)
        wrong += !is_value(buffer, type, i, sums[i % MODULUS_OF_SUMS]);
    return wrong;
}

long add_over_ranks(long mine)
{
    long all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    return all;
}
