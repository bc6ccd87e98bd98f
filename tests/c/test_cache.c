/* Entries and their guards, placeholders, and the cache directory. */
#define _GNU_SOURCE
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "sys.h"

static char top[] = "/tmp/bareboat-test-cache-XXXXXX";
static char file[64], gone[64], cache_path[64];

static int make_top(void **state)
{
	int fd;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(file, sizeof file, "%s/file", top);
	snprintf(gone, sizeof gone, "%s/gone", top);
	snprintf(cache_path, sizeof cache_path, "%s/cache", top);
	assert_int_equal(mkdir(cache_path, 0700), 0);
	fd = open(file, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	return close(fd);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status, (void)type, (void)ftw;
	return remove(path);
}

static int remove_top(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *stamp_of(const char *path)
{
	static char text[128];
	struct stat now;

	assert_int_equal(lstat(path, &now), 0);
	snprintf(text, sizeof text, "%llu %llu %llu %llu %llu", (unsigned long long)now.st_dev,
		 (unsigned long long)now.st_ino, (unsigned long long)now.st_size,
		 (unsigned long long)now.st_mtim.tv_sec * 1000000000ULL + (unsigned long long)now.st_mtim.tv_nsec,
		 (unsigned long long)now.st_ctim.tv_sec * 1000000000ULL + (unsigned long long)now.st_ctim.tv_nsec);
	return text;
}

#define TAIL "program", "bareboat-program", "1", "root-dir", "/img", "end"
#define ENTRY(...) RECORDS("bareboat-entry", "1", "cache", __VA_ARGS__, TAIL)

static void refuses(struct bytes bytes, const char *reason)
{
	struct bb_entry entry;
	struct bb_err err;
	char *copy = malloc(bytes.size ? bytes.size : 1);

	memcpy(copy, bytes.data, bytes.size);
	assert_int_equal(bb_entry_open(&entry, copy, bytes.size, &err), -1);
	assert_string_equal(err.path, reason);
	free(copy);
}

static void test_malformed_entries_are_refused(void **state)
{
	struct bytes bytes = ENTRY("guard", "there", "/", "");

	(void)state;
	refuses((struct bytes){ .size = 0 }, "not a plan of bareboat");
	refuses(RECORDS("bareboat-entry", "2"), "another version");
	refuses(RECORDS("bareboat-entry", "1", "maybe"), "whether to keep it is not said");
	refuses(RECORDS("bareboat-entry", "1", "cache", "guard", "there", "/"), "a bad guard");
	refuses(ENTRY("guard", "there", "relative", ""), "a bad guard");
	refuses(ENTRY("guard", "there", "/", "1"), "a bad guard");
	refuses(ENTRY("guard", "readable", "/", "1"), "a bad guard");
	refuses(ENTRY("guard", "same", "/", "1 2 3 4"), "a bad guard");
	refuses(ENTRY("guard", "same", "/", "1 2 3 4 5 "), "a bad guard");
	refuses(ENTRY("guard", "same", "/", "1 2  3 4 5"), "a bad guard");
	refuses(ENTRY("guard", "same", "/", "1 2 3 4 99999999999999999999999"), "a bad guard");
	refuses(ENTRY("guard", "other", "/", ""), "a bad guard");
	refuses(RECORDS("bareboat-entry", "1", "cache"), "without a program");
	for (size_t size = bytes.size - 1; size > 10; size--) {
		struct bb_entry entry;
		struct bb_err err;

		assert_int_equal(bb_entry_open(&entry, bytes.data, size, &err), -1);
	}
}

static bool holds(struct bytes bytes, const char *culprit)
{
	struct bb_entry entry;
	struct bb_err err;
	const char *broken;
	bool whole;

	assert_int_equal(bb_entry_open(&entry, bytes.data, bytes.size, &err), 0);
	whole = bb_entry_holds(&entry, &broken);
	if (!whole)
		assert_string_equal(broken, culprit);
	return whole;
}

static void test_guards_see_changes(void **state)
{
	struct bytes bytes;
	int fd;

	(void)state;
	bytes = ENTRY("guard", "same", file, stamp_of(file), "guard", "there", top, "", "guard", "absent", gone, "");
	assert_true(holds(bytes, ""));
	fd = open(file, O_WRONLY);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	assert_false(holds(bytes, file));
	bytes = ENTRY("guard", "same", file, stamp_of(file), "guard", "absent", gone, "");
	assert_int_equal(chmod(file, 0640), 0); /* the ctime alone */
	assert_false(holds(bytes, file));
	bytes = ENTRY("guard", "absent", gone, "");
	assert_int_equal(symlink("nowhere", gone), 0);
	assert_false(holds(bytes, gone));
	bytes = ENTRY("guard", "link", gone, stamp_of(gone));
	assert_true(holds(bytes, ""));
	unlink(gone);
	assert_false(holds(bytes, gone));
	bytes = ENTRY("guard", "there", gone, "");
	assert_false(holds(bytes, gone));
	bytes = ENTRY("guard", "readable", file, "", "guard", "writable", file, "", "guard", "readable", "/proc/version", "");
	assert_true(holds(bytes, ""));
	bytes = ENTRY("guard", "readable", gone, "");
	assert_false(holds(bytes, gone));
	bytes = ENTRY("guard", "writable", gone, "");
	assert_false(holds(bytes, gone));
}

static void test_placeholders(void **state)
{
	static char longer[4097];
	static const struct bb_value values[] = { { "cwd", "/here" }, { "TMPDIR", "relative" }, { "spool", NULL },
						  { "long", longer }, { 0 } };
	struct bytes bytes = PROGRAM("root-dir", "/img", "bind", "%{cwd}", "/at", "rw,unless-shown", "bind", "%{TMPDIR}", "/t",
				     "rw", "bind", "/s", "%{spool}", "ro,optional,unless-shown", "bind", "%{none}", "/n", "rw",
				     "bind", "/s", "%{long}", "rw", "env-set", "A", "%{cwd}", "cwd", "%{cwd}");
	struct bb_program program;
	struct bb_err err;
	struct bb_op op;
	size_t cursor = 0;

	(void)state;
	memset(longer, '/', sizeof longer - 1);
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	program.values = values;
	assert_true(bb_program_next(&program, &cursor, &op));
	assert_true(bb_program_next(&program, &cursor, &op));
	assert_string_equal(op.arg[0], "/here");
	assert_true(bb_flag(op.arg[2], "unless-shown"));
	assert_true(bb_program_next(&program, &cursor, &op));
	assert_int_equal(op.verb, BB_ENV_SET);
	assert_string_equal(op.arg[1], "%{cwd}"); /* a variable's value is never one */
	assert_true(bb_program_next(&program, &cursor, &op));
	assert_int_equal(op.verb, BB_CWD);
	assert_string_equal(op.arg[0], "/here");
	assert_false(bb_program_next(&program, &cursor, &op));
}

static struct bb_key key_of(const char *text)
{
	static struct bb_key key;

	key.size = 0;
	key.overflow = false;
	bb_key_add(&key, text);
	bb_key_add_number(&key, 42);
	return key;
}

static void test_the_cache_gives_back_what_it_got(void **state)
{
	struct bb_err err;
	struct bb_key key = key_of("one"), other = key_of("two");
	char data[64];
	int cache = bb_cache_open(cache_path, &err);

	(void)state;
	assert_true(cache >= 0);
	assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 0);
	assert_int_equal(bb_cache_store(cache, &key, "first", 6), 0);
	assert_int_equal(bb_cache_store(cache, &key, "second", 7), 0);
	assert_int_equal(bb_cache_store(cache, &other, "other", 6), 0);
	assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 7);
	assert_string_equal(data, "second");
	assert_int_equal(bb_cache_load(cache, &key, data, 3), 0); /* it would not fit */
	bb_close(&cache);
}

/* Cut short, or with the key of another request under this one's name. */
static void test_broken_files_are_misses(void **state)
{
	struct bb_err err;
	struct bb_key key = key_of("victim");
	char data[64], path[512], alone[128];
	struct dirent *found;
	DIR *directory;
	int cache;

	(void)state;
	snprintf(alone, sizeof alone, "%s/alone", top);
	assert_int_equal(mkdir(alone, 0700), 0);
	cache = bb_cache_open(alone, &err);
	assert_int_equal(bb_cache_store(cache, &key, "entry", 6), 0);
	directory = opendir(alone);
	while ((found = readdir(directory)) && found->d_name[0] == '.')
		;
	assert_non_null(found);
	snprintf(path, sizeof path, "%s/%s", alone, found->d_name);
	closedir(directory);
	for (off_t size = 0; size < 40; size++) {
		assert_int_equal(truncate(path, size), 0);
		assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 0);
		assert_int_equal(bb_cache_store(cache, &key, "entry", 6), 0);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(file, path), 0);
	assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 0);
	bb_close(&cache);
}

static void test_a_directory_of_others_is_no_cache(void **state)
{
	char open_to_all[128], link[128];
	struct bb_err err;

	(void)state;
	snprintf(open_to_all, sizeof open_to_all, "%s/open", top);
	snprintf(link, sizeof link, "%s/link", top);
	assert_int_equal(mkdir(open_to_all, 0750), 0);
	assert_int_equal(bb_cache_open(open_to_all, &err), -1);
	assert_string_equal(err.operation, "trust the cache");
	assert_int_equal(symlink(cache_path, link), 0);
	assert_int_equal(bb_cache_open(link, &err), -1);
	assert_int_equal(chmod(open_to_all, 0700), 0);
	assert_int_equal(chown(open_to_all, 65534, 65534), 0);
	assert_int_equal(bb_cache_open(open_to_all, &err), -1);
	assert_string_equal(err.operation, "trust the cache");
}

static void test_a_key_that_is_too_long_is_never_cut(void **state)
{
	static struct bb_key key;
	static char text[BB_KEY_MAX];
	struct bb_err err;
	char data[8];
	int cache = bb_cache_open(cache_path, &err);

	(void)state;
	memset(text, 'x', sizeof text - 1);
	bb_key_add(&key, text);
	bb_key_add(&key, "more");
	assert_true(key.overflow);
	assert_int_equal(bb_cache_store(cache, &key, "e", 2), -1);
	assert_int_equal(bb_cache_load(cache, &key, data, sizeof data), 0);
	bb_close(&cache);
}

static void count(const char *path, unsigned *files, unsigned long long *bytes)
{
	DIR *directory = opendir(path);
	struct dirent *found;
	struct stat status;

	*files = 0;
	*bytes = 0;
	assert_non_null(directory);
	while ((found = readdir(directory)))
		if (found->d_name[0] != '.') {
			assert_int_equal(fstatat(dirfd(directory), found->d_name, &status, 0), 0);
			++*files;
			*bytes += (unsigned long long)status.st_size;
		}
	closedir(directory);
}

/* In number and in bytes; what is stored last is there. */
static void test_the_cache_has_a_limit(void **state)
{
	static char data[BB_ENTRY_MAX], back[BB_ENTRY_MAX];
	char path[128], name[32];
	unsigned long long bytes;
	struct bb_err err;
	unsigned files;
	int cache;

	(void)state;
	snprintf(path, sizeof path, "%s/limited", top);
	assert_int_equal(mkdir(path, 0700), 0);
	cache = bb_cache_open(path, &err);
	for (int i = 0; i < 300; i++) {
		struct bb_key key;

		snprintf(name, sizeof name, "small %d", i);
		key = key_of(name);
		assert_int_equal(bb_cache_store(cache, &key, "entry", 6), 0);
		assert_int_equal(bb_cache_load(cache, &key, back, sizeof back), 6);
	}
	count(path, &files, &bytes);
	assert_int_equal(files, BB_CACHE_FILES);
	for (int i = 0; i < 20; i++) {
		struct bb_key key;

		snprintf(name, sizeof name, "large %d", i);
		key = key_of(name);
		assert_int_equal(bb_cache_store(cache, &key, data, sizeof data), 0);
		assert_int_equal(bb_cache_load(cache, &key, back, sizeof back), sizeof data);
		count(path, &files, &bytes);
		assert_true(bytes <= BB_CACHE_BYTES);
	}
	bb_close(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed_entries_are_refused),
		cmocka_unit_test(test_guards_see_changes),
		cmocka_unit_test(test_placeholders),
		cmocka_unit_test(test_the_cache_gives_back_what_it_got),
		cmocka_unit_test(test_broken_files_are_misses),
		cmocka_unit_test(test_a_directory_of_others_is_no_cache),
		cmocka_unit_test(test_a_key_that_is_too_long_is_never_cut),
		cmocka_unit_test(test_the_cache_has_a_limit),
	};

	return cmocka_run_group_tests(tests, make_top, remove_top);
}
