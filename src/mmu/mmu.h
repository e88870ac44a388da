/* SPDX-License-Identifier: Apache-2.0
 *
 * mmu.h - the machine's side: ranges whose faults come to us, and the translations in them.
 *
 * Linux calls this layer arch fault entry and PTEs, Solaris the HAT. An mmu belongs to one
 * address range owner (an mm); it knows addresses, never files' pages or their states.
 *
 * => installing or relaxing a translation (map_run, copy, unprotect, poison) is called with the
 *    page's lock held, so that the page's state and its translation change together.
 * All return 0 or -errno unless said otherwise; EAGAIN is retried inside, EEXIST is told.
 */
#ifndef FL_MMU_MMU_H
#define FL_MMU_MMU_H

#include <sys/uio.h>

#include "trace/trace.h"
#include "util/base.h"
#include "util/loop.h"

struct mmu;
struct table_pool;

/* An address says whose it is: above SPACE_SHIFT stands the number of an address space, below it the
 * address there. 0 is our own process's; the others are those of forked children, whose faults are
 * served as ours are (space.h). */
#define SPACE_SHIFT 47
#define SPACE_SIZE (1ull << SPACE_SHIFT)
#define SPACES_MAX 1024u
static inline unsigned space_of(uint64_t addr)
{
        return (unsigned)(addr >> SPACE_SHIFT);
}
static inline uint64_t space_base(unsigned nr)
{
        return (uint64_t)nr << SPACE_SHIFT;
}

struct mmu_fault {
        uint64_t address; /* of the page */
        bool write;
        bool exec;     /* an instruction was fetched; false if not known */
        uint32_t kind; /* MMU_FAULT_, for the trace only: the page's state decides */
        uint32_t tid;  /* of the faulting thread, 0 if not known */
        uint64_t
                epoch; /* the client's, from before it was told of; of no use where it is the thread */
};
enum { MMU_FAULT_MISSING, MMU_FAULT_MINOR, MMU_FAULT_WP };

/* What became of a fault that was served in the thread itself. */
enum mmu_verdict {
        MMU_SERVED,      /* the access is to run again */
        MMU_NOT_OURS,    /* nothing of the client's is mapped there */
        MMU_SIGSEGV,     /* the program is to get this signal */
        MMU_SIGSEGV_KEY, /* the same, as by a protection key */
        MMU_SIGBUS,
};

/* Who gets the faults. Which of the two calls is made depends on the MMU. */
struct mmu_client {
        /* A batch of faults, on a loop thread. Each one ends in something that wakes the thread:
         * map_run, copy, unprotect, poison or wake. Must not block on I/O. */
        void (*faults)(struct mmu_client *, const struct mmu_fault *, unsigned nr);
        /* One fault, in the thread that faulted, in its signal handler: sleeps until it is served.
         * Async-signal-safe. */
        enum mmu_verdict (*fault)(struct mmu_client *, const struct mmu_fault *);
        /* A child has ended, or has become another program: nothing of its space is mapped any more.
         * Ends in spaces->release(). May sleep. */
        void (*ended)(struct mmu_client *, unsigned nr);
        void *arg;
        /* The client's count of what makes faults that were told of before of no account. */
        _Atomic uint64_t epoch;
};

struct mmu_config {
        struct loop *loop;
        struct trace *trace;
        struct mmu_client *client;
        struct table_pool *tables; /* for what an MMU has to remember a page */
        uint64_t max_vmas;         /* of the kernel's that it may use; 0: as the kernel allows */
        bool named;    /* the user asked for this MMU by name: accept its limited form */
        char why[256]; /* out, on error: one line for people */
};

/* Children that inherit mappings. All but start, stop and the child's part are called with one lock of
 * the client's held, which it also holds across fork(2). */
struct space_ops {
        /* Before the first child. 0 or -errno. */
        int (*start)(struct mmu *);
        /* No child is served from here on: where it would have to be, it gets SIGBUS. client->ended()
         * has been called for each when it returns. */
        void (*stop)(struct mmu *);
        /* A number for a child to come, or -errno; and it may be used again. */
        int (*make)(struct mmu *);
        void (*release)(struct mmu *, unsigned nr);
        /* fork(2) gives a range of ours to the child, or does not. */
        int (*inherit)(struct mmu *, uint64_t addr, uint64_t len, bool yes);
        /* After fork, in the parent; also if it failed, which ends the space at once. */
        void (*forked)(struct mmu *, unsigned nr);

        /* In the child, which has one thread; nothing here takes a lock. First: */
        int (*enter)(struct mmu *, unsigned nr);
        /* Faults in a range are served, or what was inherited there is dropped. */
        int (*take)(struct mmu *, uint64_t addr, uint64_t len, bool file);
        int (*drop)(struct mmu *, uint64_t addr, uint64_t len);
        /* Last: the parent is told. error: or it has to do without; either way nothing of the
         * mmu may be used here any more. 0 or -errno */
        int (*settle)(struct mmu *, unsigned nr, int error);
};

struct mmu_ops {
        const char *name;
        const struct space_ops *spaces; /* NULL: children cannot be served */
        int (*open)(struct mmu_config *, struct mmu **out);
        void (*close)(struct mmu *);

        /* Map `len` bytes of fd from `offset`, or private memory without a file (fd -1); its faults
         * come to the client from the first touch on. flags: MAP_SHARED or MAP_PRIVATE; with MAP_FIXED whatever is at *addr is replaced
         * at once, with MAP_FIXED_NOREPLACE -EEXIST. Not inherited by fork, not dumped. */
        int (*reserve)(struct mmu *, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                       uint64_t offset);
        int (*release)(struct mmu *, uint64_t addr, uint64_t len);
        /* What is mapped at [from, from+len), its translations and private pages, is at `to` from now
         * on, replacing what is there; nobody sees anything between. keep: an empty mapping of the
         * same stays at `from` (MREMAP_DONTUNMAP). */
        int (*move)(struct mmu *, uint64_t from, uint64_t to, uint64_t len, bool keep);
        int (*protect)(struct mmu *, uint64_t addr, uint64_t len, int prot);
        /* There is a fault only where the kernel's protection has let the access pass. */
        bool faults_pass;

        /* Show nr existing frames from addr on, write-protected or not, and wake. Pages already
         * mapped stay as they are; *existed is then true. -EFAULT: no frame; -ENOENT: the range
         * is not (wholly) mapped any more. */
        int (*map_run)(struct mmu *, uint64_t addr, uint64_t nr, bool wp, bool *existed);
        /* Give a private mapping pages of its own, nr from addr on, with these bytes, and wake.
         * Those it could make are counted in *done (which may be NULL if nr is 1); then -EEXIST:
         * something is mapped at the next. With copies_by_file a page of a file's mapping is made by way
         * of the file's frame, which may come and go meanwhile: => the file's page is locked, and not
         * being read. */
        bool copies_by_file;
        int (*copy)(struct mmu *, uint64_t addr, const void *pages, uint64_t nr, bool wp,
                    uint64_t *done);
        /* Show zeros, write-protected, on up to nr (at most 64) pages of private memory without a
         * file where nothing is mapped, without taking memory. Returns how many, at least one.
         * A store may get in before the protection, which makes it a page of its own: bit i of *own
         * says that page i is one, or may be one. Does not wake. -EEXIST */
        int (*zero)(struct mmu *, uint64_t addr, uint64_t nr, uint64_t *own);
        /* How many pages of private memory from addr on, at most nr (64), none of them protected, are
         * there as pages of their own: such a page stays until it is unmapped. NULL: read can tell. */
        uint64_t (*own)(struct mmu *, uint64_t addr, uint64_t nr);
        /* Copy nr pages of private memory out, from addr on. How many, from the first: it ends at one
         * that is not there as a page of its own. May fault. */
        uint64_t (*read)(struct mmu *, uint64_t addr, uint64_t nr, char *buf);
        /* The next store to the run is a fault. */
        int (*write_protect)(struct mmu *, uint64_t addr, uint64_t nr);
        /* Stores may proceed; wakes. */
        int (*unprotect)(struct mmu *, uint64_t addr, uint64_t nr);
        /* No translation any more; of private copies, no page. In a child's space it cannot be done
         * (-EOPNOTSUPP), nor has to be: what is shown of a frame goes with the frame, and is
         * write-protected till then. */
        int (*unmap)(struct mmu *, const struct iovec *runs, unsigned nr);
        /* Touching it raises SIGBUS; wakes. -EEXIST if something is mapped there (but in a child's
         * space it is poisoned a moment later, all the same). */
        int (*poison)(struct mmu *, uint64_t addr, uint64_t nr);
        /* A page of the mapping's own at addr, with `bytes` in it or zeros: neither it nor a store to
         * it is a fault, a file's page or another mapping's. It stays until reserve() with MAP_FIXED
         * or release(). Wakes. */
        int (*blank)(struct mmu *, uint64_t addr, int prot, const void *bytes);
        /* The threads that wait there look again. */
        int (*wake)(struct mmu *, uint64_t addr, uint64_t nr);
};

struct mmu {
        const struct mmu_ops *ops;
};

extern const struct mmu_ops uffd_mmu_ops, sigbus_mmu_ops, sigsegv_mmu_ops;
/* "auto": the first that works. 0, or -errno and cfg->why. */
int mmu_open(const char *name, struct mmu_config *cfg, struct mmu **out);

#endif
