/* SPDX-License-Identifier: Apache-2.0
 *
 * reserve.c - room on the disk for a store, before the page becomes dirty: ENOSPC comes to whoever
 * stores, and not to a write-back that nobody waits for.
 *
 * Finding room may block, so a fault does not do it: it leaves a request to a thread of the cache's,
 * waits as for a page, and gets the answer when it runs again. Requests come from a few places that
 * are there from the start; who finds none waits for one.
 */
#include <errno.h>

#include "cache/filemap.h"

/* Of room_request.state, [room]. */
enum { ROOM_FREE, ROOM_WANTED, ROOM_ASKING, ROOM_ANSWERED };

/* => room_lock */
static struct room_request *find_locked(struct page_cache *c, struct address_space *m,
                                        uint64_t index)
{
        struct room_request *free = NULL;

        mutex_assert_held(&c->room_lock);
        for (unsigned i = 0; i < ROOM_REQUESTS; i++) {
                struct room_request *r = &c->room[i];

                if (r->state == ROOM_FREE)
                        free = r;
                else if (r->m == m && r->index == index && r->state != ROOM_ANSWERED)
                        return r;
        }
        if (free) {
                *free = (struct room_request){ .m = m, .index = index, .state = ROOM_WANTED };
                mapping_use(m); /* until it has been asked */
        }
        return free;
}

bool room_answered(struct page_cache *c, struct room_request *r)
{
        bool yes = false;

        mutex_lock(&c->room_lock);
        if (r)
                yes = r->state == ROOM_ANSWERED;
        else
                for (unsigned i = 0; i < ROOM_REQUESTS; i++)
                        yes |= c->room[i].state == ROOM_FREE;
        mutex_unlock(&c->room_lock);
        return yes;
}

void room_put(struct page_cache *c, struct room_request *r)
{
        bool free = false;

        if (!r)
                return;
        mutex_lock(&c->room_lock);
        if (--r->users == 0 && r->state == ROOM_ANSWERED) {
                r->state = ROOM_FREE;
                free = true;
        }
        mutex_unlock(&c->room_lock);
        if (free)
                waitq_wake(&c->room_wq, NULL);
}

/* 0: there is room; -EAGAIN with rq->wait; -errno */
int reserve_room(struct filemap_request *rq)
{
        struct address_space *m = rq->file->mapping;
        struct page_cache *c = m->cache;
        struct room_request *r = rq->room;
        int error = -EAGAIN;

        if (r && (r->m != m || r->index != rq->index)) { /* something else is mapped here now */
                room_put(c, r);
                r = NULL;
        }
        if (r && room_answered(c, r)) {
                error = r->error;
                room_put(c, r);
                rq->room = NULL;
                return error;
        }
        if (!r) {
                mutex_lock(&c->room_lock);
                r = find_locked(c, m, rq->index);
                if (r)
                        r->users++;
                mutex_unlock(&c->room_lock);
                rq->room = r;
                worker_kick(&c->roomer);
        }
        rq->wait.kind = WAIT_ROOM;
        rq->wait.room = r;
        return error;
}

/* The next request that waits, being asked now. */
static struct room_request *next_request(struct page_cache *c)
{
        struct room_request *next = NULL;

        mutex_lock(&c->room_lock);
        for (unsigned i = 0; i < ROOM_REQUESTS && !next; i++)
                if (c->room[i].state == ROOM_WANTED)
                        next = &c->room[i];
        if (next)
                next->state = ROOM_ASKING;
        mutex_unlock(&c->room_lock);
        return next;
}

static void answer(struct page_cache *c, struct room_request *r)
{
        struct address_space *m = r->m;
        int error = m->host->a_ops->allocate(m->host, r->index, true);

        mutex_lock(&c->room_lock);
        r->error = error;
        r->state = r->users ? ROOM_ANSWERED : ROOM_FREE;
        mutex_unlock(&c->room_lock);
        waitq_wake(&c->room_wq, NULL);
        mapping_unuse(m);
}

void *room_thread(void *arg)
{
        struct page_cache *c = arg;
        struct room_request *r;
        uint32_t seen = 0;

        while (!atomic_load(&c->roomer.stop)) {
                while ((r = next_request(c)))
                        answer(c, r);
                worker_sleep(&c->roomer, &seen, 0);
        }
        return NULL;
}
