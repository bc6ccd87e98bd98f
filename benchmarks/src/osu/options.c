/* The options of OSU 7.5 that this suite knows, and --digits, which is ours. */
#include "osu.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_OPTION 1000
#define FACTS_OPTION 1001
#define MAX_ITERATIONS 100000000L

struct choice {
    const char *word;
    int value;
};

static const struct choice syncs[] = {
    { "flush", SYNC_FLUSH },       { "flush_local", SYNC_FLUSH_LOCAL }, { "lock", SYNC_LOCK },
    { "lock_all", SYNC_LOCK_ALL }, { "fence", SYNC_FENCE },             { "pscw", SYNC_PSCW },
    { NULL, 0 },
};
static const struct choice memories[] = {
    { "allocate", MEMORY_ALLOCATE },
    { "create", MEMORY_CREATE },
    { "dynamic", MEMORY_DYNAMIC },
    { NULL, 0 },
};

static const struct {
    struct option option;
    const char *text;
} known[] = {
    { { "help", no_argument, NULL, 'h' }, "print this" },
    { { "version", no_argument, NULL, 'v' }, "print which test and whose implementation this is" },
    { { "full", no_argument, NULL, 'f' }, "print all columns" },
    { { "message-size", required_argument, NULL, 'm' }, "[MIN:]MAX - message sizes in bytes; MIN: alone keeps the largest" },
    { { "iterations", required_argument, NULL, 'i' }, "N - timed iterations, for every size" },
    { { "warmup", required_argument, NULL, 'x' }, "N - iterations before them" },
    { { "window-size", required_argument, NULL, 'W' }, "N - messages in flight (default 64)" },
    { { "vary-window", no_argument, NULL, 'V' }, "windows of 1 to 128 messages" },
    { { "print-rate", required_argument, NULL, 'R' }, "0|1 - print messages a second (default 1)" },
    { { "num-pairs", required_argument, NULL, 'p' }, "N - taken and not used: there are always ranks/2 pairs" },
    { { "validation", optional_argument, NULL, 'c' }, "compare the data that arrives; exit status 1 if it is wrong" },
    { { "validation-warmup", required_argument, NULL, 'u' }, "N - untimed calls before each compared one (default 5)" },
    { { "type", required_argument, NULL, 'T' }, "all|mpi_char|mpi_int|mpi_float - datatype" },
    { { "tail-lat", optional_argument, NULL, 'z' }, "percentiles, attached: -z50,90,99 (the default)" },
    { { "num-test-calls", required_argument, NULL, 't' }, "N - calls of MPI_Test during the computation (default 0)" },
    { { "win-options", required_argument, NULL, 'w' }, "create|allocate|dynamic - how the window is made" },
    { { "sync-option", required_argument, NULL, 's' }, "lock|pscw|fence|flush|flush_local|lock_all" },
    { { "digits", required_argument, NULL, DIGITS_OPTION }, "N - digits behind the point (default 2); not an option of OSU's" },
    { { "facts", no_argument, NULL, FACTS_OPTION }, "print the MPI library and what interfaces counted; not an option of OSU's" },
};
#define KNOWN (sizeof known / sizeof known[0])

static int takes(const struct program *program, int letter)
{
    return letter >= DIGITS_OPTION || letter == 'h' || letter == 'v' || strchr(program->family->letters, letter) != NULL;
}

void print_usage(const struct program *program)
{
    printf("Usage: %s [options]\nOptions:\n", program->name);
    for (size_t i = 0; i < KNOWN; i++) {
        const struct option *option = &known[i].option;
        if (!takes(program, option->val))
            continue;
        if (option->val >= DIGITS_OPTION)
            printf("      --%-20s%s\n", option->name, known[i].text);
        else
            printf("  -%c, --%-20s%s\n", option->val, option->name, known[i].text);
    }
}

static int parse_number(const char *text, long low, long high, long *value)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *text < '0' || *text > '9' || number < low || number > high)
        return -1;
    *value = number;
    return 0;
}

static int parse_int(const char *text, long low, long high, int *value)
{
    long number = 0;
    if (parse_number(text, low, high, &number) != 0)
        return -1;
    *value = (int)number;
    return 0;
}

static int parse_counts(const char *text, long low, long *small, long *large)
{
    if (parse_number(text, low, MAX_ITERATIONS, small) != 0)
        return -1;
    *large = *small;
    return 0;
}

static int parse_sizes(const char *text, struct options *options)
{
    char least[32];
    long number = 0;
    const char *colon = strchr(text, ':');
    if (colon != NULL) {
        if ((size_t)(colon - text) >= sizeof least)
            return -1;
        memcpy(least, text, (size_t)(colon - text));
        least[colon - text] = '\0';
        if (parse_number(least, 0, (long)MAX_BYTES, &number) != 0)
            return -1;
        options->min_bytes = number == 0 ? 1 : (size_t)number; /* a message without an element is not measured */
        text = colon + 1;
        if (*text == '\0')
            return 0;
    }
    if (parse_number(text, 1, (long)MAX_BYTES, &number) != 0)
        return -1;
    options->max_bytes = (size_t)number;
    return 0;
}

static int parse_choice(const char *text, const struct choice *choices, int *value)
{
    for (; choices->word != NULL; choices++)
        if (strcmp(text, choices->word) == 0) {
            *value = choices->value;
            return 0;
        }
    return -1;
}

static int parse_type(const char *text, struct options *options)
{
    static const struct choice types[] = {
        { "mpi_char", TYPE_CHAR }, { "mpi_int", TYPE_INT }, { "mpi_float", TYPE_FLOAT }, { NULL, 0 }
    };
    int type = 0;
    int all = strcmp(text, "all") == 0;
    if (!all && parse_choice(text, types, &type) != 0)
        return -1;
    for (int i = 0; i < TYPES; i++)
        options->wanted[i] = all || i == type;
    return 0;
}

static int parse_percentiles(const char *text, struct options *options)
{
    options->percentile_count = 0;
    if (text == NULL)
        text = "50,90,99";
    while (1) {
        char *end = NULL;
        long number = strtol(text, &end, 10);
        if (end == text || number < 1 || number > 99 || options->percentile_count == MAX_PERCENTILES)
            return -1;
        options->percentiles[options->percentile_count++] = (int)number;
        if (*end == '\0')
            return 0;
        if (*end != ',')
            return -1;
        text = end + 1;
    }
}

static int take(int letter, const char *text, struct options *options)
{
    int choice = 0;
    switch (letter) {
    case 'm':
        return parse_sizes(text, options);
    case 'i':
        return parse_counts(text, 1, &options->small.iterations, &options->large.iterations);
    case 'x':
        return parse_counts(text, 0, &options->small.warmup, &options->large.warmup);
    case 'W':
        return parse_int(text, 1, MAX_WINDOW, &options->window);
    case 'R':
        return parse_int(text, 0, 1, &options->rate);
    case 'p':
        return parse_int(text, 1, MAX_ITERATIONS, &choice);
    case 'u':
        return parse_int(text, 0, 10, &options->untimed);
    case 't':
        return parse_int(text, 1, MAX_ITERATIONS, &options->tests);
    case 'T':
        return parse_type(text, options);
    case 'z':
        return parse_percentiles(text, options);
    case FACTS_OPTION:
        options->facts = 1;
        return 0;
    case 'f':
        options->full = 1;
        return 0;
    case 'V':
        options->vary_window = 1;
        return 0;
    case 'c': /* OSU also writes logs */
        options->validate = 1;
        return text == NULL ? 0 : -1;
    case 's':
        if (parse_choice(text, syncs, &choice) != 0)
            return -1;
        options->sync = (enum sync)choice;
        return 0;
    case 'w':
        if (parse_choice(text, memories, &choice) != 0)
            return -1;
        options->memory = (enum memory)choice;
        return 0;
    default:
        return parse_int(text, 0, 9, &options->digits);
    }
}

enum parsed parse_options(int argc, char **argv, const struct program *program, struct options *options, char *wrong,
                          size_t room)
{
    const struct family *family = program->family;
    struct option long_options[KNOWN + 1];
    char letters[64];
    size_t count = 0;
    int letter = 0;

    *options = (struct options){ .min_bytes = 1,
                                 .max_bytes = family->max_bytes,
                                 .small = family->small,
                                 .large = family->large,
                                 .window = 64,
                                 .untimed = 5,
                                 .rate = 1,
                                 .digits = -1 };
    memset(long_options, 0, sizeof long_options);
    for (size_t i = 0; i < KNOWN; i++)
        if (takes(program, known[i].option.val))
            long_options[count++] = known[i].option;
    snprintf(letters, sizeof letters, ":%shv", family->letters);
    opterr = 0;
    while ((letter = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        if (letter == 'h')
            return PARSED_HELP;
        if (letter == 'v')
            return PARSED_VERSION;
        if (letter == '?' || letter == ':') {
            if (optopt != 0 && optopt < DIGITS_OPTION)
                snprintf(wrong, room, "Invalid option [-%c]", optopt);
            else
                snprintf(wrong, room, "Invalid option [%s]", argv[optind - 1]);
            return PARSED_WRONG;
        }
        if (take(letter, optarg, options) != 0) {
            snprintf(wrong, room, "Invalid option [%s]", optarg);
            return PARSED_WRONG;
        }
    }
    if (optind < argc || options->min_bytes > options->max_bytes) {
        snprintf(wrong, room, "Invalid option [%s]", optind < argc ? argv[optind] : "-m");
        return PARSED_WRONG;
    }
    return PARSED_RUN;
}
