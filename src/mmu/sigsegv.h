/* SPDX-License-Identifier: Apache-2.0
 *
 * sigsegv.h - what the parts of this MMU share: sigsegv.c (opening, faults, and what it is),
 * sigsegv_range.c (mappings) and sigsegv_page.c (translations).
 */
#ifndef FL_MMU_SIGSEGV_H
#define FL_MMU_SIGSEGV_H

#include "mmu/shadow.h"
#include "mmu/trap.h"
#include "util/lock.h"

struct sigsegv {
        struct mmu mmu;
        struct trap trap;
        struct mmu_client *client;
        struct mutex lock;    /* held over mprotect(2) and the like, never over I/O */
        struct shadow shadow; /* [sigsegv] */
        int mem;              /* /proc/self/mem; -1: no private mappings */
        bool has_pkeys;       /* PROT_EXEC alone: instructions, but no loads */
};

static inline struct sigsegv *sigsegv_of(struct mmu *m)
{
        return container_of(m, struct sigsegv, mmu);
}

static inline void *pointer(uint64_t addr)
{
        return (void *)(uintptr_t)addr;
}

/* The members of struct mmu_ops: sigsegv_range.c */
int sigsegv_reserve(struct mmu *m, uint64_t *addr, uint64_t len, int prot, int flags, int fd,
                    uint64_t offset);
int sigsegv_release(struct mmu *m, uint64_t addr, uint64_t len);
int sigsegv_move(struct mmu *m, uint64_t from, uint64_t to, uint64_t len, bool keep);
int sigsegv_protect(struct mmu *m, uint64_t addr, uint64_t len, int prot);
int sigsegv_blank(struct mmu *m, uint64_t addr, int prot, const void *bytes);
/* sigsegv_page.c */
int sigsegv_map_run(struct mmu *m, uint64_t addr, uint64_t nr, bool wp, bool *existed);
uint64_t sigsegv_read(struct mmu *m, uint64_t addr, uint64_t nr, char *buf);
int sigsegv_copy(struct mmu *m, uint64_t addr, const void *pages, uint64_t nr, bool wp,
                 uint64_t *done);
int sigsegv_zero(struct mmu *m, uint64_t addr, uint64_t nr, uint64_t *own);
int sigsegv_write_protect(struct mmu *m, uint64_t addr, uint64_t nr);
int sigsegv_unprotect(struct mmu *m, uint64_t addr, uint64_t nr);
int sigsegv_unmap(struct mmu *m, const struct iovec *runs, unsigned nr);
int sigsegv_poison(struct mmu *m, uint64_t addr, uint64_t nr);

#endif
