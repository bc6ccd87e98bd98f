/* Small input and output by one rank of a step: what people do to a file system without meaning to.
 *
 *   bareboat_io write DIR COUNT    COUNT writes of 512 bytes, one after the other, to a file of the rank's own
 *   bareboat_io meta DIR COUNT     COUNT files made, looked at, renamed and removed, in a directory of the rank's own
 *   bareboat_io tree DIR           all regular files below DIR read once
 *
 * Prints one line: what it did, how many times, and how many seconds that took.  No MPI: the ranks of a step start
 * together, and the slowest one counts.  Linked statically, so that the same program runs on the host and in any image.
 * Exit code: 0; 1 when a call failed, 2 for arguments that make no sense.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 512, BUFFER = 128 * 1024, MAX_DEPTH = 32 };

struct tally {
    long count;
    long long bytes;
};

static struct tally tree; /* nftw(3) hands on no pointer of ours */

static int complain(const char *what, const char *path)
{
    fprintf(stderr, "bareboat_io: %s %s: %s\n", what, path, strerror(errno));
    return -1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* dd's way: each block a write(2) of its own, nothing forced to the disk; closing is part of it, since network file
 * systems write then. */
static int write_blocks(long count, struct tally *done)
{
    char block[BLOCK];
    int status = -1;

    memset(block, 'b', sizeof block);
    int fd = open("blocks", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain("create", "blocks");
    for (long i = 0; i < count; i++) {
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block) {
            complain("write", "blocks");
            goto out;
        }
    }
    done->count = count;
    done->bytes = (long long)count * BLOCK;
    status = 0;
out:
    if (close(fd) < 0 && status == 0)
        status = complain("close", "blocks");
    return status;
}

static int touch_files(long count, struct tally *done)
{
    char name[NAME_MAX];
    struct stat facts;

    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "f%ld", i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || close(fd) < 0)
            return complain("create", name);
        if (stat(name, &facts) < 0)
            return complain("look at", name);
        if (rename(name, "renamed") < 0)
            return complain("rename", name);
        if (unlink("renamed") < 0)
            return complain("remove", name);
    }
    done->count = count;
    return 0;
}

static int read_file(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    static char buffer[BUFFER];
    ssize_t got;

    (void)place;
    if (type != FTW_F || !S_ISREG(facts->st_mode))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == EACCES ? 0 : complain("open", path); /* what others may not read does not count */
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        tree.bytes += got;
    if (got < 0) {
        complain("read", path);
        close(fd);
        return -1;
    }
    tree.count++;
    return close(fd);
}

static int read_tree(const char *directory, struct tally *done)
{
    if (nftw(directory, read_file, MAX_DEPTH, FTW_PHYS) != 0)
        return tree.count == 0 ? complain("walk", directory) : -1;
    *done = tree;
    return 0;
}

static long parse_count(const char *text)
{
    char *end;
    errno = 0;
    long count = strtol(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0' && count > 0 ? count : -1;
}

/* Works in a directory of this rank alone, below one that all of them share, and leaves nothing in it. */
static int work_in(const char *directory, const char *verb, long count, struct tally *done, double *seconds)
{
    static const char name[] = "/bareboat-io-XXXXXX";
    char own[PATH_MAX + sizeof name]; /* absolute, since it is left before it is removed */
    int status;

    if (realpath(directory, own) == NULL)
        return complain("find", directory);
    strcat(own, name);
    if (mkdtemp(own) == NULL)
        return complain("make a directory in", directory);
    if (chdir(own) < 0) {
        status = complain("enter", own);
        goto out;
    }
    double start = now();
    status = strcmp(verb, "write") == 0 ? write_blocks(count, done) : touch_files(count, done);
    *seconds = now() - start;
    unlink("blocks");
out:
    if ((chdir("/") < 0 || rmdir(own) < 0) && status == 0)
        status = complain("remove", own);
    return status;
}

int main(int argc, char **argv)
{
    struct tally done = {0, 0};
    double seconds = 0;
    int status;

    if (argc == 3 && strcmp(argv[1], "tree") == 0) {
        double start = now();
        status = read_tree(argv[2], &done);
        seconds = now() - start;
    } else if (argc == 4 && (strcmp(argv[1], "write") == 0 || strcmp(argv[1], "meta") == 0)) {
        long count = parse_count(argv[3]);
        if (count < 0) {
            fprintf(stderr, "bareboat_io: %s is not a number above 0\n", argv[3]);
            return 2;
        }
        status = work_in(argv[2], argv[1], count, &done, &seconds);
    } else {
        fprintf(stderr, "usage: bareboat_io write|meta DIR COUNT, or bareboat_io tree DIR\n");
        return 2;
    }
    if (status < 0)
        return 1;
    printf("%s: %ld times, %lld bytes, %.9f s\n", argv[1], done.count, done.bytes, seconds);
    return fflush(stdout) == 0 ? 0 : 1;
}
