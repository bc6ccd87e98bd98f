/* What the C tests share: cmocka in the order it wants to be included, and programs written as string lists. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* A program's bytes: the given records, each ended by NUL. */
struct bytes {
	char data[8192];
	size_t size;
};

static inline struct bytes records(const char *const *texts)
{
	struct bytes bytes = { .size = 0 };

	for (; *texts; texts++) {
		size_t length = strlen(*texts) + 1;

		assert_true(bytes.size + length <= sizeof bytes.data);
		memcpy(bytes.data + bytes.size, *texts, length);
		bytes.size += length;
	}
	return bytes;
}

#define RECORDS(...) records((const char *const[]){ __VA_ARGS__, NULL })
#define PROGRAM(...) RECORDS("bareboat-program", "1", __VA_ARGS__, "end")

#endif
