/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - is `--policy linux` what the running kernel does? Page by page, on patterns and on random
 * steps of fixed seeds, with the device's own read-ahead; and in bytes, for a random run.
 *
 * A sequence is judged when two runs of the kernel's were not disturbed and agree; it is tried five
 * times. Judged, it must not differ. With fewer than 240 of 300 judged nothing is known: skipped.
 *
 * `fidelity 0 SEED` runs one seed alone, and says what is resident where.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fidelity.h"

#define SEQUENCES 300
#define ENOUGH 240
#define TRIES 5
#define SHOWN 400 /* bytes of text */

struct count {
        unsigned judged, given_up, disturbed, different;
};

static struct outcome kernel, again, ours;
static struct steps steps;

static const char *ranges(const struct outcome *o, char text[SHOWN])
{
        size_t n = 0;

        text[0] = 0;
        for (uint64_t i = 0; i < o->pages && n < SHOWN - 32; i++) {
                uint64_t from = i;

                while (i < o->pages && o->resident[i])
                        i++;
                if (i > from)
                        n += (size_t)snprintf(text + n, SHOWN - n, " %llu-%llu",
                                              (unsigned long long)from, (unsigned long long)i);
        }
        return text;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
        return memcmp(a->resident, b->resident, a->pages) == 0;
}

static void say_steps(const struct steps *s)
{
        static const char *const names[] = { "r", "w", "advise", "need", "drop" };

        fprintf(stderr, "  file %u, pages %llu+%llu%s%s, fd advice %d:", s->file,
                (unsigned long long)s->first, (unsigned long long)s->nr_pages,
                s->exec ? ", exec" : "", s->private ? ", private" : "", (int)s->fd_advice);
        for (unsigned i = 0; i < s->nr && i < 80; i++) {
                const struct step *t = &s->step[i];

                if (t->kind == ADVISE)
                        fprintf(stderr, " advise=%d", t->advice);
                else if (t->kind == WILLNEED || t->kind == DROP)
                        fprintf(stderr, " %s=%llu+%llu", names[t->kind],
                                (unsigned long long)t->page, (unsigned long long)t->nr);
                else
                        fprintf(stderr, " %s%llu", names[t->kind], (unsigned long long)t->page);
        }
        fprintf(stderr, "%s\n", s->nr > 80 ? " ..." : "");
}

/* Two runs of the kernel's that agree are in `kernel`. */
static bool ask_kernel(const struct ground *g, struct count *c)
{
        for (unsigned i = 0; i < TRIES; i++) {
                kernel_side.run(g, &steps, &kernel);
                if (!kernel.disturbed) {
                        kernel_side.run(g, &steps, &again);
                        if (!again.disturbed && same(&kernel, &again))
                                return true;
                }
                c->disturbed++;
        }
        c->given_up++;
        return false;
}

static void judge(const struct ground *g, struct count *c)
{
        char a[SHOWN], b[SHOWN];

        test_at(steps.name);
        if (!ask_kernel(g, c))
                return;
        our_side.run(g, &steps, &ours);
        c->judged++;
        if (same(&kernel, &ours))
                return;
        c->different++;
        expect(0, "%s, %s: differs\n  kernel %s\n  ours   %s", g->name, steps.name,
               ranges(&kernel, a), ranges(&ours, b));
        say_steps(&steps);
}

static void say(const struct ground *g, const char *what, const struct count *c, unsigned of)
{
        printf("%s, read-ahead %llu KiB: %s: %u of %u judged, %u differ; %u runs disturbed\n",
               g->name, (unsigned long long)g->ra_pages * 4, what, c->judged, of, c->different,
               c->disturbed);
}

static void try_patterns(const struct ground *g)
{
        struct count c = { 0 };
        unsigned nr = 0;

        for (unsigned i = 0; i < pattern_count() && test_left() > 0; i++) {
                if (!pattern_steps(g, i, &steps))
                        continue;
                nr++;
                judge(g, &c);
        }
        say(g, "patterns", &c, nr);
}

/* Enough of them judged? */
static bool try_sequences(const struct ground *g)
{
        struct count c = { 0 };
        uint64_t seed;

        for (seed = 1; seed <= SEQUENCES && test_left() > 0; seed++) {
                draw_steps(g, seed, &steps);
                judge(g, &c);
        }
        say(g, "random sequences", &c, SEQUENCES);
        return c.judged >= ENOUGH;
}

static void try_bytes(const struct ground *g)
{
        struct count c = { 0 };
        double ratio;

        random_run(g, 7, g->ra_pages > 256 ? 12 : 400, &steps);
        if (!ask_kernel(g, &c) || kernel.read_bytes == UINT64_MAX)
                return;
        our_side.run(g, &steps, &ours);
        ratio = (double)ours.read_bytes / (double)kernel.read_bytes;
        printf("%s: %s read %.1f MiB, the kernel %.1f\n", g->name, steps.name,
               (double)ours.read_bytes / 1048576, (double)kernel.read_bytes / 1048576);
        expect(ratio > 0.95 && ratio < 1.05, "%s: %.3f times the kernel's bytes", g->name, ratio);
}

static bool try_ground(const struct ground *g)
{
        bool enough;

        ours_start(g);
        try_bytes(g);
        try_patterns(g);
        enough = try_sequences(g);
        ours_stop();
        return enough;
}

/* A seed of its own, for a closer look. */
static void try_one(const struct ground *g, uint64_t seed)
{
        struct count c = { 0 };
        char text[SHOWN];

        ours_start(g);
        draw_steps(g, seed, &steps);
        say_steps(&steps);
        judge(g, &c);
        fprintf(stderr, "  resident%s\n", ranges(&ours, text));
        ours_stop();
}

/* A loop device as most devices are, and as one comes, whose windows are no power of two; and the
 * machine's own, which may take long, since its windows may be large. */
static const char *find_ground(unsigned i, struct ground *g)
{
        if (i == 0)
                return ground_loop(g, 128);
        return i == 1 ? ground_here(g) : ground_loop(g, 0);
}

int main(int argc, char **argv)
{
        const char *is_long = getenv("FAULTLINE_TEST_LONG");
        unsigned tried = 0, enough = 0, nr = is_long && *is_long ? 3 : 2;
        static struct ground g;
        bool one_seed;

        test_begin(argc, argv, 60, 120, 120);
        one_seed = test.seconds == 0;
        for (unsigned i = 0; i < nr; i++) {
                const char *no = find_ground(i, &g);

                if (no) {
                        fprintf(stderr, "fidelity: not tried: %s\n", no);
                } else if (one_seed) {
                        try_one(&g, test.seed);
                } else {
                        tried++;
                        enough += try_ground(&g);
                }
        }
        if (!test_failures() && !one_seed && !tried)
                test_skip("nowhere could the kernel be asked");
        if (!test_failures() && !one_seed && !enough)
                test_skip("too few runs could be judged: the counts are above");
        return test_end();
}
