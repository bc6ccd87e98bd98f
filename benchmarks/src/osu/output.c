/* Titles, tables and percentiles, in the widths of OSU 7.5. */
#include "osu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_WIDTH 10

int choose_digits(const struct options *options, int usual)
{
    return options->digits < 0 ? usual : options->digits;
}

void print_title(const struct setting *setting, int blank)
{
    if (setting->rank == 0)
        printf("%s# OSU %s Test v7.5\n", blank ? "\n" : "", setting->program->title);
}

struct counts choose_counts(const struct options *options, size_t bytes)
{
    return bytes > LARGE_FROM ? options->large : options->small;
}

static void print_headings(const struct options *options, const struct table *table)
{
    char name[64];
    if (!table->without_sizes)
        printf("%-*s", LEFT_WIDTH, "# Size");
    for (int i = 0; i < table->column_count; i++) {
        const struct column *column = &table->columns[i];
        if (i == 0 && table->without_sizes)
            printf("# %s", column->name);
        else
            printf("%*s", column->whole ? WHOLE_WIDTH : VALUE_WIDTH, column->name);
    }
    if (options->validate)
        printf("%*s", VALUE_WIDTH, "Validation");
    for (int i = 0; i < options->percentile_count; i++) {
        snprintf(name, sizeof name, "P%d Tail %s", options->percentiles[i], table->tail_name);
        printf("%*s", VALUE_WIDTH, name);
    }
    printf("\n");
    fflush(stdout);
}

static void print_row(const struct options *options, const struct table *table, size_t bytes, const struct row *row)
{
    if (!table->without_sizes)
        printf("%-*zu", LEFT_WIDTH, bytes);
    for (int i = 0; i < table->column_count; i++) {
        const struct column *column = &table->columns[i];
        int width = i == 0 && table->without_sizes ? (int)strlen(column->name) + 2 : VALUE_WIDTH;
        if (column->whole)
            printf("%*.0f", WHOLE_WIDTH, row->values[i]);
        else
            printf("%*.*f", width, choose_digits(options, 2), row->values[i]);
    }
    if (options->validate)
        printf("%*s", VALUE_WIDTH, row->wrong == 0 ? "Pass" : "Fail");
    for (int i = 0; i < options->percentile_count; i++)
        printf("%*.*f", VALUE_WIDTH, choose_digits(options, 2), row->tails[i]);
    printf("\n");
    fflush(stdout);
}

static int print_one(const struct setting *setting, const struct table *table, enum type type, size_t bytes)
{
    const struct options *options = setting->options;
    struct row row;
    memset(&row, 0, sizeof row);
    table->measure(table->test, type, bytes, choose_counts(options, bytes), &row);
    if (setting->rank == 0)
        print_row(options, table, bytes, &row);
    if (row.wrong == 0)
        return 0;
    if (setting->rank == 0)
        fprintf(stderr, "DATA VALIDATION ERROR: %s exited with status 1 on message size %zu.\n", setting->program->name,
                bytes);
    return 1;
}

static int print_type(const struct setting *setting, const struct table *table, enum type type)
{
    const struct options *options = setting->options;
    size_t element = type_size(type);
    if (setting->rank == 0) {
        if (!table->nameless)
            printf("# Datatype: %s.\n", type_name(type, table->sums));
        print_headings(options, table);
    }
    if (table->one_element || table->without_sizes)
        return print_one(setting, table, type, table->one_element ? element : 0);
    for (size_t bytes = options->min_bytes; bytes <= options->max_bytes; bytes *= 2)
        if (bytes >= element && print_one(setting, table, type, bytes) != 0)
            return 1;
    return 0;
}

int print_table(const struct setting *setting, const struct table *table)
{
    int printed = 0;
    for (enum type type = TYPE_CHAR; type < TYPES; type++) {
        if (!setting->options->wanted[type])
            continue;
        printed = 1;
        if (print_type(setting, table, type) != 0)
            return 1;
    }
    return printed ? 0 : print_type(setting, table, table->usual);
}

/* ---- percentiles ---- */

double *make_samples(const struct options *options)
{
    long most = options->small.iterations > options->large.iterations ? options->small.iterations
                                                                        : options->large.iterations;
    return options->percentile_count == 0 ? NULL : make_buffer((size_t)most * sizeof(double), 0);
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* By nearest rank; the mean over the ranks' percentiles is the caller's. */
void find_percentiles(const struct options *options, double *samples, long count, double *tails)
{
    if (samples == NULL)
        return;
    qsort(samples, (size_t)count, sizeof *samples, compare);
    for (int i = 0; i < options->percentile_count; i++)
        tails[i] = samples[(count * options->percentiles[i] + 99) / 100 - 1];
}
