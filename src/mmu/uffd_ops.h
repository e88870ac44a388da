/* SPDX-License-Identifier: Apache-2.0
 *
 * uffd_ops.h - ranges registered with a userfaultfd and the translations in them. How a fault
 * gets to us is another matter: an event that a pager reads (uffd.c), or a signal in the thread
 * itself (sigbus.c).
 */
#ifndef FL_MMU_UFFD_OPS_H
#define FL_MMU_UFFD_OPS_H

#include <pthread.h>

#include "mmu/mmu.h"
#include "util/lock.h"

struct spaces;
struct uffd;

/* Moves ranges (uffd_move.c). */
struct mover {
        struct mutex lock;      /* one move at a time */
        pthread_t thread;       /* (c) */
        bool started;           /* (c) */
        struct uffd *u;         /* (c) */
        _Atomic uint32_t state; /* a futex word */
        _Atomic bool over;      /* of the move under way: mremap(2) has returned */
        unsigned nr;
        uint64_t *held; /* (c) addresses of faults that were in the way, nr of them */
};

int mover_start(struct mover *mv, struct uffd *u);
void mover_stop(struct mover *mv);

struct uffd {
        struct mmu mmu;
        struct loop *loop;         /* (c) */
        struct mmu_client *client; /* (c) */
        struct spaces *spaces;     /* (c) from space_ops.start on; NULL: there are none */
        int fd;
        bool kernel_faults; /* also serves faults of system calls */
        bool madvise_self;  /* process_madvise(DONTNEED) on ourselves works (6.13) */
        int pidfd;
        int pagemap; /* /proc/self/pagemap: what is shown; -1: cannot be told */
        int mem;     /* /proc/self/mem, or -1 */
        struct mover mover;
};

static inline struct uffd *uffd_of(struct mmu *m)
{
        return container_of(m, struct uffd, mmu);
}

/* Which faults the descriptor must serve. */
enum uffd_faults {
        UFFD_ALL_FAULTS,
        UFFD_ALL_OR_USER, /* those of user mode only, if there is no permission for all */
        UFFD_USER_FAULTS,
};

/* Opens the descriptor, with the features every engine needs and those of `features`.
 * 0, or -errno and cfg->why; then nothing is left open. */
int uffd_init(struct uffd *u, struct mmu_config *cfg, enum uffd_faults which, uint64_t features);
void uffd_exit(struct uffd *u);
/* One more descriptor of the same kind, or -errno. Async-signal-safe. */
int uffd_another(const struct uffd *u);
/* Serve the faults of a range that is mapped. 0 or -errno. Async-signal-safe. */
int uffd_register(int fd, uint64_t addr, uint64_t len, bool file);
/* Hand the faults among a descriptor's events to the client, at addresses of a space. On a loop
 * thread. */
bool uffd_deliver(struct uffd *u, int fd, unsigned space);

/* The members of struct mmu_ops that both have. */
int uffd_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                 uint64_t offset);
int uffd_release(struct mmu *m, uint64_t addr, uint64_t len);
int uffd_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep);
int uffd_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot);
int uffd_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed);
int uffd_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
              uint64_t *done);
uint64_t uffd_own(struct mmu *m, uint64_t addr, uint64_t nr);
uint64_t uffd_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf);
int uffd_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own);
int uffd_write_protect(struct mmu *m, uint64_t addr, uint64_t nr);
int uffd_unprotect(struct mmu *m, uint64_t addr, uint64_t nr);
int uffd_unmap(struct mmu *m, const struct iovec *runs, unsigned nr);
int uffd_poison(struct mmu *m, uint64_t addr, uint64_t nr);
int uffd_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes);
int uffd_wake(struct mmu *m, uint64_t addr, uint64_t nr);

#endif
