#include "prolog_lines.h"

#include <ctype.h>
#include <string.h>

/* Bytes at the end that are never read into: for the newline behind printed text, and for a NUL. */
enum { RESERVE = 2 };

static char *skip_blanks(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

static void trim(char *text)
{
	size_t length = strlen(text);

	while (length && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
}

/* One line without its newline, changed on the way. */
static void obey(char *line, const struct bb_orders *orders)
{
	if (!strncmp(line, "print ", 6)) {
		char *text = skip_blanks(line + 6);
		size_t length = strlen(text);

		text[length] = '\n';
		orders->print(orders->data, text, length + 1);
		text[length] = '\0';
	} else if (!strncmp(line, "export ", 7)) {
		char *name = skip_blanks(line + 7), *equals = strchr(name, '=');

		if (!equals)
			return;
		*equals = '\0';
		trim(name);
		orders->set(orders->data, name, equals + 1);
	} else if (!strncmp(line, "unset ", 6)) {
		char *name = skip_blanks(line + 6);

		trim(name);
		orders->unset(orders->data, name);
	}
}

char *bb_lines_space(const struct bb_lines *lines, size_t *room)
{
	*room = lines->size - RESERVE - lines->length;
	return lines->text + lines->length;
}

void bb_lines_take(struct bb_lines *lines, size_t got, const struct bb_orders *orders)
{
	char *newline;

	lines->length += got;
	lines->text[lines->length] = '\0';
	while ((newline = memchr(lines->text, '\n', lines->length))) {
		size_t rest = lines->length - (size_t)(newline + 1 - lines->text);

		*newline = '\0';
		if (!lines->dropping)
			obey(lines->text, orders);
		lines->dropping = false;
		memmove(lines->text, newline + 1, rest + 1);
		lines->length = rest;
	}
	if (lines->dropping || lines->length == lines->size - RESERVE) {
		lines->length = 0;
		lines->dropping = true;
	}
}

void bb_lines_end(struct bb_lines *lines, const struct bb_orders *orders)
{
	if (lines->length)
		obey(lines->text, orders);
	lines->length = 0;
}
