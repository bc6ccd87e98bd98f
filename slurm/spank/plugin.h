/* The SPANK plugin's parts: one file per context of Slurm.
 *
 *   local.c    srun, sbatch, salloc: tidies SLURM_CONTAINER on the submitting side
 *   remote.c   slurmstepd, as root: sees that the step has a container and maps the shared region
 *   rundir.c   makes /run/bareboat, as root, and the user's place for plans in it
 *   store.c    as root: mounts an image of the site's store, if it is a squashfs file
 *   task.c     each rank, as the user: waits for the container and joins it
 *   helper.c   the process that has the container made for all ranks of a node
 *   request.c  what is asked for: the planner's variables, the cache's key, the step's values
 *   planner.c  runs the Python that makes the program, where the cache has none
 *   holder.c   runs the program that enters the container
 *   check.c    with BAREBOAT_CHECK=1, runs the Python that looks at the ranks once they run
 *   compare.c  the same on the submitting side: runs the Python that compares what the nodes said
 *   groups.c   root's short-lived child, which maps the user's groups into the namespace
 *   prolog.c   TaskProlog and --task-prolog, run on the host
 *
 * arguments.c and prolog_lines.c read text and know nothing of Slurm; tests/fuzz fuzzes them.
 */
#ifndef BB_PLUGIN_H
#define BB_PLUGIN_H

#include <limits.h>
#include <slurm/slurm.h>
#include <slurm/spank.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "ahead.h"
#include "cache.h"
#include "enter.h"
#include "join.h"

#define BB_CONTAINER "SLURM_CONTAINER"
#define BB_TASK_PROLOG "SLURM_BAREBOAT_TASK_PROLOG"   /* --task-prolog as srun was told it */
#define BB_MULTI_PROG "SLURM_BAREBOAT_MULTI_PROG"     /* set where the arguments are those of --multi-prog */
#define BB_CHECK "BAREBOAT_CHECK"
#define BB_TASK_PROLOGS "SLURM_BAREBOAT_TASK_PROLOGS" /* for the planner: all prologs, separated by colons */

#define BB_RUN "/run/bareboat" /* a file system of its own; the users' caches lie in it, by uid */

enum { BB_FAILED = 125 };

/* How many ranks of a node BAREBOAT_CHECK=1 looks at. */
enum { BB_SEATS = 256 };

/* The program is known from BB_PLANNED on; the last two are final. */
enum bb_state { BB_WORKING, BB_PLANNED, BB_READY, BB_BROKEN };

enum bb_mapping { BB_MAP_IDLE, BB_MAP_ASKED, BB_MAP_BUSY, BB_MAP_DONE, BB_MAP_FAILED };

/* A rank that has joined, for whoever looks at it; the pid is written last. */
struct bb_seat {
	uint32_t rank;
	_Atomic int pid;
};

/* What the ranks of a step on a node and their helper share; mapped by slurmstepd before it forks them.  Untouched
 * pages cost nothing. */
struct bb_share {
	pid_t stepd;
	int image;               /* the image's mount, where root has made one; -1 where not.  In all that were forked since */
	struct stat file;        /* of the file that it is the mount of */
	char named[PATH_MAX];    /* what the image was called then */
	uint32_t ranks;          /* how many will join */
	_Atomic int claimant;     /* the pid of the first rank to come, which starts the helper */
	_Atomic uint32_t state;   /* enum bb_state, a futex */
	_Atomic uint32_t joined;  /* a futex */
	_Atomic uint32_t mapping; /* enum bb_mapping, a futex between the helper and root's child */
	_Atomic int helper;       /* the helper's pid, 0 until it runs */
	_Atomic int mapper;       /* the pid of root's child, 0 where there is none */
	_Atomic int holder;       /* the pid of the process whose groups it is to map */
	atomic_bool told;         /* a failure is told once a node */
	_Atomic(const char *) reason; /* why it is broken, where a rank found out: a literal, at one address in all ranks */
	struct bb_namespaces namespaces;
	bool checked;             /* BAREBOAT_CHECK=1: each rank takes a seat, and the helper holds the first one's stderr */
	_Atomic uint32_t seated;
	struct bb_seat seats[BB_SEATS];
	bool unmapped;            /* the user has several groups, and only one of them is mapped */
	uint32_t most_groups;     /* how many of them one map holds; 0 where it holds all */
	bool cached;              /* the program came from the cache */
	unsigned long long entered; /* microseconds from the helper's start until the container stood */
	struct bb_program program;  /* in `entry`, which is at one address in all ranks; it is checked once, by the helper */
	size_t entry_size;
	struct bb_key key;
	char text[8192];    /* why it is broken, or warnings */
	char note[1536];    /* why the image is not mounted by root although it lies in the store */
	char entry[BB_ENTRY_MAX];
};

/* local.c */
void bb_local_init(void);
void bb_local_post_opt(spank_t sp);

/* compare.c: lets srun's standard error run through the installed Python, and gives it back at srun's end. */
void bb_compare_start(void);
void bb_compare_finish(void);

/* remote.c: NULL where the step has no container, or where there is no memory for it; then `failure` gets the errno.  The
 * arguments are the plugin's own, from plugstack.conf. */
struct bb_share *bb_remote_open(spank_t sp, int argc, char **argv, int *failure);
/* At the step's end, still as root: whoever waits for its ranks leaves at once rather than within a second. */
void bb_step_over(struct bb_share *share);

/* store.c: as root, the mount of an image that is a squashfs file in one of the site's stores (arguments "store=DIRECTORY");
 * -1 where it is none, and then `note` says why where that is for the user to know, else is "".  `status` gets which file it
 * is. */
int bb_store_mount(const char *image, int argc, char **argv, struct stat *status, char *note, size_t size);

/* rundir.c: without it, nothing is cached. */
void bb_rundir_make(spank_t sp);

/* task.c: does not return on failure. */
void bb_task_join(spank_t sp, struct bb_share *share);
/* Ends a rank whose node has no memory to share between its ranks: outside of the container it must not run. */
void bb_task_refuse(spank_t sp, int errnum) __attribute__((noreturn));

/* groups.c: as root, forks the child that waits for the helper; does nothing where it cannot. */
void bb_groups_offer(spank_t sp, struct bb_share *share);
/* As root, at the step's end: the child, if it still waits, leaves at once rather than within a second, before the
 * step's cgroup is taken away. */
void bb_groups_withdraw(struct bb_share *share);
/* For the helper, as bb_enter wants it: whether root's child has mapped the groups. */
bool bb_groups_mapped(void *share);

/* request.c */
struct bb_request {
	char **argv;
	char **environment;   /* the planner's; in memory that lives until the application is executed */
	char cache[PATH_MAX]; /* the cache directory to try, "" for none */
	bool replan;          /* plan, whatever the cache has */
};

/* What differs from step to step, for the program's placeholders. */
struct bb_step_values {
	struct bb_value list[6];
	char cwd[PATH_MAX], spool[PATH_MAX], tmpdir[PATH_MAX], pmix_server[PATH_MAX], pmix_system[PATH_MAX];
};

/* `prologs` is the planner's variable for them; it must outlive the request.  -1 with a reason where there is no memory. */
int bb_request_read(spank_t sp, struct bb_request *request, struct bb_key *key, char *prologs, struct bb_err *err);
void bb_values_read(spank_t sp, struct bb_step_values *values);

/* helper.c: returns 0 once the helper runs on its own. */
int bb_helper_start(struct bb_share *share, const struct bb_request *request, const struct bb_step_values *values,
		    struct bb_err *err);

/* holder.c: has a process enter the container and hold it until the descriptor that is returned is closed; fills
 * share->namespaces, or returns -1 with the reason in share->text. */
int bb_holder_start(struct bb_share *share, const struct bb_step_values *values);

/* check.c, for the helper.  It never fails: a check that cannot be made is no reason for a step to end. */
struct bb_check {
	pid_t pid;     /* of the process that looks; -1 where there is none */
	int feed;      /* its standard input, to which the ranks' numbers and pids go */
	uint32_t sent; /* how many have gone there */
};
/* The helper's descriptor for the user's terminal, where the check is asked for; else -1. */
int bb_check_stderr(const struct bb_request *request);
/* Starts it, and returns once it is ready to look or will not be soon. Closes `out`. */
void bb_check_start(struct bb_check *check, struct bb_share *share, const struct bb_request *request, int out);
/* Tells it of the ranks that have joined since. */
void bb_check_feed(struct bb_check *check, struct bb_share *share);
/* Waits until it has looked at all of them, not much longer than they run. */
void bb_check_finish(struct bb_check *check, struct bb_share *share);
/* For a rank, before it tells that it has joined. */
void bb_check_sit_down(struct bb_share *share, spank_t sp);

/* holder.c: a memory file with the program, which a program that is executed inherits; -1 where there is none. */
int bb_program_file(const struct bb_share *share);

/* planner.c: fills share->entry, or returns -1 with the reason in share->text. */
int bb_plan(struct bb_share *share, const struct bb_request *request);

/* The path of PREFIX/NAME, where this plugin is PREFIX/lib/slurm/bareboat.so: what the site installed, nothing else. */
int bb_installed(const char *name, char *path, size_t size);
/* Writes WHAT PATH: WHY into share->text and returns -1. */
int bb_broken(struct bb_share *share, const char *what, const char *path, const char *why);

/* prolog.c: runs the site's and the user's task prologs and puts their paths into `paths`. */
void bb_prologs_run(spank_t sp, char *paths, size_t size);

/* futex.c: sleeps while *word is `value`, at most a second; wakes all sleepers. */
void bb_futex_wait(_Atomic uint32_t *word, uint32_t value);
void bb_futex_wake(_Atomic uint32_t *word);
/* Goes on to `state` and wakes all who wait; false where a final one came first, on which all then agree. */
bool bb_advance(struct bb_share *share, enum bb_state state);
bool bb_alive(pid_t pid);
/* Whether the step still waits for its container. */
bool bb_wanted(const struct bb_share *share);
/* Waits for a child until bb_now() is `limit`, kills it then, and returns whether it ended by itself.  One that even
 * SIGKILL does not end soon is left to whoever comes after. */
bool bb_reap(pid_t child, long limit, int *status);
/* Seconds, and microseconds, of a clock that only goes forward. */
long bb_now(void);
unsigned long long bb_now_us(void);

/* message.c: to the user's terminal, each line as "bareboat: NODE: LINE". */
void bb_say(spank_t sp, const char *text);

#endif
