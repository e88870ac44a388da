/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.c - see streams.h.
 */
#include "policy/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST 4u                    /* touches of the first window of neighbours */
#define FIRST_STRIDED 2u            /* and of others */
#define FARTHEST (INT64_C(1) << 20) /* the largest step: 4 GiB */
#define BUSY 8u      /* a window takes so many times as long as the device's answer to one read */
#define UNKNOWN 256u /* largest window until the device has been measured: 1 MiB */
#define TOLD 1024u   /* at least, of a stream that is told of: 4 MiB */
#define WHOLE 512u   /* windows larger than that end where a table of the processor's does */
#define SMALLEST_MOST 32u
#define STRIDED_MOST 64u /* reads at once */
#define FORGIVEN 8u      /* windows after which a larger one is tried again */
#define JUDGED 16u       /* streams that have ended, after which it is asked how long they lasted */
#define FEW 4u           /* of which nothing can be told */
#define REMEMBERED 64u   /* after so many half of it is forgotten, so that it can change */
#define STRIDED_HISTORY 16u
#define CLOSE 16u  /* touches left out */
#define LASTING 3u /* windows after which it is likely that more follow */

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

/* Lengths up to four are told apart, and then those up to each power of two. */
static uint32_t longest_of(unsigned n)
{
        return n < 4 ? n + 1 : 1u << (n - 1);
}

static unsigned length_of(uint32_t touches)
{
        unsigned n = 0;

        while (n + 1 < STREAM_LENGTHS && touches > longest_of(n))
                n++;
        return n;
}

static void note_end(struct streams *s, const struct stream *t)
{
        unsigned all = 0;

        if (!t->step || t->told)
                return;
        s->ended[length_of(t->seen)]++;
        for (unsigned i = 0; i < STREAM_LENGTHS; i++)
                all += s->ended[i];
        for (unsigned i = 0; all >= REMEMBERED && i < STREAM_LENGTHS; i++)
                s->ended[i] /= 2;
}

/* How many touches a stream will come to that has had `seen` of them: as half of those did that came as far.
 * UINT64_MAX: many, or it is not known. */
static uint64_t likely_length(const struct streams *s, uint32_t seen)
{
        unsigned n = length_of(seen), all = 0, alive = 0, reach;

        for (unsigned i = 0; i < STREAM_LENGTHS; i++) {
                all += s->ended[i];
                alive += i >= n ? s->ended[i] : 0;
        }
        if (all < JUDGED || alive < FEW)
                return UINT64_MAX;
        reach = alive - s->ended[n];
        while (n + 1 < STREAM_LENGTHS && 2 * reach > alive)
                reach -= s->ended[++n];
        return n + 1 < STREAM_LENGTHS ? longest_of(n) : UINT64_MAX;
}

/* A miss that no stream explains has been followed by that of its neighbour, or there has been another one. */
static void note_lone(struct streams *s, bool followed)
{
        s->followed += followed;
        s->lone += !followed;
        if (s->lone >= REMEMBERED) {
                s->lone /= 2;
                s->followed /= 2;
        }
}

/* Do nearly all of them begin a record, of which it is known how long it is? */
static bool begin_records(struct streams *s)
{
        uint64_t length = likely_length(s, 1);

        if (s->lone < JUDGED || 4 * s->followed < 3 * s->lone || length == UINT64_MAX)
                return false;
        if (length > 1)
                return true;
        s->followed = 0; /* it was so once */
        return false;
}

/* What the stream is known to have touched, up to `last`. */
static void note_touch(struct stream *t, int64_t last)
{
        int64_t seen = (last - t->first) / t->step + 1;

        if (seen < 1) { /* what went before it was touched may lie before all that was seen */
                t->first = last;
                seen = 1;
        }
        t->seen = (uint32_t)min_u64((uint64_t)seen, UINT32_MAX);
}

unsigned streams_active(const struct streams *s)
{
        unsigned n = 0;

        for (const struct stream *t = s->stream; t < s->stream + s->nr; t++)
                n += t->windows >= LASTING && s->clock - t->used < STREAMS;
        return n;
}

/* Where there are many, each has a part only of what all of them may have. */
static uint32_t share_of(const struct streams *s, const struct stream_pace *pace, uint32_t most)
{
        if (!pace->all)
                return most;
        return (uint32_t)min_u64(most,
                                 max_u64(pace->all / max_u64(streams_active(s), 1), SMALLEST_MOST));
}

/* Touches in the stream's next window. */
static uint64_t window_size(struct stream *t, uint32_t most)
{
        if (t->most && ++t->good % FORGIVEN == 0)
                t->most *= 2;
        if (t->most >= most)
                t->most = 0;
        if (t->most)
                most = t->most;
        if (t->windows)
                return min_u64(2 * (uint64_t)t->window, most);
        return min_u64(
                max_u64(2 * t->window, t->step == 1 || t->step == -1 ? FIRST : FIRST_STRIDED),
                most);
}

/* Advice says that all of it will be touched. */
static uint32_t most_of(const struct stream *t, const struct stream_pace *pace)
{
        uint32_t most = stream_most(pace, t->step);

        return t->told ? (uint32_t)max_u64(most, min_u64(TOLD, pace->most)) : most;
}

/* Less what lies behind the last table that the window comes to. */
static uint64_t whole(const struct stream *t, uint64_t size)
{
        uint64_t end = (uint64_t)t->next + size;

        return t->step == 1 && size > WHOLE ? size - end % WHOLE : size;
}

/* The stream's next window. nr: so many touches at its beginning are wanted now; the one behind them
 * asks for the window after it. */
static struct stream_window next_window(struct streams *s, struct stream *t,
                                        const struct stream_pace *pace, uint64_t nr)
{
        uint32_t most = share_of(s, pace, most_of(t, pace));
        struct stream_window w = { .start = t->next, .step = t->step, .most = most };
        uint64_t asked = (uint64_t)((t->next - t->first) / t->step),
                 length = likely_length(s, t->seen);
        uint64_t left = UINT64_MAX, size, mark;

        t->used = ++s->clock;
        t->miss = s->misses;
        t->marker = -1;
        if (length < UINT64_MAX && !t->told)
                left = max_u64(length, asked) - asked;
        if (!left && !nr)
                return alone;
        size = max_u64(whole(t, window_size(t, most)), nr);
        mark = nr;
        if (size > left) {
                size = max_u64(left, nr);
                mark = max_u64(size - 1, nr);
        }
        t->before = t->windows ? t->window : 0;
        t->window = (uint32_t)size;
        t->windows++;
        if (mark < size)
                t->marker = t->next + t->step * (int64_t)mark;
        t->next += t->step * (int64_t)size;
        t->reach = (int64_t)max_u64(2 * max_u64(t->window, t->before), CLOSE) * llabs(t->step);
        w.nr = t->window;
        w.mark = (uint32_t)mark;
        w.windows = t->windows;
        return w;
}

/* Of `touches` by now, of which the last is `index`. */
static struct stream *begin(struct streams *s, int64_t index, int64_t step, unsigned touches)
{
        struct stream *t = oldest(s);

        note_end(s, t);
        s->nr = (uint32_t)max_u64(s->nr, (uint64_t)(t - s->stream) + 1);
        *t = (struct stream){ .step = step,
                              .first = index - step * (int64_t)(touches - 1),
                              .next = index,
                              .marker = -1,
                              .seen = touches,
                              .used = ++s->clock };
        return t;
}

static bool in_history(const struct streams *s, int64_t index)
{
        for (unsigned i = 0; i < STRIDED_HISTORY; i++)
                if (s->history[(s->newest - i) % STREAM_HISTORY] == index + 1)
                        return index >= 0;
        return false;
}

/* Does the touch, with earlier ones, make a stream? Its step; 0: it does not. Latest touches first, so that
 * of two explanations the nearer one is taken. *touches: how many it is made of. */
static int64_t find_step(const struct streams *s, int64_t index, unsigned *touches)
{
        for (unsigned i = 0; i < STREAM_HISTORY; i++) {
                int64_t at = s->history[(s->newest - i) % STREAM_HISTORY] - 1, step = index - at;
                bool next = step == 1 || step == -1;

                if (!next && i >= STRIDED_HISTORY)
                        continue;
                if (at < 0 || step == 0 || step > FARTHEST || step < -FARTHEST)
                        continue;
                if (!next && !in_history(s, index - 2 * step))
                        continue;
                *touches = next ? 2 : 3;
                return step;
        }
        return 0;
}

static void remember(struct streams *s, int64_t index)
{
        s->newest++;
        s->history[s->newest % STREAM_HISTORY] = index + 1;
}

/* Then it has nothing to do with the stream: nearly all are, and that is known without a division. */
static bool is_far(const struct stream *t, int64_t index)
{
        return llabs(index - t->next) > t->reach;
}

/* Is the page one of the last `most` touches that have been asked for? */
static bool is_behind(const struct stream *t, int64_t index, uint64_t most)
{
        int64_t back = t->step > 0 ? t->next - index : index - t->next, size = llabs(t->step);

        return back > 0 && (uint64_t)back <= most * (uint64_t)size && back % size == 0;
}

/* Is the page in what the stream has asked for last? It has gone again, or never came. */
static bool in_window(const struct stream *t, int64_t index)
{
        return t->windows && is_behind(t, index, 2 * (uint64_t)t->window);
}

/* Is it the next touch that nobody has asked for, or not far behind that? Then it is chance, unless the stream
 * has been heard of lately: where much is missed in a small file, much of it is close to some stream's end. */
static bool is_close(const struct streams *s, const struct stream *t, int64_t index)
{
        int64_t on = t->step > 0 ? index - t->next : t->next - index, size = llabs(t->step);
        uint64_t most = t->windows ? min_u64(2 * (uint64_t)t->window, CLOSE) : 0;

        if (on && s->misses - t->miss > STREAMS)
                return false;
        return on >= 0 && (uint64_t)on <= most * (uint64_t)size && on % size == 0;
}

/* What was read for nothing is not read again in such amounts. */
static struct stream_window restart(struct streams *s, struct stream *t,
                                    const struct stream_pace *pace, int64_t index, uint64_t nr)
{
        t->most = t->window > 2 * FIRST ? t->window / 2 : FIRST;
        t->good = 0;
        t->window = t->most / 2;
        t->next = index;
        note_touch(t, index + t->step * (int64_t)(nr - 1));
        return next_window(s, t, pace, nr);
}

struct stream_window streams_miss(struct streams *s, const struct stream_pace *pace, uint64_t index,
                                  uint64_t nr)
{
        int64_t at = (int64_t)index, step;
        unsigned touches = 0;
        struct stream *t;

        s->misses++;
        for (t = s->stream; t < s->stream + s->nr; t++) {
                if (is_far(t, at) || !t->step)
                        continue;
                if (in_window(t, at))
                        return restart(s, t, pace, at, nr);
                if (is_close(s, t, at)) { /* what lies between was there, or was passed over */
                        if (t->next != at)
                                t->window = (uint32_t)max_u64(t->window / 4, 1);
                        t->first += at - t->next; /* and is none of its touches */
                        t->next = at;
                        note_touch(t, at + t->step * (int64_t)(nr - 1));
                        return next_window(s, t, pace, nr);
                }
        }
        step = find_step(s, at, &touches);
        remember(s, at + (int64_t)nr - 1);
        if (nr > 1 && step != 1)
                step = 0;
        if (!step && begin_records(s))
                step = touches = 1; /* its length, when it has ended, tells whether it was one */
        else
                note_lone(s, step == 1);
        if (!step)
                return alone;
        /* The touch itself is read with the rest of them. */
        t = begin(s, at, step, touches);
        t->window = (uint32_t)nr;
        return next_window(s, t, pace, nr);
}

struct stream_window streams_marker(struct streams *s, const struct stream_pace *pace,
                                    uint64_t index)
{
        for (struct stream *t = s->stream; t < s->stream + s->nr; t++)
                if (t->step && t->marker == (int64_t)index) {
                        note_touch(t, (int64_t)index);
                        return next_window(s, t, pace, 0);
                }
        return alone;
}

/* The last window is being read, the one before is being touched. */
static bool in_last_two(const struct stream *t, int64_t index)
{
        return is_behind(t, index, (uint64_t)t->window + t->before);
}

int64_t streams_step(const struct streams *s, uint64_t index)
{
        const struct stream *found = NULL;

        for (const struct stream *t = s->stream; t < s->stream + s->nr; t++)
                if (!is_far(t, (int64_t)index) && t->windows && in_last_two(t, (int64_t)index) &&
                    (!found || s->clock - t->used < s->clock - found->used))
                        found = t;
        return found ? found->step : 0;
}

void streams_cut(struct streams *s, int64_t step, int64_t stop)
{
        for (struct stream *t = s->stream; t < s->stream + s->nr; t++) {
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

        for (t = s->stream; t < s->stream + s->nr; t++)
                if (t->step == 1 && t->next == (int64_t)index) {
                        t->told = true;
                        return next_window(s, t, pace, nr);
                }
        t = begin(s, (int64_t)index, 1, 1);
        t->told = true;
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

                for (const struct stream *t = s->stream; t < s->stream + s->nr; t++)
                        if (t->windows && t->used < below && (!latest || t->used > latest->used))
                                latest = t;
                if (!latest)
                        break;
                below = latest->used;
                n = describe_one(latest, text + used, size - used, used ? "; " : "");
                used += n;
        }
}
