/* SPDX-License-Identifier: Apache-2.0
 *
 * twin.h - random calls and accesses, the same on an engine and on the kernel's own mappings of
 * twin files: every return value, errno, byte and signal has to be the same, and so have the files
 * at the end.
 *
 *   main.c     the options, and which mode
 *   ops.c      the table of operations: one row each
 *   draw.c     what is drawn for an operation, and how it reads when it is printed
 *   calls.c    the operations themselves, on either side
 *   moves.c    mremap
 *   walks.c    accesses in a row, mappings that go on, split and joined ones
 *   rules.c    calls that only an engine has
 *   model.c    what is mapped where: what may be asked, and what came of it
 *   sides.c    opening and closing the files of a side, and engines of many kinds
 *   alone.c    sequences of operations by one thread
 *   shrink.c   which operations of a sequence matter for a difference
 *   threads.c  several threads at once (stamps.c, stamped.c): see threads.h
 *
 * To add an operation: a function that runs it on one side, in calls.c, say, and a row in ops.c. If
 * several threads may do it, what it says must depend on the thread's own calls only, and the bytes
 * that it stores must be stamps.
 */
#ifndef FAULTLINE_TESTS_TWIN_H
#define FAULTLINE_TESTS_TWIN_H

#include <sys/types.h>

#include "../harness.h"

#define PAGE TEST_PAGE
#define REGION 40u /* pages in which a thread maps everything */
#define FILES 2u
#define HANDLES 4u /* both files to read and write, the first only to read, the second to write */
#define FILE_PAGES 64 /* at most */
#define OPS 300u      /* in a sequence */
#define CACHE 80ul    /* pages */
#define SMALLEST 64ul
/* Pages that all shared memory may have. What of it is mapped nowhere takes room in a cache too: so
 * much is left by a region full of private pages, or by them and the ballast. */
#define MEMORY 16u
#define MEMORY_WITH_SWAP 48u
#define BALLAST 128u
#define STAGING 8u /* of them, which hold what is read and written */
#define BUF (4 * PAGE)

struct lane;
struct place;
struct outcome;
struct op_kind;

struct op {
        const struct op_kind *kind;
        bool left_out;
        size_t at, len; /* bytes from the region's begin */
        int arg;        /* prot, advice, flags, the value of a store */
        int flags;
        unsigned handle;
        off_t offset;
};

enum mode { ALONE, THREADS };

struct op_kind {
        const char *name;
        unsigned weight[2]; /* how often it is drawn: alone, by one of several threads */
        void (*draw)(struct op *o, uint64_t *s);
        void (*text)(const struct op *o, char *text, size_t size);
        /* False: it has no one answer now, and is passed over. May be NULL. */
        bool (*ready)(struct lane *l, const struct op *o);
        /* On one side. Returns what the call does, with its errno. */
        long (*run)(struct place *w, const struct op *o, struct outcome *out);
        /* It has been done, with this result on both sides: the model follows. May be NULL. */
        void (*note)(struct lane *l, const struct op *o, long result);
};
extern const struct op_kind op_kinds[];
extern const unsigned nr_op_kinds;

/* What came of an operation on one side. */
struct outcome {
        long result;
        int error; /* 0: none */
        struct caught caught;
        size_t at;         /* of the signal, from the region's begin */
        size_t len;        /* bytes to be compared */
        const void *bytes; /* and where */
};

/* One side: the files on an engine, or on the kernel. */
struct side {
        struct fl_engine *engine; /* NULL: the kernel's */
        bool inherits;            /* children have the engine's mappings */
        struct fl_file *file[HANDLES];
        int fd[HANDLES];
        const char *path[FILES];
        const char *name;
        struct record *record; /* with several threads: what was stored */
        int direct[FILES];     /* the file around every cache, or -1 */
        /* Memory that drives others out, where there is a swap area: more than the cache. */
        unsigned char *ballast, pressed[BALLAST];
};

/* Where one thread works on one side. */
struct place {
        struct side *side;
        struct lane *lane;
        char *base; /* of its region */
        _Alignas(4096) char buf[BUF];
};

enum { OURS, KERNELS, SIDES };

/* What is known of a page of the region. */
struct mapped_page {
        bool mapped, shared, anonymous;
        int locked;       /* 0, 1, 2: when it is touched */
        int prot;         /* -1: not known */
        int advice, fork; /* alone; fork: 1 DONTFORK, 2 WIPEONFORK; -1: not known */
        int rules;        /* alone: fl_mapping_set(), by number */
        /* opened: the handle's how manieth opening; of shared memory, which it is */
        unsigned handle, opened;
        uint64_t index; /* in the file, or in the memory */
        unsigned pages; /* of shared memory: how long it is */
};

/* One thread, and the model: what is mapped where, so that nothing is asked that has no answer. */
struct lane {
        struct place place[SIDES];
        struct mapped_page page[REGION];
        unsigned opened[HANDLES];
        unsigned memories;    /* how much shared memory there has been */
        uint64_t size[FILES]; /* alone */
        unsigned threads, id; /* not alone: of how many, and which */
        char told[512];       /* the difference */
};

static inline unsigned file_of(unsigned handle)
{
        return handle % FILES;
}

static inline bool may_write(unsigned handle)
{
        return handle != FILES;
}

static inline bool may_read(unsigned handle)
{
        return handle <= FILES;
}

/* Pages of the region, from first on. */
struct span {
        unsigned first, end;
};

/* Flags of a walk. */
enum { WALK_STORES = 1, WALK_DOWN = 2 };

/* --- draw.c */
void draw_op(struct op *o, enum mode mode, uint64_t *s);
const char *op_text(const struct op *o);
void draw_map(struct op *o, uint64_t *s);
void draw_range(struct op *o, uint64_t *s);
void draw_protect(struct op *o, uint64_t *s);
void draw_remap(struct op *o, uint64_t *s);
void draw_advise(struct op *o, uint64_t *s);
void draw_any_advice(struct op *o, uint64_t *s);
void draw_lock(struct op *o, uint64_t *s);
void draw_rules(struct op *o, uint64_t *s);
void draw_split(struct op *o, uint64_t *s);
void draw_touch(struct op *o, uint64_t *s);
void draw_memcntl(struct op *o, uint64_t *s);
void draw_sync(struct op *o, uint64_t *s);
void draw_press(struct op *o, uint64_t *s);
void draw_walk(struct op *o, uint64_t *s);
void draw_access(struct op *o, uint64_t *s);
void draw_io(struct op *o, uint64_t *s);
void draw_io_at(struct op *o, uint64_t *s);
void draw_length(struct op *o, uint64_t *s);
void draw_budget(struct op *o, uint64_t *s);
void draw_shared_remap(struct op *o, uint64_t *s);
void draw_shared_map(struct op *o, uint64_t *s);
void draw_shared_io(struct op *o, uint64_t *s);
void text_map(const struct op *o, char *text, size_t size);
void text_range(const struct op *o, char *text, size_t size);
void text_access(const struct op *o, char *text, size_t size);
void text_remap(const struct op *o, char *text, size_t size);
void text_walk(const struct op *o, char *text, size_t size);
void text_io(const struct op *o, char *text, size_t size);
void text_io_at(const struct op *o, char *text, size_t size);
void text_handle(const struct op *o, char *text, size_t size);

/* --- calls.c */
long run_mmap(struct place *w, const struct op *o, struct outcome *out);
long run_munmap(struct place *w, const struct op *o, struct outcome *out);
long run_mprotect(struct place *w, const struct op *o, struct outcome *out);
long run_madvise(struct place *w, const struct op *o, struct outcome *out);
long run_drop(struct place *w, const struct op *o, struct outcome *out);
long run_mlock(struct place *w, const struct op *o, struct outcome *out);
long run_munlock(struct place *w, const struct op *o, struct outcome *out);
long run_msync(struct place *w, const struct op *o, struct outcome *out);
/* And what is in the file then. Alone. */
long run_msync_and_look(struct place *w, const struct op *o, struct outcome *out);
long run_mincore(struct place *w, const struct op *o, struct outcome *out);
long run_load(struct place *w, const struct op *o, struct outcome *out);
long run_store(struct place *w, const struct op *o, struct outcome *out);
long run_fork(struct place *w, const struct op *o, struct outcome *out);
long run_pread(struct place *w, const struct op *o, struct outcome *out);
long run_pwrite(struct place *w, const struct op *o, struct outcome *out);
long run_ftruncate(struct place *w, const struct op *o, struct outcome *out);
long run_fsync(struct place *w, const struct op *o, struct outcome *out);
long run_fstat(struct place *w, const struct op *o, struct outcome *out);
long run_pread_into(struct place *w, const struct op *o, struct outcome *out);
long run_pwrite_from(struct place *w, const struct op *o, struct outcome *out);
long run_reopen(struct place *w, const struct op *o, struct outcome *out);
long run_open_again(struct place *w, const struct op *o, struct outcome *out);
long run_stats(struct place *w, const struct op *o, struct outcome *out);
long run_set_cache(struct place *w, const struct op *o, struct outcome *out);
/* Runs an operation on both sides. True: the same came of it; else l->told says what did not. */
bool step(struct lane *l, const struct op *o);

/* --- moves.c */
long run_mremap(struct place *w, const struct op *o, struct outcome *out);
bool ready_to_remap(struct lane *l, const struct op *o);
long run_rejoin(struct place *w, const struct op *o, struct outcome *out);
bool ready_to_rejoin(struct lane *l, const struct op *o);
void note_rejoin(struct lane *l, const struct op *o, long result);
/* What is asked for: as far as one mapping goes. */
struct op remap_of(const struct lane *l, const struct op *o);
/* The same to a place in the region, as many pages as there are. */
struct op whole_of(const struct lane *l, const struct op *o);
long run_as_whole(struct place *w, const struct op *o, struct outcome *out);

/* --- walks.c */
long run_walk(struct place *w, const struct op *o, struct outcome *out);
long run_extend(struct place *w, const struct op *o, struct outcome *out);
long run_split(struct place *w, const struct op *o, struct outcome *out);
bool ready_to_extend(struct lane *l, const struct op *o);
bool ready_to_split(struct lane *l, const struct op *o);
void note_extend(struct lane *l, const struct op *o, long result);

/* --- rules.c */
long run_mapping_set(struct place *w, const struct op *o, struct outcome *out);
long run_mapping_info(struct place *w, const struct op *o, struct outcome *out);
long run_error(struct place *w, const struct op *o, struct outcome *out);
long run_error_clear(struct place *w, const struct op *o, struct outcome *out);
long run_evict(struct place *w, const struct op *o, struct outcome *out);
long run_memcntl(struct place *w, const struct op *o, struct outcome *out);
long run_touch(struct place *w, const struct op *o, struct outcome *out);
long run_press(struct place *w, const struct op *o, struct outcome *out);
void map_ballast(struct side *s);
void unmap_ballast(struct side *s);
bool ready_to_rule(struct lane *l, const struct op *o);

/* --- model.c */
struct span pages_of(const struct op *o);
/* Is this the engine's MMU? */
bool has_mmu(const struct lane *l, const char *name);
void unmap_all(struct lane *l);
/* Can so many pages more be locked on both sides? */
bool may_lock(struct lane *l, unsigned more);
/* How many pages from first on, at least 1 and at most `most`, one mapping of an engine's can be. */
unsigned run_at(const struct lane *l, unsigned first, unsigned most);
bool ready_to_map(struct lane *l, const struct op *o);
bool ready_to_advise(struct lane *l, const struct op *o);
bool ready_to_drop(struct lane *l, const struct op *o);
bool ready_to_lock(struct lane *l, const struct op *o);
bool ready_to_store(struct lane *l, const struct op *o);
bool ready_to_walk(struct lane *l, const struct op *o);
bool ready_to_touch(struct lane *l, const struct op *o);
bool ready_to_fork(struct lane *l, const struct op *o);
bool ready_to_read_into(struct lane *l, const struct op *o);
bool ready_to_write_from(struct lane *l, const struct op *o);
void note_mmap(struct lane *l, const struct op *o, long result);
void note_munmap(struct lane *l, const struct op *o, long result);
void note_mprotect(struct lane *l, const struct op *o, long result);
void note_mremap(struct lane *l, const struct op *o, long result);
void note_madvise(struct lane *l, const struct op *o, long result);
void note_mlock(struct lane *l, const struct op *o, long result);
void note_munlock(struct lane *l, const struct op *o, long result);
void note_rules(struct lane *l, const struct op *o, long result);
void note_pwrite(struct lane *l, const struct op *o, long result);
void note_ftruncate(struct lane *l, const struct op *o, long result);
void note_reopen(struct lane *l, const struct op *o, long result);

/* --- stamped.c */
long run_stamped_load(struct place *w, const struct op *o, struct outcome *out);
long run_stamped_store(struct place *w, const struct op *o, struct outcome *out);
long run_stamped_pread(struct place *w, const struct op *o, struct outcome *out);
long run_stamped_pwrite(struct place *w, const struct op *o, struct outcome *out);
long run_stamped_fstat(struct place *w, const struct op *o, struct outcome *out);
long run_sync_and_look(struct place *w, const struct op *o, struct outcome *out);
bool ready_to_stamp(struct lane *l, const struct op *o);
bool ready_to_write(struct lane *l, const struct op *o);
bool ready_to_sync(struct lane *l, const struct op *o);
void note_stamped_mmap(struct lane *l, const struct op *o, long result);
void note_stamped_munmap(struct lane *l, const struct op *o, long result);
void note_stamped_madvise(struct lane *l, const struct op *o, long result);
bool ready_to_remap_shared(struct lane *l, const struct op *o);
void note_shared_remap(struct lane *l, const struct op *o, long result);

/* --- sides.c */
/* A driver, pagers, read-ahead and a schedule from the seed, but for what the command line says. */
struct fl_engine *open_drawn_engine(uint64_t cache, uint64_t *s, bool *inherits);
/* Names and files for both. */
void name_sides(struct side *ours, struct side *kernels);
int handle_flags(unsigned handle);
/* All handles. */
void open_side(struct side *s);
void close_side(struct side *s);

/* --- threads.c */
void threads_begin(unsigned threads);
uint64_t threads_run(uint64_t most);

/* --- alone.c */
void alone_begin(void);
/* Sequences until time or operations are over; returns how many operations there were. */
uint64_t alone_run(uint64_t most);
/* Runs what is not left out. OPS if all went the same way, or else where it did not. */
unsigned run_sequence(const struct op *ops, uint64_t seed);
extern struct lane alone;

/* --- shrink.c */
/* Says what differed, and cuts the sequence down to the operations that matter. */
void tell(struct op *ops, uint64_t seed, unsigned last);

/* A stretch of addresses that nobody else is given, as the engine finds its own. */
char *find_place(void);
/* The first place behind p for a region that lies in two tables of pages. */
char *over_seam(char *p);

#endif
