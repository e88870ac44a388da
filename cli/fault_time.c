/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_time.c - where the time of one fault went.
 */
#include "fault_time.h"

#include <string.h>

#include "cli.h"
#include "event_text.h"

#define BAR 40

enum { VM = 1, BLOCK = 4, DRIVER = 5 }; /* of event_depth() */

static const struct {
        const char *name, *text;
} parts[FAULT_PARTS] = {
        { "mmu", "the trap" },
        { "vm", "mappings" },
        { "cache", "page cache" },
        { "fs", "file system" },
        { "block", "block layer" },
        { "driver", "driver and device" },
        { "wait", "waiting for others" },
};

/* Whose the time is that begins with this event. */
static unsigned part_of(struct fault_time *t, const char *name, unsigned depth)
{
        bool complete = strcmp(name, "COMPLETE") == 0;

        if (strcmp(name, "DRIVER") == 0)
                t->at_driver++;
        else if (complete)
                t->at_driver -= t->at_driver > 0;
        if (strcmp(name, "RETRY") == 0)
                t->waits = true;
        else if (depth <= VM)
                t->waits = false;
        if (!t->waits || (depth >= BLOCK && !complete))
                return depth;
        return t->at_driver ? DRIVER : FAULT_PART_WAIT;
}

void fault_time_add(struct fault_time *t, const struct trace_reader *r,
                    const struct trace_record *record)
{
        const char *name = trace_reader_name(r, record->event);

        if (t->over)
                return;
        if (t->any && record->time > t->at)
                t->ns[t->part] += record->time - t->at;
        if (!t->any || record->time > t->at)
                t->at = record->time;
        t->any = true;
        t->part = part_of(t, name, event_depth(trace_reader_layer(r, record->event)));
        t->over = strcmp(name, "FAULT_END") == 0;
}

void fault_time_print(FILE *out, const struct fault_time *t)
{
        static const char full[BAR + 1] = "########################################";
        uint64_t all = 0;
        char text[TEXT_MAX];

        for (unsigned i = 0; i < FAULT_PARTS; i++)
                all += t->ns[i];
        for (unsigned i = 0; i < FAULT_PARTS; i++) {
                double share = all ? (double)t->ns[i] / (double)all : 0;

                if (t->ns[i])
                        fprintf(out, "  %-6s  %-18s %10s %5.1f%%%s%.*s\n", parts[i].name,
                                parts[i].text, text_time(text, t->ns[i]), 100 * share,
                                share * BAR >= 0.5 ? "  " : "", (int)(BAR * share + 0.5), full);
        }
}

json_t *fault_time_json(const struct fault_time *t)
{
        json_t *object = json_object();

        for (unsigned i = 0; object && i < FAULT_PARTS; i++)
                json_object_set_new(object, parts[i].name, json_integer((json_int_t)t->ns[i]));
        return object;
}
