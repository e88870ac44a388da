/* SPDX-License-Identifier: Apache-2.0
 *
 * page.h - one cached page: sixteen bytes, one atomic word that decides everything.
 *
 *   ABSENT --page_start_read--> READING --page_end_read--> CLEAN
 *   READING --page_fail_read--> ABSENT (nobody asked) | ERROR (somebody did)
 *   CLEAN --page_make_dirty--> DIRTY --page_start_writeback--> WRITEBACK
 *   WRITEBACK --page_end_writeback--> CLEAN, or DIRTY if stored to meanwhile or failed
 *   CLEAN --page_start_evict--> EVICTING --page_end_evict--> ABSENT
 *   ERROR --page_start_read--> READING, --page_forget_error--> ABSENT
 *
 * Invariants: only READING, CLEAN, DIRTY, WRITEBACK and EVICTING are charged to the budget; the
 * frame is filled in CLEAN, DIRTY and WRITEBACK; DIRTY and only DIRTY is tagged in the tree;
 * REDIRTY only with WRITEBACK; GUESSED only with DIRTY, or with WRITEBACK until it has been compared;
 * a mapping shows the page writable only while DIRTY or REDIRTY.
 *
 * Every transition needs the LOCK bit, which is also held across every ioctl that installs or
 * relaxes a translation of the page, and never across I/O (DESIGN facts 2 and 3).
 */
#ifndef FL_CACHE_PAGE_H
#define FL_CACHE_PAGE_H

#include "policy/reclaim.h"
#include "util/wait.h"

enum page_state {
        PAGE_ABSENT,
        PAGE_READING,
        PAGE_CLEAN,
        PAGE_DIRTY,
        PAGE_WRITEBACK,
        PAGE_EVICTING,
        PAGE_ERROR,
};

#define PG_LOCKED (1u << 0)
#define PG_WAITERS (1u << 1) /* unlocking wakes the page's wait queue */
#define PG_STATE_SHIFT 2
#define PG_STATE_MASK (7u << PG_STATE_SHIFT)
#define PG_REDIRTY (1u << 5)     /* [LOCK] stored to during write-back */
#define PG_MARKER (1u << 6)      /* touching it starts the next read-ahead window */
#define PG_REFERENCED (1u << 7)  /* found by a fault or a read since reclaim last looked */
#define PG_MAPPED (1u << 8)      /* [LOCK] some mapping may show it */
#define PG_READAHEAD (1u << 9)   /* read ahead, not used yet */
#define PG_LRU (1u << 10)        /* [lru] on a reclaim list */
#define PG_MARK_HEAD (1u << 11)  /* the first of the pages that carry one marker */
#define PG_WORKINGSET (1u << 12) /* has come back after it had been in use for long (L19) */
#define PG_DROP (1u << 13)       /* asked to go as soon as it is clean (putpage.c) */
#define PG_ASKED (1u << 14)      /* brought in by a call that asked for it */
#define PG_PROBED (1u << 15)     /* unmapped to see if it is touched: not shown with others */
#define PG_GUESSED (1u << 16) /* [LOCK] DIRTY before it was stored to, if ever it was (guess.h) */
/* The rest of the word counts what a reader without the lock must not miss (filemap_hit.c): that the frame
 * is about to go, and that fl_pwrite is about to change it. */
#define PG_CHANGE (1u << 17)
#define PG_CHANGES (~(PG_CHANGE - 1))
#define PG_MARKS (PG_MARKER | PG_MARK_HEAD)
/* What is known of the page that is in memory: gone with it. */
#define PG_KNOWN                                                                                   \
        (PG_MARKS | PG_REFERENCED | PG_MAPPED | PG_READAHEAD | PG_WORKINGSET | PG_DROP |           \
         PG_ASKED | PG_PROBED)

struct page {
        _Atomic uint32_t word;
        struct reclaim_node lru; /* [lru] on a list; off it, of who has taken it there */
        _Atomic int16_t error;   /* [LOCK] to write; -errno, set before the state is ERROR */
};
_Static_assert(sizeof(struct page) == 16, "leaves have 256 pages");

struct page_cache;
struct address_space;

static inline uint32_t page_word(const struct page *p)
{
        return atomic_load_explicit(&p->word, memory_order_acquire);
}
static inline enum page_state page_state_of(uint32_t word)
{
        return (word & PG_STATE_MASK) >> PG_STATE_SHIFT;
}
static inline enum page_state page_state(const struct page *p)
{
        return page_state_of(page_word(p));
}
/* The frame holds the file's bytes. */
static inline bool page_uptodate(const struct page *p)
{
        enum page_state s = page_state(p);

        return s == PAGE_CLEAN || s == PAGE_DIRTY || s == PAGE_WRITEBACK;
}
static inline bool page_test(const struct page *p, uint32_t flag)
{
        return page_word(p) & flag;
}
static inline bool page_set(struct page *p, uint32_t flag)
{
        return atomic_fetch_or(&p->word, flag) & flag;
}
static inline bool page_clear(struct page *p, uint32_t flag)
{
        return atomic_fetch_and(&p->word, ~flag) & flag;
}
/* May a mapping show the page writable without an event at the next store? */
static inline bool page_may_write(const struct page *p)
{
        uint32_t w = page_word(p);

        return page_state_of(w) == PAGE_DIRTY || (w & PG_REDIRTY);
}

/* Sleeps for the holder's ioctl at most, never for I/O. */
void page_lock(struct page_cache *c, struct page *p);
bool page_trylock(struct page *p);
/* Wakes those who wait for the page. */
void page_unlock(struct page_cache *c, struct page *p);
/* By whomever. */
bool page_is_locked(const struct page *p);
#ifndef NDEBUG
/* The same, checked and counted; page_assert_locked(): by this thread. */
void page_lock_at(struct page_cache *c, struct page *p, const char *where);
bool page_trylock_at(struct page *p, const char *where);
void page_unlock_at(struct page_cache *c, struct page *p, const char *where);
void page_assert_locked_at(const struct page *p, const char *where);
#define page_assert_locked(p) page_assert_locked_at((p), LOCK_HERE)
#else
#define page_assert_locked(p) ((void)(p))
#endif
#if !defined(NDEBUG) && !defined(LOCKS_UNCHECKED)
#define page_lock(c, p) page_lock_at((c), (p), LOCK_HERE)
#define page_trylock(p) page_trylock_at((p), LOCK_HERE)
#define page_unlock(c, p) page_unlock_at((c), (p), LOCK_HERE)
#endif

/* Queue w until the page is next unlocked. False: `busy(word)` is already over, w not queued. */
bool page_wait_add(struct page_cache *c, struct page *p, struct waiter *w,
                   bool (*busy)(uint32_t word));
/* Is somebody reading it (READING, EVICTING) or holding the lock? For page_wait_add(). */
bool page_busy_reading(uint32_t word);
bool page_busy_writeback(uint32_t word);

/* Transitions. => the page is locked and pinned. Counters, tags and the LRU follow. */
void page_start_read(struct page_cache *c, struct page *p);
void page_end_read(struct page_cache *c, struct page *p);
void page_fail_read(struct page_cache *c, struct page *p, int error, bool sticky);
/* What the frame holds is about to change, other than by a store to a mapping. */
void page_change(struct page_cache *c, struct page *p);
/* A page made whole by fl_pwrite, without a read. ABSENT or ERROR -> DIRTY. Charged before. */
void page_create_dirty(struct page_cache *c, struct page *p);
/* CLEAN -> DIRTY, WRITEBACK -> +REDIRTY; nothing if it is already so, but that it is no guess any more.
 * A page of shmem has been counted among the private ones before, and is until it is clean again. */
void page_make_dirty(struct page_cache *c, struct page *p);
void page_start_writeback(struct page_cache *c, struct page *p);
/* Returns true if it is dirty again (stored to meanwhile, or failed). */
bool page_end_writeback(struct page_cache *c, struct page *p, int error);
void page_start_evict(struct page_cache *c, struct page *p);
/* The frame has been taken back. Uncharges. `to_private`: the charge passes to a private copy. */
void page_end_evict(struct page_cache *c, struct page *p, bool to_private);
/* EVICTING -> CLEAN: the frame could not be taken back. */
void page_cancel_evict(struct page_cache *c, struct page *p);
/* DIRTY -> CLEAN without writing: the data is to be thrown away (truncation). */
void page_cancel_dirty(struct page_cache *c, struct page *p);

/* ERROR -> ABSENT: as if it had never been read. */
void page_forget_error(struct page_cache *c, struct page *p);

const char *page_state_name(enum page_state s);
#ifndef NDEBUG
void page_check(struct page_cache *c, struct page *p);
#else
static inline void page_check(struct page_cache *c, struct page *p)
{
        (void)c, (void)p;
}
#endif

#endif
