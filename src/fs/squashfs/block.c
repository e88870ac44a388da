/* SPDX-License-Identifier: Apache-2.0
 *
 * block.c - blocks of data, decompressed.
 *
 * A block that a run wants whole goes straight to the run's pages. One of which it wants a part is
 * decompressed into a slot and stays there until the slot is wanted for another, since the run beside
 * it wants the rest: the windows of read-ahead know nothing of an image's blocks. Fragment blocks, in
 * which the tails of many files lie, are always in slots. Two workers that want the same block at the
 * same time do the work once; the second waits for the first.
 *
 *   slot: EMPTY -> FILLING -> READY -> (another block) FILLING
 *                     \-> EMPTY (an error; whoever waits tries himself)
 *
 * A worker has one slot at a time and one decoder, and there are more slots than workers: nobody waits
 * for a slot that is held by one who waits.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/squashfs/squashfs.h"

#define SLOTS_BYTES (1024u * 1024) /* of decompressed blocks kept, if that is enough */
#define MOST_SLOTS 16u

/* ---- readers ---- */

/* There is a decoder for each worker. */
void block_reader_begin(struct block_reader *r, struct blocks *b)
{
        mutex_lock(&b->lock);
        r->blocks = b;
        r->decoder = b->free;
        b->free = r->decoder->next_free;
        mutex_unlock(&b->lock);
}

void block_reader_end(struct block_reader *r)
{
        struct blocks *b = r->blocks;

        mutex_lock(&b->lock);
        r->decoder->next_free = b->free;
        b->free = r->decoder;
        mutex_unlock(&b->lock);
}

/* What is stored of the block, in memory; with it as much of what follows and is wanted as has room. */
static int read_raw(struct block_reader *r, const struct place *place, const char **out)
{
        struct decoder *d = r->decoder;
        struct image *image = r->blocks->image;
        uint64_t end = place->at + place->stored;

        if (place->at < d->raw_at || end > d->raw_at + d->raw_bytes) {
                uint64_t from = round_down_u64(place->at, IMAGE_ALIGN), to, bytes;
                int err;

                if (end > image->size)
                        return -EIO;
                to = round_up_u64(max_u64(end, min_u64(r->end, from + STRETCH_BYTES)), IMAGE_ALIGN);
                bytes = min_u64(to, image->size) - from;
                d->raw_bytes = 0;
                err = image_read(image, from, d->raw, bytes, r->opf, r->fault);
                if (err)
                        return err;
                d->raw_at = from;
                d->raw_bytes = bytes;
        }
        *out = d->raw + (place->at - d->raw_at);
        return 0;
}

/* Into `room` bytes at `to`; *bytes becomes what the block held. */
static int decode(struct block_reader *r, const struct place *place, char *to, uint32_t room,
                  uint32_t *bytes)
{
        sqfs_compressor_t *packer = r->decoder->packer;
        const char *raw;
        int err = read_raw(r, place, &raw);
        sqfs_s32 n = (sqfs_s32)place->stored;

        if (err)
                return err;
        if (place->packed)
                n = packer->do_block(packer, (const sqfs_u8 *)raw, place->stored, (sqfs_u8 *)to,
                                     room);
        else if (place->stored <= room)
                memcpy(to, raw, place->stored);
        if (n <= 0 || (uint32_t)n > room)
                return -EIO;
        *bytes = (uint32_t)n;
        trace_emit(r->blocks->trace, FS_BLOCK, r->fault, 0, place->at >> SECTOR_SHIFT,
                   place->stored, *bytes, place->fragment);
        return 0;
}

/* A block says itself how long it is; it has to be what the file's inode says. */
static bool has_right_size(const struct place *place, uint32_t bytes)
{
        return place->fragment ? bytes >= place->bytes : bytes == place->bytes;
}

/* ---- slots ---- */

/* The slot of the block, or the one to be given to it: that which was longest not wanted. */
static struct slot *find_slot_locked(struct blocks *b, uint64_t at)
{
        struct slot *best = NULL;

        mutex_assert_held(&b->lock);
        for (unsigned i = 0; i < b->nr_slots; i++) {
                struct slot *s = &b->slot[i];

                if (s->state != SLOT_EMPTY && s->at == at)
                        return s;
                if (s->users || (best && best->used <= s->used))
                        continue;
                best = s;
        }
        return best;
}

static bool holds(const struct slot *s, uint64_t at)
{
        return s->state != SLOT_EMPTY && s->at == at;
}

/* The slot that holds the block, to be used until put_slot(), or to be filled: *fill. */
static struct slot *get_slot(struct blocks *b, uint64_t at, bool *fill)
{
        struct slot *s;

        mutex_lock(&b->lock);
        while (s = find_slot_locked(b, at), holds(s, at) && s->state == SLOT_FILLING) {
                uint32_t seen = atomic_load(&b->filled);

                mutex_unlock(&b->lock);
                futex_wait(&b->filled, seen, 0);
                mutex_lock(&b->lock);
        }
        *fill = !holds(s, at);
        if (*fill)
                s->state = SLOT_FILLING;
        s->at = at;
        s->used = ++b->clock;
        s->users++;
        mutex_unlock(&b->lock);
        return s;
}

static void put_slot(struct blocks *b, struct slot *s, enum slot_state state)
{
        bool filled;

        mutex_lock(&b->lock);
        filled = s->state == SLOT_FILLING;
        s->state = state;
        s->users--;
        if (filled)
                atomic_fetch_add(&b->filled, 1);
        mutex_unlock(&b->lock);
        if (filled)
                futex_wake(&b->filled, INT_MAX);
}

static int read_part(struct block_reader *r, const struct place *place, uint32_t from,
                     uint32_t bytes, char *to)
{
        struct blocks *b = r->blocks;
        bool fill;
        struct slot *s = get_slot(b, place->at, &fill);
        int err = 0;

        if (fill)
                err = decode(r, place, s->data, b->block_size, &s->bytes);
        if (err) {
                put_slot(b, s, SLOT_EMPTY);
                return err;
        }
        if (has_right_size(place, s->bytes) && from <= s->bytes && bytes <= s->bytes - from)
                memcpy(to, s->data + from, bytes);
        else
                err = -EIO;
        put_slot(b, s, SLOT_READY);
        return err;
}

/* Is it, or will it soon be, in a slot? */
static bool in_slot(struct blocks *b, uint64_t at)
{
        bool found;

        mutex_lock(&b->lock);
        found = holds(find_slot_locked(b, at), at);
        mutex_unlock(&b->lock);
        return found;
}

int block_read(struct block_reader *r, const struct place *place, uint32_t from, uint32_t bytes,
               char *to)
{
        uint32_t got;
        int err;

        if (!place->stored) {
                memset(to, 0, bytes);
                return 0;
        }
        if (place->fragment || bytes != place->bytes || in_slot(r->blocks, place->at))
                return read_part(r, place, from, bytes, to);
        err = decode(r, place, to, bytes, &got);
        return err ? err : has_right_size(place, got) ? 0 : -EIO;
}

/* ---- the pool ---- */

/* Nothing is allocated later: a fault may wait for what is done here. Memory that is never used
 * costs nothing. */
static int map_memory(struct blocks *b)
{
        uint64_t slots = b->nr_slots * b->slot_bytes, at = 0;
        uint64_t all = slots + b->nr_decoders * b->raw_bytes;

        b->memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b->memory == MAP_FAILED) {
                b->memory = NULL;
                return -ENOMEM;
        }
        for (unsigned i = 0; i < b->nr_slots; i++, at += b->slot_bytes)
                b->slot[i].data = b->memory + at;
        for (unsigned i = 0; i < b->nr_decoders; i++, at += b->raw_bytes)
                b->decoder[i].raw = b->memory + at;
        return 0;
}

static int make_decoders(struct blocks *b, const sqfs_compressor_config_t *packer)
{
        for (unsigned i = 0; i < b->nr_decoders; i++) {
                int err = sqfs_compressor_create(packer, &b->decoder[i].packer);

                if (err) {
                        b->decoder[i].packer = NULL;
                        return err == SQFS_ERROR_ALLOC ? -ENOMEM : -EOPNOTSUPP;
                }
                b->decoder[i].next_free = b->free;
                b->free = &b->decoder[i];
        }
        return 0;
}

int blocks_init(struct blocks *b, const struct blocks_config *config)
{
        uint32_t size = config->packer->block_size;
        int err;

        *b = (struct blocks){
                .image = config->image,
                .trace = config->trace,
                .block_size = size,
                .nr_decoders = config->workers,
                .slot_bytes = size,
                .raw_bytes = max_u64(size, STRETCH_BYTES) + 2 * IMAGE_ALIGN,
        };
        b->nr_slots =
                (unsigned)max_u64(min_u64(SLOTS_BYTES / size, MOST_SLOTS), config->workers + 2);
        mutex_init(&b->lock, LOCK_SQUASHFS_BLOCKS);
        b->slot = calloc(b->nr_slots, sizeof *b->slot);
        b->decoder = calloc(b->nr_decoders, sizeof *b->decoder);
        err = b->slot && b->decoder ? map_memory(b) : -ENOMEM;
        return err ? err : make_decoders(b, config->packer);
}

void blocks_destroy(struct blocks *b)
{
        for (unsigned i = 0; b->decoder && i < b->nr_decoders; i++)
                sqfs_destroy(b->decoder[i].packer);
        if (b->memory)
                munmap(b->memory, b->nr_slots * b->slot_bytes + b->nr_decoders * b->raw_bytes);
        free(b->decoder);
        free(b->slot);
}
