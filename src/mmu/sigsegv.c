/* SPDX-License-Identifier: Apache-2.0
 *
 * sigsegv.c - faults without userfaultfd: what is not mapped is PROT_NONE, what is clean is
 * read-only, and the thread that touches it serves its own fault in the SIGSEGV handler (trap.c).
 * For containers that forbid everything else. The slowest, and like sigbus it cannot serve the
 * kernel: a system call on a page that may not be accessed that way fails with EFAULT.
 *
 * The same frames are mapped as by the others: installing a translation is to lift the protection
 * of the page (shadow.c), once the frame is whole. A private page gets its bytes by way of
 * /proc/self/mem, which writes below any protection, so that no thread sees it half filled.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmu/sigsegv.h"
#include "util/mman.h"

/* --- faults ------------------------------------------------------------------------------- */

static uint8_t want_revealed(uint8_t old, const struct range *r, void *arg)
{
        (void)r, (void)arg;
        return old & SHOWN ? (old & ~HIDDEN) | TOUCHED : old;
}

/* May it be accessed so, as far as we are concerned? Then it is hidden, or was installed for
 * another thread just now. */
static bool reveal(struct sigsegv *s, const struct mmu_fault *f, uint8_t byte,
                   const struct range *r, int *error)
{
        int prot = f->write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;

        if (!(byte & (f->write ? WRITABLE : SHOWN)) || !(r->prot & prot))
                return false;
        *error = shadow_change(&s->shadow, f->address, f->address + PAGE_SIZE, false, want_revealed,
                               NULL);
        return true;
}

static enum mmu_verdict sigsegv_fault(struct trap *t, const struct mmu_fault *fault)
{
        struct sigsegv *s = container_of(t, struct sigsegv, trap);
        struct mmu_fault f = *fault;
        bool done = false, only_fetched = false;
        int error = 0;
        struct range *r;

        mutex_lock(&s->lock);
        r = range_find(&s->shadow.ranges, f.address);
        if (r && r->start > f.address)
                r = NULL;
        if (r && r->prot == PROT_EXEC && !f.exec && s->has_pkeys) {
                only_fetched = true;
        } else if (r) {
                uint8_t byte = shadow_byte(&s->shadow, f.address);

                done = reveal(s, &f, byte, r, &error);
                f.kind = byte & SHOWN ? MMU_FAULT_WP : MMU_FAULT_MINOR;
        }
        mutex_unlock(&s->lock);
        if (!r)
                return MMU_NOT_OURS;
        if (only_fetched)
                return MMU_SIGSEGV_KEY;
        if (done)
                return error == -ENOMEM ? MMU_SIGBUS : MMU_SERVED;
        return s->client->fault(s->client, &f);
}

/* --- opening ------------------------------------------------------------------------------ */

/* Does it write to what may not be accessed? Some kernels are told not to. */
static bool writes_below_protection(int fd)
{
        char *p = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bool yes;

        if (p == MAP_FAILED)
                return false;
        yes = pwrite(fd, "x", 1, (off_t)(uintptr_t)p) == 1;
        munmap(p, PAGE_SIZE);
        return yes;
}

static int open_mem(void)
{
        int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

        if (fd >= 0 && !writes_below_protection(fd)) {
                close(fd);
                fd = -1;
        }
        return fd;
}

/* The kernel makes memory that is only to be executed by a protection key, if there are any. */
static bool find_pkeys(void)
{
        int key = pkey_alloc(0, 0);

        return key >= 0 && !pkey_free(key);
}

static int sigsegv_open(struct mmu_config *cfg, struct mmu **out)
{
        struct sigsegv *s = calloc(1, sizeof(*s));
        int error;

        if (!s)
                return -ENOMEM;
        s->mmu.ops = &sigsegv_mmu_ops;
        s->client = cfg->client;
        mutex_init(&s->lock, LOCK_SIGSEGV);
        shadow_init(&s->shadow, cfg->tables, cfg->max_vmas);
        s->mem = open_mem();
        s->has_pkeys = find_pkeys();
        s->trap.signo = SIGSEGV;
        s->trap.fault = sigsegv_fault;
        error = trap_add(&s->trap);
        if (error) {
                snprintf(cfg->why, sizeof(cfg->why), "the handler for SIGSEGV cannot be installed");
                if (s->mem >= 0)
                        close(s->mem);
                shadow_destroy(&s->shadow);
                free(s);
                return error;
        }
        *out = &s->mmu;
        return 0;
}

static void sigsegv_close(struct mmu *m)
{
        struct sigsegv *s = sigsegv_of(m);

        trap_remove(&s->trap);
        if (s->mem >= 0)
                close(s->mem);
        shadow_destroy(&s->shadow);
        free(s);
}

/* Nobody sleeps in the kernel. */
static int sigsegv_wake(struct mmu *m, uint64_t addr, uint64_t nr)
{
        (void)m, (void)addr, (void)nr;
        return 0;
}

const struct mmu_ops sigsegv_mmu_ops = {
        .name = "sigsegv",
        .open = sigsegv_open,
        .close = sigsegv_close,
        .reserve = sigsegv_reserve,
        .release = sigsegv_release,
        .move = sigsegv_move,
        .protect = sigsegv_protect,
        .map_run = sigsegv_map_run,
        .copies_by_file = true,
        .copy = sigsegv_copy,
        .zero = sigsegv_zero,
        .read = sigsegv_read,
        .write_protect = sigsegv_write_protect,
        .unprotect = sigsegv_unprotect,
        .unmap = sigsegv_unmap,
        .poison = sigsegv_poison,
        .blank = sigsegv_blank,
        .wake = sigsegv_wake,
};
