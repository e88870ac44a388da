/* SPDX-License-Identifier: Apache-2.0
 *
 * draw.c - steps from a seed: the same on every machine whose device reads equally far ahead.
 *
 * Touches keep near each other as often as not, and step on the edges of windows, since that is where
 * the rules meet.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "fidelity.h"

void step_add(struct steps *s, enum step_kind kind, uint64_t page, uint64_t nr, int advice)
{
        require(s->nr < MAX_STEPS, "%s: too many steps", s->name);
        s->step[s->nr++] = (struct step){ kind, page, nr, advice };
}

static bool once_in(uint64_t *state, uint64_t n)
{
        return random_below(state, n) == 0;
}

/* Where the next touch goes. */
static uint64_t next_page(const struct steps *s, uint64_t *state, uint64_t at, uint64_t window)
{
        static const int64_t near[] = { 1, 1, 1, 2, 4, 7, 16, -1, -1, -17, -2, 33 };
        uint64_t end = s->first + s->nr_pages;
        int64_t to = (int64_t)at;

        switch (random_below(state, 6)) {
        case 0:
                return s->first + random_below(state, s->nr_pages);
        case 1: /* the edges of what a touch here reads around it, and its marker */
                to += (int64_t)(window / 4 * random_below(state, 9)) - (int64_t)window;
                to += (int64_t)random_below(state, 3) - 1;
                break;
        case 2:
                to += (int64_t)random_below(state, 2 * window) - (int64_t)window;
                break;
        case 3: /* where a window may have been trimmed to end */
                to = (to | (int64_t)((window >> random_below(state, 5)) - 1)) + 1;
                break;
        default:
                to += near[random_below(state, sizeof(near) / sizeof(near[0]))];
        }
        return to < (int64_t)s->first || to >= (int64_t)end
                       ? s->first + random_below(state, s->nr_pages)
                       : (uint64_t)to;
}

static void draw_part(const struct ground *g, struct steps *s, uint64_t *state)
{
        uint64_t pages;

        s->file = (unsigned)random_below(state, 8); /* the largest costs most */
        s->file = s->file ? 1 + s->file / 6 : 0;
        pages = ground_pages(g, s->file);
        s->nr_pages = pages;
        if (once_in(state, 4)) {
                s->first = random_below(state, pages);
                s->nr_pages = 1 + random_below(state, pages - s->first);
        }
}

void draw_steps(const struct ground *g, uint64_t seed, struct steps *s)
{
        static const int advices[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL };
        uint64_t state = seed * 0x2545f4914f6cdd1du, window = g->ra_pages, at, touches;
        bool writes, advises, needs, drops;

        s->nr = 0;
        s->first = 0;
        snprintf(s->name, sizeof(s->name), "seed %llu", (unsigned long long)seed);
        draw_part(g, s, &state);
        s->exec = once_in(&state, 8);
        s->private = once_in(&state, 3);
        s->fd_advice = once_in(&state, 10)   ? FD_SEQUENTIAL
                       : once_in(&state, 10) ? FD_RANDOM
                                             : FD_NORMAL;
        if (s->fd_advice == FD_SEQUENTIAL)
                window *= 2;
        writes = once_in(&state, 3);
        advises = once_in(&state, 5);
        needs = once_in(&state, 6);
        drops = once_in(&state, 8);
        at = s->first + random_below(&state, s->nr_pages);
        if (once_in(&state, 4))
                step_add(s, ADVISE, 0, 0, advices[random_below(&state, 3)]);
        touches = 1 + random_below(&state, 48);
        for (uint64_t i = 0; i < touches; i++) {
                uint64_t left;

                step_add(s, writes && once_in(&state, 3) ? WRITE_PAGE : READ_PAGE, at, 1, 0);
                at = next_page(s, &state, at, window);
                left = s->first + s->nr_pages - at;
                if (advises && once_in(&state, 8))
                        step_add(s, ADVISE, 0, 0, advices[random_below(&state, 3)]);
                if (needs && once_in(&state, 8))
                        step_add(s, WILLNEED, at, 1 + random_below(&state, left), 0);
                if (drops && once_in(&state, 8))
                        step_add(s, DROP, at, 1 + random_below(&state, left), 0);
        }
}

void random_run(const struct ground *g, uint64_t seed, unsigned nr, struct steps *s)
{
        uint64_t state = seed;

        *s = (struct steps){ .nr_pages = ground_pages(g, 0) };
        snprintf(s->name, sizeof(s->name), "%u touches at random", nr);
        for (unsigned i = 0; i < nr; i++)
                step_add(s, READ_PAGE, random_below(&state, s->nr_pages), 1, 0);
}
