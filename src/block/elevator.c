/* SPDX-License-Identifier: Apache-2.0
 *
 * elevator.c - the table of elevators, and the hash in which back merges are found.
 */
#include "block/elevator.h"

#include <errno.h>
#include <string.h>

#include "block/request.h"

static const struct elevator_ops *const elevators[] = { &deadline_elevator, &none_elevator };

const struct elevator_ops *elevator_find(const char *name)
{
        if (!name)
                return elevators[0];
        for (size_t i = 0; i < ARRAY_SIZE(elevators); i++)
                if (!strcmp(elevators[i]->name, name))
                        return elevators[i];
        return NULL;
}

int elevator_check(const char *name)
{
        return elevator_find(name) ? 0 : -EINVAL;
}

static unsigned bucket_of(uint64_t offset)
{
        return (unsigned)((offset >> SECTOR_SHIFT) * 0x9e3779b97f4a7c15u >> (64 - ELV_HASH_BITS));
}

void elv_hash_add(struct elv_hash *h, struct request *rq)
{
        LIST_INSERT_HEAD(&h->bucket[bucket_of(rq_end_offset(rq))], rq, hashed);
}

void elv_hash_remove(struct request *rq)
{
        LIST_REMOVE(rq, hashed);
}

struct request *elv_hash_first(const struct elv_hash *h, uint64_t offset)
{
        return LIST_FIRST(&h->bucket[bucket_of(offset)]);
}
