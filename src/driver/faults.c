/* SPDX-License-Identifier: Apache-2.0
 *
 * faults.c - what a --faults SPEC says, and to which I/O it applies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/faulty.h"
#include "util/quantity.h"

/* ---- parsing: each function takes what it understands off the front of *s ---- */

static bool take(const char **s, const char *word)
{
        size_t n = strlen(word);

        if (strncmp(*s, word, n))
                return false;
        *s += n;
        return true;
}

/* @OFF+LEN */
static bool take_range(const char **s, struct fault_rule *r)
{
        uint64_t end;

        return take(s, "@") && take_size(s, &r->offset) && take(s, "+") && take_size(s, &r->len) &&
               r->len && !__builtin_add_overflow(r->offset, r->len, &end);
}

/* [*COUNT] */
static bool take_count(const char **s, struct fault_rule *r)
{
        uint64_t count;

        if (!take(s, "*"))
                return true;
        if (!take_number(s, &count) || !count)
                return false;
        r->counted = true;
        atomic_store(&r->left, (int64_t)count);
        return true;
}

static bool take_rule(const char **s, struct fault_rule *r)
{
        if (take(s, "eio-read")) {
                r->kind = FAULT_EIO_READ;
                return take_range(s, r) && take_count(s, r);
        }
        if (take(s, "eio")) {
                r->kind = FAULT_EIO;
                return take_range(s, r) && take_count(s, r);
        }
        if (take(s, "enospc")) {
                r->kind = FAULT_ENOSPC;
                return take_range(s, r);
        }
        if (take(s, "short")) {
                r->kind = FAULT_SHORT;
                return take_range(s, r) && take_count(s, r);
        }
        if (take(s, "delay=")) {
                r->kind = FAULT_DELAY;
                if (!take_time(s, &r->delay_ns))
                        return false;
                r->everywhere = **s != '@';
                return r->everywhere || take_range(s, r);
        }
        return false;
}

/* A rule, or what is said once for all of them. */
static bool take_item(const char **s, struct fault_rules *rules)
{
        if (take(s, "seed="))
                return take_number(s, &rules->seed);
        if (take(s, "powercut="))
                return take_number(s, &rules->powercut) && rules->powercut;
        if (take(s, "torn"))
                return rules->torn = true;
        return rules->count < MAX_FAULT_RULES && take_rule(s, &rules->rule[rules->count++]);
}

int faults_parse(struct fault_rules *rules, const char *spec)
{
        memset(rules, 0, sizeof *rules);
        if (!*spec)
                return 0;
        do {
                if (!take_item(&spec, rules))
                        return -EINVAL;
        } while (take(&spec, ","));
        return *spec ? -EINVAL : 0;
}

int faults_check(const char *spec)
{
        struct fault_rules rules;

        return faults_parse(&rules, spec);
}

/* ---- applying ---- */

static bool touches(const struct fault_rule *r, const struct driver_io *io)
{
        if (r->everywhere)
                return true;
        return io->len && io->offset < r->offset + r->len && r->offset < io->offset + io->len;
}

/* May the rule strike (again)? */
static bool use_up(struct fault_rule *r)
{
        return !r->counted || atomic_fetch_sub(&r->left, 1) > 0;
}

int faults_error(struct fault_rules *rules, const struct driver_io *io)
{
        for (unsigned i = 0; i < rules->count; i++) {
                struct fault_rule *r = &rules->rule[i];

                if (!touches(r, io))
                        continue;
                if (r->kind == FAULT_ENOSPC && io->op == IO_WRITE)
                        return -ENOSPC;
                if ((r->kind == FAULT_EIO || (r->kind == FAULT_EIO_READ && io->op == IO_READ)) &&
                    use_up(r))
                        return -EIO;
        }
        return 0;
}

bool faults_no_room(const struct fault_rules *rules, const struct driver_io *io)
{
        for (unsigned i = 0; i < rules->count; i++)
                if (rules->rule[i].kind == FAULT_ENOSPC && touches(&rules->rule[i], io))
                        return true;
        return false;
}

/* How much of it moves is drawn, in whole sectors. What is no longer than one always moves, so that
 * who goes on gets to the end. */
uint64_t faults_short(struct fault_rules *rules, const struct driver_io *io)
{
        for (unsigned i = 0; i < rules->count; i++) {
                struct fault_rule *r = &rules->rule[i];
                uint64_t sectors = io->len ? (io->len - 1) >> SECTOR_SHIFT : 0, z;

                if (r->kind != FAULT_SHORT || !sectors || !touches(r, io) || !use_up(r))
                        continue;
                z = (rules->seed + atomic_fetch_add(&rules->drawn, 1) + 1) * 0x9e3779b97f4a7c15u;
                return (1 + (z >> 32) % sectors) << SECTOR_SHIFT;
        }
        return io->len;
}

uint64_t faults_delay(const struct fault_rules *rules, const struct driver_io *io)
{
        uint64_t ns = 0;

        for (unsigned i = 0; i < rules->count; i++)
                if (rules->rule[i].kind == FAULT_DELAY && touches(&rules->rule[i], io))
                        ns += rules->rule[i].delay_ns;
        return ns;
}
