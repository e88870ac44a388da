/* SPDX-License-Identifier: Apache-2.0
 *
 * power.c - a disk with a volatile write cache, whose power goes in the middle of the Nth write.
 *
 *   write  kept in the cache; with FUA written through, and kept in its order all the same
 *   flush  every write that was done when the flush was handed in is written out, oldest first; then
 *          the device is flushed. Writes still under way at that moment are none of its business
 *   read   what the device has, with what the cache has over it
 *   other  discards and the like: the cache is written out, then they are passed on
 *
 * When the cache is full all of it is written out, as a disk does when it likes. N counts the writes
 * of the engine, over all its devices. The Nth is the one under way when the power goes: it fails,
 * and so does whatever comes after it. Then what survives (write_cache.c) of the writes that nobody
 * has flushed is written to the device, which is what the next engine, or another program, finds.
 *
 * The device below sees one I/O at a time. That makes all of this a sequence:
 *
 *   power_submit -> pass: one piece of the cache after the other -> then: pass on, keep, or fail
 *
 * step() takes one step of it and is called again when the I/O it has started is done; on whatever
 * thread that is, and from a loop when it was done at once, so that the stack stays flat.
 */
#include "driver/power.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/write_cache.h"
#include "util/lock.h"

#define PRIV_SEQ 0 /* of the priv of an I/O that came here: the how manyeth write it is */

/* Which writes of the cache go out now, and what follows. */
struct pass {
        /* The next bytes of w that go out, from *from on. False: no more. => p->lock held */
        bool (*piece)(const struct power *p, const struct wcache_write *w, uint64_t *from,
                      uint64_t *to);
        /* All are out. True: the I/O is over. */
        bool (*then)(struct power *p);
};

struct power {
        struct driver_env *env;     /* (c) */
        struct device *inner;       /* (c) */
        const struct device *shown; /* (c) */
        uint64_t cut_at, seed;      /* (c) */
        bool torn;                  /* (c) */
        struct mutex lock;
        uint64_t clock;      /* [faulty] */
        struct wcache cache; /* [faulty]: told; the rest is of the I/O under way, as what follows */
        struct driver_io *io; /* the one under way */
        uint64_t tick;        /* when it was handed in */
        const struct pass *pass;
        unsigned at;                         /* of the cache's writes */
        uint64_t from;                       /* bytes of that one are out, or have been passed by */
        enum { NOTHING, PIECE, ITSELF } out; /* at the device */
        int error;              /* the first of what was written out; the next flush tells it */
        _Atomic unsigned turns; /* steps to be taken; whoever makes it 1 takes them */
        struct driver_io own;   /* what the device below sees */
        struct iovec piece;
        struct iovec iov[MAX_SEGMENTS]; /* of a read, as it was */
        unsigned iovcnt;
};

static void take_steps(struct power *p);

bool power_is_off(const struct power *p)
{
        return atomic_load(&p->env->writes) >= p->cut_at;
}

/* ---- what goes to the device below ---- */

static void own_done(struct driver_io *own)
{
        take_steps(container_of(own, struct power, own));
}

static void send(struct power *p, struct driver_io own)
{
        p->own = own;
        p->own.done = own_done;
        p->own.fault = p->io->fault;
        device_submit(p->inner, &p->own);
        device_commit(p->inner);
}

static void send_piece(struct power *p, const struct wcache_write *w, uint64_t to)
{
        uint64_t from = p->from;

        p->piece = (struct iovec){ .iov_base = w->data + from, .iov_len = to - from };
        p->from = to;
        p->out = PIECE;
        send(p, (struct driver_io){
                        .op = IO_WRITE,
                        .flags = w->flags & ~DRIVER_FUA,
                        .offset = w->offset + from,
                        .len = to - from,
                        .iov = &p->piece,
                        .iovcnt = 1,
                });
}

static bool over(struct power *p, int64_t result)
{
        p->io->result = result;
        return true;
}

static bool pass_on(struct power *p)
{
        const struct driver_io *io = p->io;
        int error = p->error;

        if (io->op == IO_FLUSH && error) {
                p->error = 0;
                return over(p, error);
        }
        if (io->op == IO_READ) {
                if (io->iovcnt > MAX_SEGMENTS)
                        return over(p, -EINVAL);
                p->iovcnt = io->iovcnt; /* the driver may change the caller's */
                memcpy(p->iov, io->iov, io->iovcnt * sizeof *io->iov);
        }
        p->out = ITSELF;
        send(p, *io);
        return false;
}

/* What was passed on is back. */
static bool passed(struct power *p)
{
        int64_t result = p->own.result;

        if (p->io->op == IO_READ && result > 0)
                wcache_overlay(&p->cache, p->iov, p->iovcnt, p->io->offset, (uint64_t)result);
        return over(p, result);
}

static void piece_done(struct power *p)
{
        if (p->own.result == (int64_t)p->own.len || p->error)
                return;
        p->error = p->own.result < 0 ? (int)p->own.result : -EIO;
}

/* ---- the passes ---- */

static bool was_told_before(const struct wcache_write *w, uint64_t tick)
{
        return w->told && w->told < tick;
}

static bool none(const struct power *p, const struct wcache_write *w, uint64_t *from, uint64_t *to)
{
        (void)p, (void)w, (void)from, (void)to;
        return false;
}

static bool whole(const struct power *p, const struct wcache_write *w, uint64_t *from, uint64_t *to)
{
        (void)p;
        *to = w->len;
        return *from < w->len;
}

/* What was done when the flush came; and before that, what it would otherwise overtake. */
static bool covered(const struct power *p, const struct wcache_write *w, uint64_t *from,
                    uint64_t *to)
{
        return (was_told_before(w, p->tick) ||
                wcache_overlaps_younger(&p->cache, w, was_told_before, p->tick)) &&
               whole(p, w, from, to);
}

static bool survives(const struct power *p, const struct wcache_write *w, uint64_t *from,
                     uint64_t *to)
{
        const struct wcache_cut cut = {
                .seed = p->seed,
                .at = p->cut_at,
                .torn = p->torn,
                .meta_block = p->shown->meta_block ? p->shown->meta_block : PAGE_SIZE,
        };

        return wcache_survives(&cut, w, from, to);
}

/* Into the cache; what is to be durable at once goes to the device as well. */
static bool keep(struct power *p)
{
        struct driver_io *io = p->io;
        struct wcache_write *w;

        if (!wcache_has_room(&p->cache, io->len))
                return pass_on(p); /* larger than the cache */
        mutex_lock(&p->lock);
        w = wcache_add(&p->cache, io, io->priv[PRIV_SEQ]);
        mutex_unlock(&p->lock);
        iov_copy(io->iov, io->iovcnt, 0, w->data, io->len, false);
        if (io->flags & DRIVER_FUA)
                return pass_on(p);
        return over(p, (int64_t)io->len);
}

static bool fail(struct power *p)
{
        return over(p, -EIO);
}

static const struct pass at_once = { .piece = none, .then = pass_on };
static const struct pass just_keep = { .piece = none, .then = keep };
static const struct pass make_room = { .piece = whole, .then = keep };
static const struct pass flush = { .piece = covered, .then = pass_on };
static const struct pass drain = { .piece = whole, .then = pass_on };
static const struct pass settle = { .piece = survives, .then = fail };

/* ---- taking steps ---- */

/* Sends the next piece of the pass. False: there is none. */
static bool next_piece(struct power *p)
{
        struct wcache *c = &p->cache;

        for (; p->at < c->count; p->at++, p->from = 0) {
                struct wcache_write *w = &c->write[p->at];
                bool send_it;
                uint64_t to;

                mutex_lock(&p->lock);
                send_it = !w->gone && p->pass->piece(p, w, &p->from, &to);
                if (!send_it && !w->gone && (p->from || p->pass == &settle))
                        wcache_gone(c, w);
                mutex_unlock(&p->lock);
                if (!send_it)
                        continue;
                send_piece(p, w, to);
                return true;
        }
        return false;
}

/* True: the I/O is over, with its result. */
static bool step(struct power *p)
{
        unsigned out = p->out;

        p->out = NOTHING;
        if (out == ITSELF)
                return passed(p);
        if (out == PIECE)
                piece_done(p);
        return !next_piece(p) && p->pass->then(p);
}

static void take_steps(struct power *p)
{
        struct driver_io *io = p->io;

        if (atomic_fetch_add(&p->turns, 1))
                return;
        do {
                if (step(p)) {
                        atomic_store(&p->turns, 0);
                        io->done(io); /* then the next may come */
                        return;
                }
        } while (atomic_fetch_sub(&p->turns, 1) > 1);
}

/* ---- an I/O ---- */

/* Counts it. Is it the one during which the power goes, or one that comes after? */
static bool power_goes(struct power *p, struct driver_io *io)
{
        struct wcache_write *w;
        uint64_t seq;

        io->priv[PRIV_SEQ] = 0;
        if (io->op % 2 == 0)
                return power_is_off(p);
        seq = atomic_fetch_add(&p->env->writes, 1) + 1;
        io->priv[PRIV_SEQ] = seq;
        if (seq != p->cut_at)
                return seq > p->cut_at;
        if (io->op == IO_WRITE && io->len && wcache_has_room(&p->cache, io->len)) {
                mutex_lock(&p->lock);
                w = wcache_add(&p->cache, io, seq);
                mutex_unlock(&p->lock);
                w->cut = true;
                iov_copy(io->iov, io->iovcnt, 0, w->data, io->len, false);
        }
        return true;
}

/* Would the device refuse it, or does it move nothing? Then it is for the device to say. */
static bool is_odd(const struct power *p, const struct driver_io *io)
{
        uint64_t size = __atomic_load_n(&p->inner->size, __ATOMIC_RELAXED);

        return p->inner->read_only || !io->len || io->offset > size || io->len > size - io->offset;
}

static const struct pass *choose_pass(struct power *p, struct driver_io *io)
{
        if (power_goes(p, io))
                return &settle;
        switch (io->op) {
        case IO_READ:
                return &at_once;
        case IO_FLUSH:
                return &flush;
        case IO_WRITE:
                if (is_odd(p, io))
                        return &drain;
                return wcache_has_room(&p->cache, io->len) ? &just_keep : &make_room;
        default:
                return &drain;
        }
}

void power_submit(struct power *p, struct driver_io *io, uint64_t tick)
{
        p->io = io;
        p->tick = tick;
        p->at = 0;
        p->from = 0;
        p->pass = choose_pass(p, io);
        take_steps(p);
}

uint64_t power_tick(struct power *p)
{
        uint64_t tick;

        mutex_lock(&p->lock);
        tick = ++p->clock;
        mutex_unlock(&p->lock);
        return tick;
}

void power_told(struct power *p, const struct driver_io *io)
{
        struct wcache *c = &p->cache;

        if (!io->priv[PRIV_SEQ])
                return;
        mutex_lock(&p->lock);
        for (struct wcache_write *w = c->write; w < c->write + c->count; w++)
                if (w->seq == io->priv[PRIV_SEQ])
                        w->told = ++p->clock;
        mutex_unlock(&p->lock);
}

/* ---- the disk ---- */

int power_create(struct power **out, struct driver_env *env, struct device *inner,
                 const struct device *shown, const struct fault_rules *rules)
{
        struct power *p = calloc(1, sizeof *p);
        int err;

        if (!p)
                return -ENOMEM;
        mutex_init(&p->lock, LOCK_FAULTY);
        err = wcache_init(&p->cache);
        if (err) {
                free(p);
                return err;
        }
        p->env = env;
        p->inner = inner;
        p->shown = shown;
        p->cut_at = rules->powercut;
        p->seed = rules->seed;
        p->torn = rules->torn;
        *out = p;
        return 0;
}

void power_destroy(struct power *p)
{
        if (!p)
                return;
        wcache_destroy(&p->cache);
        free(p);
}
