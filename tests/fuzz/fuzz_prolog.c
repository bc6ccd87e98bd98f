/* Any bytes as what a task prolog prints.  Input: a byte for the size of the buffer, a byte for how much comes at once,
 * the bytes.  However they come, the same lines are carried out, and none that does not begin where a line begins. */
#include "exact.h"

#include "prolog_lines.h"

enum { KEPT = 1 << 16 };

/* What was carried out, written down. */
struct record {
	char text[KEPT];
	size_t length;
};

static void note(struct record *record, char kind, const char *text, size_t length)
{
	if (record->length + length + 2 > KEPT)
		return;
	record->text[record->length++] = kind;
	memcpy(record->text + record->length, text, length);
	record->length += length;
	record->text[record->length++] = '\0';
}

static void print(void *data, const char *text, size_t length)
{
	CHECK(length && text[length - 1] == '\n' && !memchr(text, '\0', length));
	note(data, 'p', text, length);
}

static void set(void *data, const char *name, const char *value)
{
	CHECK(!strchr(name, '=') && !strchr(name, '\n') && !strchr(value, '\n'));
	note(data, 'n', name, strlen(name));
	note(data, 'v', value, strlen(value));
}

static void unset(void *data, const char *name)
{
	CHECK(!strchr(name, '\n'));
	note(data, 'u', name, strlen(name));
}

/* All of `data`, at most `step` bytes at once. */
static void feed(struct record *record, size_t size, size_t step, const uint8_t *data, size_t count)
{
	const struct bb_orders orders = { record, print, set, unset };
	struct bb_lines lines = { .text = malloc(size), .size = size };

	CHECK(lines.text);
	record->length = 0;
	while (count) {
		size_t room, got = count < step ? count : step;
		char *space = bb_lines_space(&lines, &room);

		CHECK(room);
		got = got < room ? got : room;
		memcpy(space, data, got);
		bb_lines_take(&lines, got, &orders);
		data += got;
		count -= got;
	}
	bb_lines_end(&lines, &orders);
	free(lines.text);
}

/* The same by each line on its own, in a buffer that is ample; those that `size` has no room for are left out. */
static void expect(struct record *record, size_t size, const uint8_t *data, size_t count)
{
	static struct record one;

	record->length = 0;
	for (const uint8_t *end = data + count; data < end;) {
		const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));
		size_t length = (size_t)((newline ? newline : end) - data);

		if (length < size - 2) {
			feed(&one, length + 4, length + 1, data, length + (newline ? 1 : 0));
			if (record->length + one.length <= KEPT) {
				memcpy(record->text + record->length, one.text, one.length);
				record->length += one.length;
			}
		}
		data += length + (newline ? 1 : 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record found, expected;

	if (size < 2)
		return 0;
	feed(&found, 3 + (size_t)data[0], 1 + (size_t)data[1], data + 2, size - 2);
	expect(&expected, 3 + (size_t)data[0], data + 2, size - 2);
	CHECK(found.length == expected.length && !memcmp(found.text, expected.text, found.length));
	return 0;
}
