#define _GNU_SOURCE
#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[] = "bareboat-entry";
static const char version[] = "1";

enum { FIELDS = 5 }; /* device, inode, size, mtime, ctime */

static int malformed(struct bb_err *err, const char *what)
{
	return bb_fail(err, EINVAL, "read the plan", what);
}

/* The record at `*at`, which is moved behind it; NULL where the data ends before a NUL. */
static const char *record(const char **at, const char *end)
{
	const char *text = *at, *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

	if (!nul)
		return NULL;
	*at = nul + 1;
	return text;
}

/* Reads a decimal number. */
static bool number(const char **text, unsigned long long *value)
{
	const char *start = *text;

	for (*value = 0; **text >= '0' && **text <= '9'; ++*text)
		if (__builtin_mul_overflow(*value, 10ULL, value) ||
		    __builtin_add_overflow(*value, (unsigned long long)(**text - '0'), value))
			return false;
	return *text != start;
}

static bool read_stamp(const char *text, unsigned long long fields[FIELDS])
{
	for (int i = 0; i < FIELDS; i++)
		if ((i && *text++ != ' ') || !number(&text, &fields[i]))
			return false;
	return !*text;
}

static bool good_guard(const char *kind, const char *path, const char *stamp)
{
	unsigned long long fields[FIELDS];

	if (path[0] != '/')
		return false;
	if (!strcmp(kind, "there") || !strcmp(kind, "absent") || !strcmp(kind, "readable") || !strcmp(kind, "writable"))
		return !*stamp;
	return (!strcmp(kind, "same") || !strcmp(kind, "link")) && read_stamp(stamp, fields);
}

int bb_entry_open(struct bb_entry *entry, const char *data, size_t size, struct bb_err *err)
{
	const char *at = data, *end = data + size, *text;

	*entry = (struct bb_entry){ .cacheable = false };
	if (size > BB_ENTRY_MAX)
		return malformed(err, "longer than 2 MiB");
	text = record(&at, end);
	if (!text || strcmp(text, magic))
		return malformed(err, "not a plan of bareboat");
	text = record(&at, end);
	if (!text || strcmp(text, version))
		return malformed(err, "another version");
	text = record(&at, end);
	if (!text || (strcmp(text, "cache") && strcmp(text, "no-cache")))
		return malformed(err, "whether to keep it is not said");
	entry->cacheable = !strcmp(text, "cache");
	entry->guards = at;
	while ((text = record(&at, end)) && !strcmp(text, "guard")) {
		const char *kind = record(&at, end), *path = kind ? record(&at, end) : NULL;
		const char *stamp = path ? record(&at, end) : NULL;

		if (!stamp || !good_guard(kind, path, stamp))
			return malformed(err, "a bad guard");
	}
	if (!text || strcmp(text, "program"))
		return malformed(err, "without a program");
	return bb_program_open(&entry->program, at, (size_t)(end - at), err);
}

static unsigned long long nanoseconds(struct timespec time)
{
	return (unsigned long long)time.tv_sec * 1000000000ULL + (unsigned long long)time.tv_nsec;
}

static bool same(const struct stat *now, const char *stamp)
{
	unsigned long long fields[FIELDS];

	return read_stamp(stamp, fields) && now->st_dev == fields[0] && now->st_ino == fields[1] &&
	       (unsigned long long)now->st_size == fields[2] && nanoseconds(now->st_mtim) == fields[3] &&
	       nanoseconds(now->st_ctim) == fields[4];
}

static bool holds(const char *kind, const char *path, const char *stamp)
{
	struct stat now;

	if (!strcmp(kind, "absent"))
		return lstat(path, &now) < 0 && (errno == ENOENT || errno == ENOTDIR);
	if (!strcmp(kind, "there"))
		return stat(path, &now) == 0;
	/* Asks the device cgroup as well, and of a device not its driver. */
	if (!strcmp(kind, "readable") || !strcmp(kind, "writable"))
		return access(path, kind[0] == 'r' ? R_OK : W_OK) == 0;
	return (kind[0] == 'l' ? lstat(path, &now) : stat(path, &now)) == 0 && same(&now, stamp);
}

bool bb_entry_holds(const struct bb_entry *entry, const char **broken)
{
	const char *at = entry->guards, *end = entry->program.data;

	*broken = NULL;
	while (!strcmp(record(&at, end), "guard")) {
		const char *kind = record(&at, end), *path = record(&at, end), *stamp = record(&at, end);

		if (!holds(kind, path, stamp)) {
			*broken = path;
			return false;
		}
	}
	return true;
}
