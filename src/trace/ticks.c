/* SPDX-License-Identifier: Apache-2.0
 *
 * ticks.c - lines between two looks at the processor's counter and the clock.
 *
 * A look reads the counter, the clock and the counter again, and takes the clock's time for that of the
 * middle. One that took much longer than the quickest ever was interrupted, and says too little: then
 * the line before it goes on. If all of them do, it is the processor that has become slower, and what counts as
 * quick follows.
 */
#include "trace/ticks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define LEAST_TRIES 3u
#define MOST_TRIES 16u

__extension__ typedef __int128 signed_wide;
__extension__ typedef unsigned __int128 wide;

/* The kernel keeps the time by the counter, so it has found that all processors count alike and never
 * stop; and this process may read it. */
static bool may_count(void)
{
#ifdef __x86_64__
        char source[16] = "";
        int fd, allowed = 0;

        if (prctl(PR_GET_TSC, &allowed) || allowed != PR_TSC_ENABLE)
                return false;
        fd = open(SOURCE, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        if (read(fd, source, sizeof(source) - 1) < 0)
                source[0] = 0;
        close(fd);
        return strcmp(source, "tsc\n") == 0;
#else
        return false;
#endif
}

/* The quickest of some looks. False: all of them were interrupted. */
static bool look(struct ticks *c, uint64_t *tick, uint64_t *ns)
{
        uint64_t best = 0;
        unsigned tries = 0;

        do {
                uint64_t before = ticks_now(c), now = now_ns(), took = ticks_now(c) - before;

                if (!tries || took < best) {
                        best = took;
                        *tick = before + took / 2;
                        *ns = now;
                }
        } while (++tries < LEAST_TRIES || (tries < MOST_TRIES && best / 2 > c->least));
        c->least = min_u64(c->least, best);
        if (best / 2 <= c->least)
                return true;
        c->least += c->least / 8 + 1;
        return false;
}

void ticks_start(struct ticks *c)
{
        *c = (struct ticks){ .counted = may_count(), .least = UINT64_MAX };
        if (c->counted)
                (void)look(c, &c->tick, &c->ns);
}

void ticks_look(struct ticks *c)
{
        struct ticks_line line = { .tick = c->tick, .ns = c->ns, .slope = c->line[1].slope };
        bool first = !line.slope, good;
        uint64_t tick, ns;

        if (!c->counted)
                return;
        good = look(c, &tick, &ns);
        c->until = now_ns();
        if ((!good && !first) || tick == c->tick)
                return;
        /* If it began anew, as after a suspend, this is 0, and the next line is the first again. */
        line.slope = (uint64_t)(((wide)(ns - c->ns) << 32) / (tick - c->tick));
        c->line[0] = first ? line : c->line[1];
        c->line[1] = line;
        c->tick = tick;
        c->ns = ns;
}

uint64_t ticks_to_ns(const struct ticks *c, uint64_t tick)
{
        const struct ticks_line *line = &c->line[tick >= c->line[1].tick];
        int64_t past = (int64_t)(tick - line->tick);

        if (!c->counted)
                return tick;
        return min_u64(line->ns + (uint64_t)((signed_wide)past * line->slope >> 32), c->until);
}
