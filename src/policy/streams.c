/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.c - see streams.h.
 */
#include "policy/streams.h"

#include <inttypes.h>
#include <stdio.h>

#define FIRST 4u                    /* touches of the first window of neighbours */
#define FIRST_STRIDED 2u            /* and of others */
#define FARTHEST (INT64_C(1) << 20) /* the largest step: 4 GiB */
#define BUSY 8u      /* a window takes so many times as long as the device's answer to one read */
#define UNKNOWN 256u /* largest window until the device has been measured: 1 MiB */
#define SMALLEST_MOST 32u
#define STRIDED_MOST 64u /* reads at once */
#define FORGIVEN 8u      /* windows after which a larger one is tried again */
#define JUDGED 16u       /* streams after which it is asked whether they last */

static const struct stream_window alone = { .nr = 0 };

uint32_t stream_most(const struct stream_pace *pace, int64_t step)
{
        uint64_t most = UNKNOWN;

        if (pace->page_ns && pace->latency_ns)
                most = max_u64(BUSY * (uint64_t)pace->latency_ns / pace->page_ns, SMALLEST_MOST);
        if (step != 1 && step != -1)
                most = min_u64(most, STRIDED_MOST);
        return (uint32_t)max_u64(min_u64(most, pace->most), 1);
}

static struct stream *oldest(struct streams *s)
{
        struct stream *old = &s->stream[0];

        for (unsigned i = 0; i < STREAMS && old->step; i++) {
                struct stream *t = &s->stream[i];

                if (!t->step || s->clock - t->used > s->clock - old->used)
                        old = t;
        }
        return old;
}

/* The stream's next window. nr: so many touches at its beginning are wanted now; the one behind them
 * asks for the window after it. */
static struct stream_window next_window(struct streams *s, struct stream *t,
                                        const struct stream_pace *pace, uint64_t nr)
{
        uint32_t most = stream_most(pace, t->step);
        struct stream_window w = { .start = t->next, .step = t->step, .most = most };

        if (t->most && ++t->good % FORGIVEN == 0)
                t->most *= 2;
        if (t->most >= most)
                t->most = 0;
        if (t->most)
                most = t->most;
        t->before = t->windows ? t->window : 0;
        if (t->windows == 0)
                t->window = max_u64(2 * t->window,
                                    t->step == 1 || t->step == -1 ? FIRST : FIRST_STRIDED);
        else
                t->window = (uint32_t)min_u64(2 * (uint64_t)t->window, most);
        t->window = (uint32_t)max_u64(min_u64(t->window, most), nr);
        if (t->windows++ == 1)
                s->lasting++;
        t->marker = nr < t->window ? t->next + t->step * (int64_t)nr : -1;
        t->next += t->step * (int64_t)t->window;
        t->used = ++s->clock;
        w.nr = t->window;
        w.mark = (uint32_t)nr;
        w.windows = t->windows;
        return w;
}

/* Streams that are found by chance end at once. Then half of what is known is forgotten, so that it
 * can change. */
static bool is_doubtful(struct streams *s)
{
        if (s->found >= 2 * JUDGED) {
                s->found /= 2;
                s->lasting /= 2;
        }
        return s->found >= JUDGED && s->lasting < s->found / 4;
}

/* Behind `index`, whose touch has been answered otherwise. */
static struct stream *begin(struct streams *s, int64_t index, int64_t step)
{
        struct stream *t = oldest(s);

        *t = (struct stream){
                .step = step, .next = index + step, .marker = -1, .used = ++s->clock
        };
        s->found++;
        return t;
}

static bool in_history(const struct streams *s, int64_t index)
{
        for (unsigned i = 0; i < STREAM_HISTORY; i++)
                if (s->history[i] == index + 1)
                        return index >= 0;
        return false;
}

/* Does the touch, with earlier ones, make a stream? Its step; 0: it does not. Latest touches first, so that
 * of two explanations the nearer one is taken. */
static int64_t find_step(const struct streams *s, int64_t index, unsigned touches)
{
        for (unsigned i = 0; i < STREAM_HISTORY; i++) {
                int64_t at = s->history[(s->newest - i) % STREAM_HISTORY] - 1, step = index - at;
                unsigned seen = 2;

                if (at < 0 || step == 0 || step > FARTHEST || step < -FARTHEST)
                        continue;
                while (seen < touches && in_history(s, index - step * (int64_t)seen))
                        seen++;
                if (seen >= touches || ((step == 1 || step == -1) && seen + 1 >= touches))
                        return step;
        }
        return 0;
}

static void remember(struct streams *s, int64_t index)
{
        s->newest++;
        s->history[s->newest % STREAM_HISTORY] = index + 1;
}

/* Is the page in what the stream has asked for last? It has gone again, or never came. */
static bool in_window(const struct stream *t, int64_t index)
{
        int64_t back = t->next - t->step - index, touches = back / t->step;

        return t->windows && back % t->step == 0 && touches >= 0 &&
               touches < 2 * (int64_t)t->window;
}

/* What was read for nothing is not read again in such amounts. */
static struct stream_window restart(struct streams *s, struct stream *t,
                                    const struct stream_pace *pace, int64_t index, uint64_t nr)
{
        t->most = t->window > 2 * FIRST ? t->window / 2 : FIRST;
        t->good = 0;
        t->window = t->most / 2;
        t->next = index;
        return next_window(s, t, pace, nr);
}

struct stream_window streams_miss(struct streams *s, const struct stream_pace *pace, uint64_t index,
                                  uint64_t nr)
{
        int64_t at = (int64_t)index, step;
        struct stream *t;

        for (t = s->stream; t < s->stream + STREAMS; t++) {
                if (!t->step)
                        continue;
                if (t->next == at)
                        return next_window(s, t, pace, nr);
                if (in_window(t, at))
                        return restart(s, t, pace, at, nr);
        }
        step = find_step(s, at, is_doubtful(s) ? 4 : 3);
        remember(s, at + (int64_t)nr - 1);
        if (!step || (nr > 1 && step != 1))
                return alone;
        /* The touch itself is read with the rest of them. */
        t = begin(s, at - step, step);
        t->window = (uint32_t)nr;
        return next_window(s, t, pace, nr);
}

struct stream_window streams_marker(struct streams *s, const struct stream_pace *pace,
                                    uint64_t index)
{
        for (struct stream *t = s->stream; t < s->stream + STREAMS; t++)
                if (t->step && t->marker == (int64_t)index)
                        return next_window(s, t, pace, 0);
        return alone;
}

/* The last window is being read, the one before is being touched. */
static bool in_last_two(const struct stream *t, int64_t index)
{
        int64_t back = t->next - t->step - index, touches = back / t->step;

        return back % t->step == 0 && touches >= 0 &&
               touches < (int64_t)t->window + (int64_t)t->before;
}

int64_t streams_step(const struct streams *s, uint64_t index)
{
        const struct stream *found = NULL;

        for (const struct stream *t = s->stream; t < s->stream + STREAMS; t++)
                if (t->step && t->windows && in_last_two(t, (int64_t)index) &&
                    (!found || s->clock - t->used < s->clock - found->used))
                        found = t;
        return found ? found->step : 0;
}

void streams_cut(struct streams *s, int64_t step, int64_t stop)
{
        for (struct stream *t = s->stream; t < s->stream + STREAMS; t++) {
                int64_t back = step ? (t->next - stop) / step : 0;

                if (t->step != step || !step || (t->next - stop) % step || back <= 0 ||
                    back > (int64_t)t->window)
                        continue;
                t->next = stop;
                t->window -= (uint32_t)back < t->window ? (uint32_t)back : t->window - 1;
                return;
        }
}

struct stream_window streams_begin(struct streams *s, const struct stream_pace *pace,
                                   uint64_t index, uint64_t nr)
{
        struct stream *t;

        for (t = s->stream; t < s->stream + STREAMS; t++)
                if (t->step == 1 && t->next == (int64_t)index)
                        return next_window(s, t, pace, nr);
        s->found--; /* nobody was taken by chance */
        t = begin(s, (int64_t)index - 1, 1);
        t->window = SMALLEST_MOST / 2;
        return next_window(s, t, pace, nr);
}

static size_t describe_one(const struct stream *t, char *text, size_t size, const char *before)
{
        char how[32];
        int n;

        if (t->step == 1 || t->step == -1)
                snprintf(how, sizeof(how), t->step == 1 ? "forward" : "backward");
        else
                snprintf(how, sizeof(how), "every %" PRId64, t->step);
        n = snprintf(text, size, "%s%s, next %" PRId64 ", window %u, windows so far %u", before,
                     how, t->next, t->window, t->windows);
        if (n < 0 || (size_t)n >= size) { /* half a clause says nothing */
                *text = 0;
                return 0;
        }
        return (size_t)n;
}

void streams_describe(const struct streams *s, char *text, size_t size)
{
        uint32_t below = s->clock + 1;
        size_t used = 0, n = 1;

        *text = 0;
        while (n) {
                const struct stream *latest = NULL;

                for (const struct stream *t = s->stream; t < s->stream + STREAMS; t++)
                        if (t->windows && t->used < below && (!latest || t->used > latest->used))
                                latest = t;
                if (!latest)
                        break;
                below = latest->used;
                n = describe_one(latest, text + used, size - used, used ? "; " : "");
                used += n;
        }
}
