#define _GNU_SOURCE
#include "mountinfo.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sys.h"

int bb_mountinfo_open(struct bb_mountinfo *table, struct bb_err *err)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;
	size_t length = 0;

	table->text = NULL;
	if (fd < 0)
		return bb_fail(err, errno, "read", "/proc/self/mountinfo");
	/* Pages that stay untouched cost nothing. */
	table->text = mmap(NULL, BB_MOUNTINFO_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table->text == MAP_FAILED)
		table->text = NULL;
	else
		do {
			got = read(fd, table->text + length, BB_MOUNTINFO_MAX - 1 - length);
			length += got > 0 ? (size_t)got : 0;
		} while (got > 0);
	if (got == 0 && length == BB_MOUNTINFO_MAX - 1) {
		got = -1;
		errno = EFBIG;
	}
	bb_close(&fd);
	if (got == 0)
		return 0;
	bb_fail(err, errno, "read", "/proc/self/mountinfo");
	bb_mountinfo_close(table);
	return -1;
}

void bb_mountinfo_close(struct bb_mountinfo *table)
{
	if (table->text)
		munmap(table->text, BB_MOUNTINFO_MAX);
	table->text = NULL;
}

/* The `number`th (from 0) blank-separated field of a line; NULL where the line has fewer. */
static const char *field(const char *line, const char *end, unsigned number)
{
	while (number--) {
		line = memchr(line, ' ', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	return line;
}

static bool octal(const char *text)
{
	return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' && text[2] <= '7';
}

/* Copies a field, turning \040 and its like (written for blanks and backslashes) back into characters. */
static bool copy(const char *text, const char *end, char *out, size_t size)
{
	size_t length = 0;

	while (text < end && *text != ' ') {
		bool escaped = *text == '\\' && end - text > 3 && octal(text + 1);

		if (length + 1 >= size)
			return false;
		out[length++] = escaped ? (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0')) : *text;
		text += escaped ? 4 : 1;
	}
	out[length] = '\0';
	return true;
}

/* Whether the field at `type` is one of the comma-separated `types`. */
static bool listed(const char *types, const char *type, const char *end)
{
	const char *blank = memchr(type, ' ', (size_t)(end - type));
	size_t length = (size_t)((blank ? blank : end) - type);

	for (;;) {
		const char *comma = strchrnul(types, ',');

		if ((size_t)(comma - types) == length && !memcmp(types, type, length))
			return true;
		if (!*comma)
			return false;
		types = comma + 1;
	}
}

bool bb_mountinfo_next(const struct bb_mountinfo *table, const char *types, size_t *cursor, char *path, size_t size)
{
	/* ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS */
	while (table->text[*cursor]) {
		const char *line = table->text + *cursor, *end = strchrnul(line, '\n');
		const char *mark = memmem(line, (size_t)(end - line), " - ", 3);
		const char *point = field(line, end, 4);

		*cursor = (size_t)(end - table->text) + (*end ? 1 : 0);
		if (mark && point && point < mark && *point == '/' && listed(types, mark + 3, end) && copy(point, end, path, size))
			return true;
	}
	return false;
}
