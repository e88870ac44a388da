/* SPDX-License-Identifier: Apache-2.0
 *
 * stamps.c - stamps of eight bytes, and the record of which was stored last: see threads.h.
 */
#include <string.h>

#include "threads.h"

/* Pages in groups of sixteen: twelve that all threads share, four that are one thread's. */
#define GROUP 16u
#define COMMON 12u

unsigned slot_owner(uint64_t slot, unsigned threads)
{
        uint64_t page = slot / SLOTS;

        if (page % GROUP >= COMMON)
                return (unsigned)(page / GROUP % threads);
        return (unsigned)(slot % SLOTS * threads / SLOTS);
}

unsigned slots_of(uint64_t page, unsigned id, unsigned threads, unsigned *first)
{
        unsigned nr = 0;

        for (unsigned i = 0; i < SLOTS; i++)
                if (slot_owner(page * SLOTS + i, threads) == id && nr++ == 0)
                        *first = i;
        return nr;
}

/* number 27 bits, slot 27, file 1, and 9 that depend on all of them; never 0 */
uint64_t stamp_of_slot(unsigned file, uint64_t slot, uint32_t number)
{
        uint64_t s = (uint64_t)file << 54 | slot << 27 | number;

        return s << 9 | ((s * 0x9e3779b97f4a7c15u >> 55) | 1);
}

void look_before(struct record *r, unsigned file, uint64_t slot, unsigned nr, uint32_t *low)
{
        for (unsigned i = 0; i < nr; i++)
                low[i] = slot + i < SHARED_SLOTS ? atomic_load(&r->done[file][slot + i]) : 0;
}

static bool tell_wrong(unsigned file, uint64_t slot, uint64_t has, uint32_t low, uint32_t high,
                       const char *where)
{
        uint64_t s = has >> 9;
        uint32_t number = (uint32_t)(s & ((1u << 27) - 1));
        uint64_t of = s >> 27 & ((1u << 27) - 1);
        bool whole = has == stamp_of_slot((unsigned)(s >> 54), of, number);

        expect(false,
               "%s: file %u page %llu slot %llu: %#llx, %s %llu of page %llu slot %llu file "
               "%llu; expected %u to %u",
               where, file, (unsigned long long)(slot / SLOTS), (unsigned long long)(slot % SLOTS),
               (unsigned long long)has,
               !has    ? "nothing:"
               : whole ? "number"
                       : "not a stamp:",
               (unsigned long long)number, (unsigned long long)(of / SLOTS),
               (unsigned long long)(of % SLOTS), (unsigned long long)(s >> 54), low, high);
        return false;
}

static bool slot_right(struct record *r, unsigned file, uint64_t slot, uint64_t has, uint32_t low,
                       uint32_t high)
{
        uint32_t number = (uint32_t)(has >> 9 & ((1u << 27) - 1));
        bool was_there = slot * 8 < r->size_first[file];

        if (slot >= SHARED_SLOTS || !has)
                return !has && low == 0 && !was_there;
        return has == stamp_of_slot(file, slot, number) && number >= low && number <= high &&
               (number || was_there);
}

bool look_after(struct record *r, unsigned file, uint64_t slot, unsigned nr, const uint32_t *low,
                const uint64_t *bytes, const char *where)
{
        for (unsigned i = 0; i < nr; i++) {
                uint32_t high =
                        slot + i < SHARED_SLOTS ? atomic_load(&r->begun[file][slot + i]) : 0;

                if (!slot_right(r, file, slot + i, bytes[i], low[i], high))
                        return tell_wrong(file, slot + i, bytes[i], low[i], high, where);
        }
        return true;
}

bool look_at_rest(struct record *r, unsigned file, uint64_t slot, unsigned nr,
                  const uint64_t *bytes, const char *where)
{
        for (unsigned i = 0; i < nr; i++) {
                uint32_t last = slot + i < SHARED_SLOTS ? atomic_load(&r->done[file][slot + i]) : 0;

                if (!slot_right(r, file, slot + i, bytes[i], last, last))
                        return tell_wrong(file, slot + i, bytes[i], last, last, where);
        }
        return true;
}

void store_begin(struct record *r, unsigned file, uint64_t slot, unsigned nr, uint64_t *stamps)
{
        for (unsigned i = 0; i < nr; i++)
                stamps[i] = stamp_of_slot(file, slot + i,
                                          atomic_fetch_add(&r->begun[file][slot + i], 1) + 1);
}

void store_done(struct record *r, unsigned file, uint64_t slot, unsigned nr)
{
        for (unsigned i = 0; i < nr; i++)
                atomic_store(&r->done[file][slot + i], atomic_load(&r->begun[file][slot + i]));
}

void record_begin(struct record *r, const uint64_t *sizes)
{
        memset(r, 0, sizeof(*r));
        for (unsigned f = 0; f < FILES; f++) {
                r->size_first[f] = sizes[f];
                atomic_store(&r->size_begun[f], sizes[f]);
                atomic_store(&r->size_done[f], sizes[f]);
        }
}

static void raise_to(_Atomic uint64_t *size, uint64_t to)
{
        uint64_t was = atomic_load(size);

        while (was < to && !atomic_compare_exchange_weak(size, &was, to))
                ;
}

void grow_begin(struct record *r, unsigned file, uint64_t size)
{
        raise_to(&r->size_begun[file], size);
}

void grow_done(struct record *r, unsigned file, uint64_t size)
{
        raise_to(&r->size_done[file], size);
}
