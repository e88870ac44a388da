/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - changes that the server has answered, and may still forget.
 *
 * NBD promises that a write is durable when a flush that was sent after its answer has been
 * answered, and no sooner. A server that dies in between (or the machine under it) may lose it, and
 * nobody above would know: the page is clean by then. So each change is kept until then, and done
 * again when the server is back, as NFS clients do it for writes that are not committed.
 *
 * Two rings, of records and of bytes. A change takes its place when it is begun and is sent from
 * there; so what overlaps is in the order in which it was done, since of such changes only one is in
 * flight. Places are given back from the front. When no place is left, the connection that wants one
 * has the server flush.
 *
 * A server that knows no flush has nothing to forget (so says the protocol): a record goes with its
 * answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "driver/nbd/nbd.h"

int nbd_log_init(struct nbd_log *log, bool keep)
{
        mutex_init(&log->lock, LOCK_NBD_LOG);
        log->keep = keep;
        log->records = calloc(NBD_LOG_RECORDS, sizeof *log->records);
        log->ring = mmap(NULL, NBD_LOG_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (log->records && log->ring != MAP_FAILED)
                return 0;
        nbd_log_free(log);
        return -ENOMEM;
}

void nbd_log_free(struct nbd_log *log)
{
        free(log->records);
        if (log->ring && log->ring != MAP_FAILED)
                munmap(log->ring, NBD_LOG_BYTES);
        log->records = NULL;
        log->ring = NULL;
}

static struct nbd_record *record(struct nbd_log *log, uint64_t n)
{
        return &log->records[n % NBD_LOG_RECORDS];
}

/* Where `len` bytes in a row are free; *room is what is taken for them. False: nowhere. => lock */
static bool find_room(struct nbd_log *log, uint32_t len, char **data, uint32_t *room)
{
        uint64_t at, skip;

        mutex_assert_held(&log->lock);
        if (log->first == log->end) /* the front again, which has been touched */
                log->byte_first = log->byte_end = 0;
        at = log->byte_end % NBD_LOG_BYTES;
        skip = at + len > NBD_LOG_BYTES ? NBD_LOG_BYTES - at : 0;
        if (log->byte_end + skip + len - log->byte_first > NBD_LOG_BYTES)
                return false;
        *data = log->ring + (at + skip) % NBD_LOG_BYTES;
        *room = (uint32_t)(skip + len);
        return true;
}

struct nbd_record *nbd_log_begin(struct nbd_log *log, enum io_op op, uint64_t offset, uint32_t len)
{
        struct nbd_record *r = NULL;
        char *data;
        uint32_t room;

        mutex_lock(&log->lock);
        if (log->end - log->first < NBD_LOG_RECORDS &&
            find_room(log, op == IO_WRITE ? len : 0, &data, &room)) {
                r = record(log, log->end++);
                *r = (struct nbd_record){
                        .op = op, .offset = offset, .len = len, .data = data, .room = room
                };
                log->byte_end += room;
        } else {
                log->wanted = true;
        }
        mutex_unlock(&log->lock);
        return r;
}

/* Gives back what is at the front and not needed. True if somebody waits for it. => lock */
static bool trim_front(struct nbd_log *log)
{
        bool any = false, wanted;

        mutex_assert_held(&log->lock);
        while (log->first < log->end && record(log, log->first)->gone) {
                log->byte_first += record(log, log->first)->room;
                log->first++;
                any = true;
        }
        wanted = any && log->wanted;
        if (wanted)
                log->wanted = false;
        return wanted;
}

bool nbd_log_replied(struct nbd_log *log, struct nbd_record *r)
{
        bool wanted;

        mutex_lock(&log->lock);
        if (log->keep) {
                r->replied = ++log->replies;
                log->unflushed++;
        } else {
                r->gone = true;
        }
        /* One that waits can have the rest flushed now. */
        wanted = trim_front(log) || log->wanted;
        log->wanted = false;
        mutex_unlock(&log->lock);
        return wanted;
}

bool nbd_log_drop(struct nbd_log *log, struct nbd_record *r)
{
        bool wanted;

        mutex_lock(&log->lock);
        if (r->replied)
                log->unflushed--;
        r->gone = true;
        wanted = trim_front(log);
        mutex_unlock(&log->lock);
        return wanted;
}

uint64_t nbd_log_mark(struct nbd_log *log)
{
        uint64_t mark;

        mutex_lock(&log->lock);
        mark = log->replies;
        mutex_unlock(&log->lock);
        return mark;
}

bool nbd_log_flushed(struct nbd_log *log, uint64_t mark)
{
        bool wanted;

        mutex_lock(&log->lock);
        for (uint64_t n = log->first; n < log->end; n++) {
                struct nbd_record *r = record(log, n);

                if (r->gone || !r->replied || r->replied > mark)
                        continue;
                r->gone = true;
                log->unflushed--;
        }
        wanted = trim_front(log);
        mutex_unlock(&log->lock);
        return wanted;
}

bool nbd_log_dirty(struct nbd_log *log)
{
        bool dirty;

        mutex_lock(&log->lock);
        dirty = log->unflushed > 0;
        mutex_unlock(&log->lock);
        return dirty;
}

struct nbd_record *nbd_log_next(struct nbd_log *log, uint64_t *at)
{
        struct nbd_record *r = NULL;

        mutex_lock(&log->lock);
        for (*at = max_u64(*at, log->first); *at < log->end && !r; ++*at) {
                r = record(log, *at);
                if (r->gone || !r->replied)
                        r = NULL;
        }
        mutex_unlock(&log->lock);
        return r;
}
