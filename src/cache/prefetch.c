/* SPDX-License-Identifier: Apache-2.0
 *
 * prefetch.c - see prefetch.h.
 */
#include "cache/prefetch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/perturb.h"
#include "util/ready.h"

#define STEP 64   /* pages begun under one look at the file's size */
#define TRIES 64  /* without a page; then what is left is left out */
#define DEEP 1024 /* pages in flight at most */
#define SHALLOW 8

/* --- the order ---------------------------------------------------------------------------- */

static int by_first(const void *a, const void *b)
{
        const struct prefetch_span *x = a, *y = b;

        return x->first < y->first ? -1 : x->first > y->first;
}

static int by_place(const void *a, const void *b)
{
        const struct prefetch_span *x = a, *y = b;

        return x->place < y->place ? -1 : x->place > y->place ? 1 : by_first(a, b);
}

/* In order, and those that touch or overlap as one. How many are left. */
static size_t join(struct prefetch_span *s, size_t nr)
{
        size_t n = 0;

        qsort(s, nr, sizeof(*s), by_first);
        for (size_t i = 0; i < nr; i++) {
                if (s[i].first >= s[i].end)
                        continue;
                if (n && s[i].first <= s[n - 1].end)
                        s[n - 1].end = max_u64(s[n - 1].end, s[i].end);
                else
                        s[n++] = s[i];
        }
        return n;
}

static uint64_t place_of(struct inode *inode, uint64_t page)
{
        const struct address_space_operations *ops = inode->a_ops;
        uint64_t at;
        int64_t sector;

        if (ops->place)
                return ops->place(inode, page, &at) > 0 ? at : 0;
        sector =
                ops->bmap ? ops->bmap(inode, page) : (int64_t)(page << (PAGE_SHIFT - SECTOR_SHIFT));
        return sector > 0 ? (uint64_t)sector << SECTOR_SHIFT : 0;
}

static void put_in_order(struct prefetch *p)
{
        bool sorted = true;

        p->nr = join(p->spans, p->nr);
        for (size_t i = 0; i < p->nr; i++) {
                struct prefetch_span *s = &p->spans[i];

                p->wanted += s->end - s->first;
                s->place = place_of(p->file->inode, s->first);
                sorted &= i == 0 || s[-1].place <= s->place;
        }
        if (!sorted)
                qsort(p->spans, p->nr, sizeof(*p->spans), by_place);
}

/* --- its end ------------------------------------------------------------------------------ */

static void set_state(struct prefetch *p, enum prefetch_state s)
{
        atomic_store(&p->state, s);
        futex_wake(&p->state, INT32_MAX);
}

/* Does not wait: a counter that is full has been told enough. */
static void tell(int fd)
{
        struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
        uint64_t one = 1;
        ssize_t n = 0;

        if (fd >= 0 && poll_ready(&poll_fd, 1, 0, 0) == 1 && (poll_fd.revents & POLLOUT))
                n = write(fd, &one, sizeof(one));
        (void)n;
}

/* The last one says that it is over, and is gone before anybody may free it. */
static void put(struct prefetch *p)
{
        if (atomic_fetch_sub(&p->users, 1) != 1)
                return;
        perturb_gap();
        set_state(p, PREFETCH_DONE);
        tell(p->eventfd);
        perturb_gap();
        set_state(p, PREFETCH_GONE);
}

void prefetch_begun(struct prefetch *p, uint32_t nr)
{
        atomic_fetch_add(&p->users, 1);
        atomic_fetch_add(&p->flying, nr);
}

static uint32_t most_in_flight(const struct prefetch *p)
{
        return (uint32_t)max_u64(SHALLOW,
                                 min_u64(DEEP, p->file->mapping->cache->staging.pages / 4));
}

/* Below this it goes on: with each read that ends there would be a wake-up and a request alone. */
static uint32_t few_in_flight(const struct prefetch *p)
{
        return most_in_flight(p) / 4 * 3;
}

void prefetch_ended(struct prefetch *p, uint32_t good, uint32_t bad, int error)
{
        int none = 0;

        atomic_fetch_add(&p->read, good);
        if (bad) {
                atomic_fetch_add(&p->failed, bad);
                atomic_compare_exchange_strong(&p->error, &none, error ? error : -ENXIO);
        }
        if (atomic_fetch_sub(&p->flying, good + bad) - (good + bad) <= few_in_flight(p) &&
            atomic_load(&p->sleeping))
                futex_wake(&p->flying, 1);
        put(p);
}

/* --- the thread --------------------------------------------------------------------------- */

static void wait_for_few(struct prefetch *p, struct blk_plug *plug)
{
        uint32_t n;

        if (atomic_load(&p->flying) < most_in_flight(p))
                return;
        blk_finish_plug(plug); /* what is waited for may be in it */
        lock_assert_none();
        atomic_store(&p->sleeping, true);
        while ((n = atomic_load(&p->flying)) > few_in_flight(p))
                futex_wait(&p->flying, n, 0);
        atomic_store(&p->sleeping, false);
        blk_start_plug(plug);
}

/* There was no memory to read with, or no room. False: there will be none. */
static bool wait_for_memory(struct prefetch *p, unsigned tries, struct blk_plug *plug)
{
        struct page_cache *c = p->file->mapping->cache;
        struct wait_on on = { .kind = staging_available(&c->staging, false) ? WAIT_BUDGET
                                                                            : WAIT_STAGING };

        blk_finish_plug(plug);
        if (tries >= TRIES || (on.kind == WAIT_BUDGET && budget_stuck(c))) {
                blk_start_plug(plug);
                return false;
        }
        reclaim_kick(c);
        wait_on(c, &on);
        blk_start_plug(plug);
        return true;
}

/* Would more of them push out the first? */
static bool is_full(const struct prefetch *p)
{
        struct budget *b = &p->file->mapping->cache->budget;

        return (int64_t)p->begun + STEP > atomic_load(&b->limit) - atomic_load(&b->high);
}

/* False: nothing more is to be begun. */
static bool bring_in(struct prefetch *p, const struct prefetch_span *s, struct blk_plug *plug)
{
        struct address_space *m = p->file->mapping;
        uint64_t at = s->first;
        unsigned tries = 0;

        while (at < s->end) {
                uint64_t end = min_u64(s->end, at + (tries ? 1 : STEP));
                uint64_t stop, begun = 0;

                wait_for_few(p, plug);
                if (atomic_load(&p->cancelled) || is_full(p))
                        return false;
                mapping_read_lock(m, plug); /* no longer nor shorter meanwhile */
                /* What has been cut off since is passed by. */
                stop = at < mapping_pages(m) ? prefetch_read(p, at, end, &begun, plug) : end;
                rwlock_read_unlock(&m->i_rwsem);
                p->begun += begun;
                atomic_fetch_add(&p->passed, stop - at);
                if (stop > at)
                        tries = 0;
                else if (!wait_for_memory(p, ++tries, plug))
                        return false;
                at = stop;
        }
        return true;
}

static void run(struct prefetch *p)
{
        struct blk_plug plug;

        blk_start_plug(&plug);
        for (size_t i = 0; i < p->nr; i++)
                if (!bring_in(p, &p->spans[i], &plug))
                        break;
        blk_finish_plug(&plug);
        put(p);
}

static struct prefetch *take_next(struct page_cache *c)
{
        struct prefetch *p;

        mutex_lock(&c->prefetch_lock);
        p = c->prefetches;
        if (p)
                c->prefetches = p->next;
        mutex_unlock(&c->prefetch_lock);
        return p;
}

void *prefetch_thread(void *arg)
{
        struct page_cache *c = arg;
        struct prefetch *p;
        uint32_t seen = 0;

        while (!atomic_load(&c->prefetcher.stop)) {
                while ((p = take_next(c)))
                        run(p);
                worker_sleep(&c->prefetcher, &seen, 0);
        }
        return NULL;
}

static bool start_thread(struct page_cache *c)
{
        bool running;

        mutex_lock(&c->open_lock);
        if (!c->prefetcher.running)
                worker_start(&c->prefetcher, "fl-prefetch", prefetch_thread, c);
        running = c->prefetcher.running;
        mutex_unlock(&c->open_lock);
        return running;
}

/* --- for those who ask -------------------------------------------------------------------- */

static void queue(struct page_cache *c, struct prefetch *p)
{
        struct prefetch **at;

        mutex_lock(&c->prefetch_lock);
        for (at = &c->prefetches; *at; at = &(*at)->next)
                ;
        *at = p;
        mutex_unlock(&c->prefetch_lock);
        worker_kick(&c->prefetcher);
}

int prefetch_start(struct file *f, struct prefetch_span *spans, size_t nr, int eventfd,
                   struct prefetch **out)
{
        struct page_cache *c = f->mapping->cache;
        struct prefetch *p = calloc(1, sizeof(*p));

        if (!p || !start_thread(c)) {
                free(spans);
                free(p);
                return p ? -EAGAIN : -ENOMEM;
        }
        p->file = f;
        p->spans = spans;
        p->nr = nr;
        p->eventfd = eventfd;
        p->users = 1;
        put_in_order(p);
        queue(c, p);
        *out = p;
        return 0;
}

bool prefetch_wait(struct prefetch *p, uint64_t ns)
{
        uint64_t until = ns ? now_ns() + ns : 0, now;

        if (until < ns)
                until = UINT64_MAX;
        while (atomic_load(&p->state) == PREFETCH_UNDER_WAY) {
                now = now_ns();
                if (now >= until)
                        return false;
                futex_wait(&p->state, PREFETCH_UNDER_WAY, until - now);
        }
        return true;
}

/* False: the thread has it, or has had it. */
static bool take_out(struct page_cache *c, struct prefetch *p)
{
        struct prefetch **at;
        bool found;

        mutex_lock(&c->prefetch_lock);
        for (at = &c->prefetches; *at && *at != p; at = &(*at)->next)
                ;
        found = *at != NULL;
        if (found)
                *at = (*at)->next;
        mutex_unlock(&c->prefetch_lock);
        return found;
}

void prefetch_cancel(struct prefetch *p)
{
        atomic_store(&p->cancelled, true);
        perturb_gap();
        if (take_out(p->file->mapping->cache, p))
                put(p);
}

void prefetch_end(struct prefetch *p)
{
        uint32_t state;

        while ((state = atomic_load(&p->state)) != PREFETCH_GONE)
                futex_wait(&p->state, state, 0);
        if (p->eventfd >= 0)
                close(p->eventfd);
        free(p->spans);
        free(p);
}
