/* SPDX-License-Identifier: Apache-2.0
 *
 * watchdog.c - says which fault has waited for too long, and for what: a line with the page's
 * state, the device's queue, and how many others wait for the same page. It changes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/text.h"
#include "vm/fault.h"

#define PER_ROUND 8 /* reports a round: when everything stands still, a few say it */

struct overdue {
        uint64_t fault, address, age_ns;
        uint32_t tid;
        unsigned tries, others; /* that wait at the same address */
        int why;
        bool write;
};

static const char *why_text(int why)
{
        switch (why) {
        case WAIT_PAGE:
                return "for its page";
        case WAIT_BUDGET:
                return "for room in the cache";
        case WAIT_PRIVATE:
                return "for room for private pages";
        case WAIT_SWAP:
                return "for its page from swap";
        case WAIT_STAGING:
                return "for staging memory";
        case WAIT_DIRTY:
                return "for write-back";
        case WAIT_ROOM:
                return "for room on the disk";
        case WAIT_CUT:
                return "for its file to be cut";
        case WAIT_RETRY:
                return "to try again after an error";
        default:
                return "for nothing";
        }
}

/* Up to max faults that are overdue and not yet reported. */
static unsigned collect(struct mm *mm, struct overdue *out, unsigned max)
{
        uint64_t now = now_ns();
        unsigned n = 0;

        mutex_lock(&mm->park_lock);
        for (unsigned i = 0; i < mm->parked_made && n < max; i++) {
                struct parked *p = &mm->parked[i];
                const struct vm_fault *vmf = &p->vmf;

                if (!p->waiting || p->reported || now - vmf->begin_ns < mm->watchdog_ns)
                        continue;
                p->reported = true;
                out[n] = (struct overdue){
                        .fault = vmf->rq.fault,
                        .address = vmf->address,
                        .age_ns = now - vmf->begin_ns,
                        .tid = vmf->tid,
                        .tries = vmf->tries,
                        .why = p->why,
                        .write = vmf->write,
                };
                for (unsigned k = 0; k < mm->parked_made; k++)
                        out[n].others += k != i && mm->parked[k].waiting &&
                                         mm->parked[k].vmf.address == vmf->address;
                n++;
        }
        mutex_unlock(&mm->park_lock);
        return n;
}

/* What is at the address now: file, page, device. => mm->lock held */
static void describe(struct mm *mm, uint64_t address, char *buf, size_t size)
{
        struct vma *v = find_vma(mm, address);
        struct blk_queue_state q;
        struct inode *inode;
        struct page *p;
        uint64_t index;

        rwlock_assert_held(&mm->lock);
        if (!v || v->vm_start > address) {
                snprintf(buf, size, "nothing is mapped there any more");
                return;
        }
        if (vma_is_anonymous(v)) {
                struct pte *pte = pte_get(mm, address, false);

                snprintf(buf, size, "anonymous memory; page %s",
                         pte_state_name(pte ? pte_state(pte) : PTE_NONE));
                if (pte)
                        pte_put(mm, pte);
                return;
        }
        inode = v->vm_file->inode;
        index = vma_index(v, address);
        p = find_page(v->vm_file->mapping, index);
        q = inode->i_queue ? blk_queue_state(inode->i_queue) : (struct blk_queue_state){ 0 };
        snprintf(buf, size,
                 "%s, offset %llu; page %s%s; device: %u at the driver, %u + %u + %u queued",
                 inode->name, (unsigned long long)(index << PAGE_SHIFT),
                 page_state_name(p ? page_state(p) : PAGE_ABSENT),
                 p && page_is_locked(p) ? ", locked" : "", q.in_flight, q.queued[0], q.queued[1],
                 q.queued[2]);
        if (p)
                put_page(v->vm_file->mapping, p);
}

static void report(struct mm *mm, const struct overdue *o)
{
        struct budget *b = &mm->cache->budget;
        char where[512], line[1024];

        rwlock_read_lock(&mm->lock);
        describe(mm, o->address, where, sizeof(where));
        rwlock_read_unlock(&mm->lock);
        snprintf(line, sizeof(line),
                 "faultline: watchdog: fault %llu of thread %u, a %s at %#llx, has waited %.1f s "
                 "%s (try %u; %u others there): %s; cache %lld of %lld pages, %lld dirty, %lld "
                 "being written, %lld being read",
                 (unsigned long long)o->fault, o->tid, o->write ? "store" : "load",
                 (unsigned long long)o->address, (double)o->age_ns / 1e9, why_text(o->why),
                 o->tries, o->others, where, (long long)atomic_load(&b->charged),
                 (long long)atomic_load(&b->limit), (long long)atomic_load(&mm->cache->nr_dirty),
                 (long long)atomic_load(&mm->cache->nr_writeback),
                 (long long)atomic_load(&mm->cache->nr_reading));
        fprintf(stderr, "%s\n", text_one_line(line));
}

static void *watchdog_thread(void *arg)
{
        struct mm *mm = arg;
        struct worker *w = &mm->watchdog;
        uint64_t period = mm->watchdog_ns / 4;
        uint32_t seen = 0;

        period = period > 1000000000ull ? 1000000000ull : period < 1000000 ? 1000000 : period;
        while (!atomic_load(&w->stop)) {
                struct overdue late[PER_ROUND];
                unsigned n;

                worker_sleep(w, &seen, period);
                n = collect(mm, late, PER_ROUND);
                for (unsigned i = 0; i < n; i++)
                        report(mm, &late[i]);
        }
        return NULL;
}

int watchdog_start(struct mm *mm, uint64_t ns)
{
        if (ns == 0)
                return 0;
        mm->watchdog_ns = ns;
        worker_start(&mm->watchdog, "fl-watchdog", watchdog_thread, mm);
        return mm->watchdog.running ? 0 : -EAGAIN;
}

void watchdog_stop(struct mm *mm)
{
        worker_stop(&mm->watchdog);
}
