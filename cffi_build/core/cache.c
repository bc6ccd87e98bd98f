#define _GNU_SOURCE
#include "cache.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "sys.h"

static const char magic[] = "bareboat-cached 1";

/* In front of each entry; the key itself follows, and is compared as a whole: its hash only names the file. */
struct head {
	char magic[sizeof magic];
	uint64_t key_size, entry_size;
};

void bb_key_add(struct bb_key *key, const char *text)
{
	size_t length = strlen(text) + 1;

	if (key->overflow || length > sizeof key->data - key->size) {
		key->overflow = true;
		return;
	}
	memcpy(key->data + key->size, text, length);
	key->size += length;
}

void bb_key_add_number(struct bb_key *key, unsigned long long number)
{
	char text[24];

	bb_put_number(text, sizeof text, 0, number);
	bb_key_add(key, text);
}

static uint64_t fnv1a(const struct bb_key *key, uint64_t hash)
{
	for (size_t i = 0; i < key->size; i++)
		hash = (hash ^ (unsigned char)key->data[i]) * 0x100000001b3ULL;
	return hash;
}

static void name_of(const struct bb_key *key, char name[33])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t halves[2] = { fnv1a(key, 0xcbf29ce484222325ULL), fnv1a(key, 0x84222325cbf29ce4ULL) };

	for (int i = 0; i < 32; i++)
		name[i] = digits[halves[i / 16] >> (4 * (i % 16)) & 15];
	name[32] = '\0';
}

int bb_cache_open(const char *path, struct bb_err *err)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return bb_fail(err, errno, "open the cache", path);
	errno = EPERM; /* where fstat(2) does not fail */
	if (fstat(fd, &status) < 0 || status.st_uid != geteuid() || (status.st_mode & 077)) {
		bb_close(&fd);
		return bb_fail(err, errno, "trust the cache", path);
	}
	return fd;
}

/* Reads `size` bytes, no less. */
static bool read_all(int fd, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t got = read(fd, at, size);

		if (got <= 0)
			return false;
		at += got;
		size -= (size_t)got;
	}
	return true;
}

/* Compares the key in the file with `key`, piece by piece. */
static bool same_key(int fd, const struct bb_key *key)
{
	char piece[4096];

	for (size_t at = 0; at < key->size;) {
		size_t length = key->size - at < sizeof piece ? key->size - at : sizeof piece;

		if (!read_all(fd, piece, length) || memcmp(piece, key->data + at, length) != 0)
			return false;
		at += length;
	}
	return true;
}

size_t bb_cache_load(int cache, const struct bb_key *key, char *data, size_t size)
{
	char name[33];
	struct head head;
	struct stat status;
	size_t got = 0;
	int fd;

	if (key->overflow)
		return 0;
	name_of(key, name);
	fd = openat(cache, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
	    read_all(fd, &head, sizeof head) && !memcmp(head.magic, magic, sizeof magic) && head.key_size == key->size &&
	    head.entry_size <= size && (uint64_t)status.st_size == sizeof head + head.key_size + head.entry_size &&
	    same_key(fd, key) && read_all(fd, data, head.entry_size))
		got = head.entry_size;
	bb_close(&fd);
	return got;
}

/* What has been seen of the directory so far. */
struct seen {
	unsigned files;
	unsigned long long bytes;
};

/* Keeps one entry, or removes it where there is no room left for it beside a new one. */
static void weigh(int cache, const char *name, struct seen *seen)
{
	struct stat status;

	if (fstatat(cache, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	seen->files++;
	seen->bytes += (unsigned long long)status.st_size;
	if (seen->files > BB_CACHE_FILES - 1 || seen->bytes > BB_CACHE_BYTES - BB_ENTRY_MAX)
		unlinkat(cache, name, 0);
}

/* Keeps the directory small: requests differ seldom, so this hardly ever does anything. */
static void thin_out(int cache)
{
	char entries[32 * 1024] __attribute__((aligned(8)));
	int fd = openat(cache, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct seen seen = { .files = 0 };
	ssize_t got;

	while (fd >= 0 && (got = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0) {
		for (ssize_t at = 0; at < got;) {
			/* struct linux_dirent64 (getdents64(2)): inode, offset, record length, type, name */
			uint16_t length;
			const char *name = entries + at + 19;

			memcpy(&length, entries + at + 16, sizeof length);
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				weigh(cache, name, &seen);
			at += length;
		}
	}
	bb_close(&fd);
}

/* Gives the unnamed file its name.  A moment without the old entry is a miss, no more. */
static int publish(int fd, int cache, const char *name)
{
	char link[64];
	size_t at = bb_put(link, sizeof link, 0, "/proc/self/fd/");

	bb_put_number(link, sizeof link, at, (unsigned)fd);
	unlinkat(cache, name, 0);
	return linkat(AT_FDCWD, link, cache, name, AT_SYMLINK_FOLLOW);
}

int bb_cache_store(int cache, const struct bb_key *key, const char *data, size_t size)
{
	char name[33];
	struct head head = { .key_size = key->size, .entry_size = size };
	struct iovec parts[] = {
		{ &head, sizeof head },
		{ (void *)(uintptr_t)key->data, key->size },
		{ (void *)(uintptr_t)data, size },
	};
	ssize_t whole = (ssize_t)(sizeof head + key->size + size);
	int fd, rc = -1;

	if (key->overflow)
		return -1;
	memcpy(head.magic, magic, sizeof magic);
	thin_out(cache);
	name_of(key, name);
	/* Unnamed until it is whole: a writer that is killed leaves nothing (open(2), O_TMPFILE). */
	fd = openat(cache, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd >= 0 && writev(fd, parts, 3) == whole)
		rc = publish(fd, cache, name);
	bb_close(&fd);
	return rc;
}
