/* SPDX-License-Identifier: Apache-2.0
 *
 * event_text.c - what the numbers in a trace mean.
 *
 * An argument is found by its name, and by its event where one name has several meanings; what is
 * not listed is printed as a decimal number. A value that trace_name() made is printed as that
 * name wherever names are allowed.
 */
#include "event_text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "policy/policy.h"
#include "trace/trace.h"

#define SIZE EVENT_TEXT_MAX

static const char *const layers[] = { "mmu", "vm", "cache", "fs", "block", "driver" };

unsigned event_depth(const char *layer)
{
        for (unsigned i = 0; i < ARRAY_SIZE(layers); i++)
                if (!strcmp(layer, layers[i]))
                        return i;
        return 1;
}

/* ---- formats ---- */

static void decimal(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "%" PRIu64, value);
}
static void hexadecimal(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "0x%" PRIx64, value);
}
static void yes_no(char *buf, uint64_t value)
{
        strcpy(buf, value ? "yes" : "no");
}

static void hit_or_miss(char *buf, uint64_t value)
{
        strcpy(buf, value ? "hit" : "miss");
}

static void protection(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "%c%c%c", value & PROT_READ ? 'r' : '-', value & PROT_WRITE ? 'w' : '-',
                 value & PROT_EXEC ? 'x' : '-');
}

static void size(char *buf, uint64_t value)
{
        if (value && value % (1 << 20) == 0)
                snprintf(buf, SIZE, "%" PRIu64 "M", value >> 20);
        else if (value && value % (1 << 10) == 0)
                snprintf(buf, SIZE, "%" PRIu64 "K", value >> 10);
        else
                decimal(buf, value);
}

static void microseconds(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "%.1f us", (double)value / 1e3);
}

/* An errno, with either sign; 0 is "none". */
static void error_name(char *buf, uint64_t value)
{
        int64_t error = (int64_t)value < 0 ? -(int64_t)value : (int64_t)value;
        const char *name = error > 0 && error < 4096 ? strerrorname_np((int)error) : NULL;

        if (!error)
                strcpy(buf, "none");
        else if (name)
                snprintf(buf, SIZE, "%s", name);
        else
                snprintf(buf, SIZE, "%" PRId64, (int64_t)value);
}

/* Bytes moved, or a negative errno. */
static void bytes_or_error(char *buf, uint64_t value)
{
        if ((int64_t)value < 0)
                error_name(buf, value);
        else
                size(buf, value);
}

/* A name of up to eight characters in a number: all printable, zeros only behind them. */
static bool is_name(uint64_t value)
{
        char name[9];
        size_t length;

        trace_name_of(value, name);
        length = strlen(name);
        for (size_t i = 0; i < length; i++)
                if (name[i] < ' ' || name[i] > '~')
                        return false;
        return length > 1 && trace_name(name) == value;
}

static void name_or_number(char *buf, uint64_t value)
{
        char name[9];

        if (is_name(value)) {
                trace_name_of(value, name);
                snprintf(buf, SIZE, "%s", name);
        } else {
                decimal(buf, value);
        }
}

/* Small enumerations of the layers; tests/cli/test_event_text.c holds these words against them. */
static const char *const access_kinds[] = { "missing", "minor", "write-protect" };
static const char *const copy_ways[] = { "shared: dirty it", "private: kernel copies",
                                         "private: copy at once" };
static const char *const fault_kinds[] = { "read", "cow", "shared", "anonymous", "swap" };
static const char *const fault_results[] = { "done", "retry", "SIGSEGV", "SIGBUS" };
static const char *const page_states[] = {
        "absent", "reading", "clean", "dirty", "writeback", "evicting", "error",
};
static const char *const pte_states[] = { "none", "cache",    "copy",   "swapped", "poisoned",
                                          "zero", "swapping", "swapin", "blank" };
static const char *const retry_whys[] = { "nothing",
                                          "the page",
                                          "the budget",
                                          "staging memory",
                                          "dirty pages to be written",
                                          "room for private pages",
                                          "a page from swap",
                                          "another try after an error",
                                          "room on the disk" };
static const char *const evict_whys[] = { "reclaim", "asked for", "a private copy takes its place",
                                          "dropped" };
static const char *const writeback_whys[] = { "sync",  "background", "periodic",     "reclaim",
                                              "close", "asked for",  "to be dropped" };

#define ENUMERATION(function, words)                                                               \
        static void function(char *buf, uint64_t value)                                            \
        {                                                                                          \
                if (value < ARRAY_SIZE(words))                                                     \
                        snprintf(buf, SIZE, "%s", words[value]);                                   \
                else                                                                               \
                        name_or_number(buf, value);                                                \
        }
ENUMERATION(access_kind, access_kinds)
ENUMERATION(copy_way, copy_ways)
ENUMERATION(fault_kind, fault_kinds)
ENUMERATION(fault_result, fault_results)
ENUMERATION(page_state, page_states)
ENUMERATION(pte_state, pte_states)
ENUMERATION(retry_why, retry_whys)
ENUMERATION(evict_why, evict_whys)
ENUMERATION(writeback_why, writeback_whys)

static const char *const advices[] = { "MADV_NORMAL", "MADV_RANDOM", "MADV_SEQUENTIAL" };
static const char *const segment_accesses[] = { "S_READ", "S_WRITE", "S_OTHER" };
ENUMERATION(advice, advices)
ENUMERATION(segment_access, segment_accesses)

static void sharing(char *buf, uint64_t value)
{
        strcpy(buf, value ? "shared" : "private");
}

/* The frame of a file's page is its offset in the file's memfd; a private copy has none of ours. */
static void frame(char *buf, uint64_t value)
{
        if (value == UINT64_MAX)
                strcpy(buf, "private");
        else
                snprintf(buf, SIZE, "memfd+0x%" PRIx64, value);
}

static void window_why(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "%s", ra_why_text((enum ra_why)value));
}

/* An operation with its flags, in Linux's numbers (block/block.h, driver/driver.h). */
static void operation(char *buf, uint64_t value)
{
        static const struct {
                uint64_t bit;
                const char *name;
        } flag[] = {
                { 1u << 11, "SYNC" },     { 1u << 12, "META" },   { 1u << 13, "PRIO" },
                { 1u << 14, "NOMERGE" },  { 1u << 15, "IDLE" },   { 1u << 17, "FUA" },
                { 1u << 18, "PREFLUSH" }, { 1u << 19, "RAHEAD" }, { 1u << 20, "BACKGROUND" },
        };
        static const char *const op[] = {
                [0] = "READ", [1] = "WRITE", [2] = "FLUSH", [3] = "DISCARD", [9] = "WRITE_ZEROES"
        };
        uint64_t number = value & 0xff;
        size_t n;

        if (number < ARRAY_SIZE(op) && op[number])
                n = (size_t)snprintf(buf, SIZE, "%s", op[number]);
        else
                n = (size_t)snprintf(buf, SIZE, "op %" PRIu64, number);
        for (size_t i = 0; i < ARRAY_SIZE(flag); i++)
                if (value & flag[i].bit && n < SIZE)
                        n += (size_t)snprintf(buf + n, SIZE - n, "|%s", flag[i].name);
}

static void priority(char *buf, uint64_t value)
{
        static const char *const name[] = { "real-time", "best effort", "idle" };

        if (value < ARRAY_SIZE(name))
                strcpy(buf, name[value]);
        else
                decimal(buf, value);
}

static void signal_name(char *buf, uint64_t value)
{
        const char *name = value < 65 ? sigabbrev_np((int)value) : NULL;

        if (name)
                snprintf(buf, SIZE, "SIG%s", name);
        else
                decimal(buf, value);
}

static void distance(char *buf, uint64_t value)
{
        snprintf(buf, SIZE, "%" PRId64, (int64_t)value);
}

static void signal_code(char *buf, uint64_t value)
{
        if (value == BUS_ADRERR)
                strcpy(buf, "BUS_ADRERR");
        else
                decimal(buf, value);
}

/* Argument names that mean the same in every event; the first row that fits decides. */
static const struct {
        const char *event; /* NULL: any */
        const char *argument;
        void (*format)(char *buf, uint64_t value);
} formats[] = {
        { "COMPLETE", "result", bytes_or_error },
        { "COUNTERS", "budget", size },
        { "COUNTERS", "cache", size },
        { "COUNTERS", "dirty", size },
        { "COW", "how", copy_way },
        { "DO_FAULT", "kind", fault_kind },
        { "EVICT", "why", evict_why },
        { "FAULT_BEGIN", "kind", access_kind },
        { "FAULT_END", "result", fault_result },
        { "FIND_GET_PAGE", "hit", hit_or_miss },
        { "FIND_GET_PAGE", "state", page_state },
        { "FIND_VMA", "end", hexadecimal },
        { "FIND_VMA", "flags", sharing },
        { "FIND_VMA", "start", hexadecimal },
        { "FLUSH", "result", error_name },
        { "GETAPAGE", "hit", hit_or_miss },
        { "GETPAGE_RA", "why", window_why },
        { "PAGE_CACHE_RA", "why", window_why },
        { "PTE", "state", pte_state },
        { "PVN_READ_KLUSTER", "why", window_why },
        { "RESUME", "why", retry_why },
        { "RETRY", "why", retry_why },
        { "AS_FAULT", "start", hexadecimal },
        { "AS_FAULT", "end", hexadecimal },
        { "SEGVN_FAULT", "flags", sharing },
        { "SIGNAL", "code", signal_code },
        { "STREAM", "step", distance },
        { "WRITEBACK", "why", writeback_why },
        { NULL, "address", hexadecimal },
        { NULL, "advice", advice },
        { NULL, "bytes", size },
        { NULL, "driver", name_or_number },
        { NULL, "errno", error_name },
        { NULL, "error", error_name },
        { NULL, "file", name_or_number },
        { NULL, "flags", hexadecimal },
        { NULL, "frame", frame },
        { NULL, "fs", name_or_number },
        { NULL, "how", name_or_number },
        { NULL, "kind", name_or_number },
        { NULL, "major", yes_no },
        { NULL, "marker", yes_no },
        { NULL, "ns", microseconds },
        { NULL, "len", size },
        { "HAT_PROBE", "mapped", yes_no },
        { NULL, "nextr", size },
        { NULL, "nextrio", size },
        { NULL, "off", size },
        { NULL, "ok", yes_no },
        { NULL, "plsz", size },
        { NULL, "op", operation },
        { NULL, "opf", operation },
        { NULL, "prio", priority },
        { NULL, "prot", protection },
        { NULL, "redirtied", yes_no },
        { NULL, "signo", signal_name },
        { NULL, "rw", segment_access },
        { NULL, "state", name_or_number },
        { NULL, "why", name_or_number },
        { NULL, "writable", yes_no },
        { NULL, "write", yes_no },
};

/* Do the words say what it is without the argument's name? */
static bool is_bare(void (*format)(char *, uint64_t))
{
        return format == hit_or_miss || format == pte_state || format == sharing ||
               format == copy_way || format == fault_kind;
}

static bool format_value(char *buf, const char *event, const char *argument, uint64_t value)
{
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
                if (strcmp(formats[i].argument, argument) ||
                    (formats[i].event && strcmp(formats[i].event, event)))
                        continue;
                formats[i].format(buf, value);
                return is_bare(formats[i].format);
        }
        decimal(buf, value);
        return false;
}

const char *event_text(char *buf, const char *event, const char *argument, uint64_t value)
{
        format_value(buf, event, argument, value);
        return buf;
}

const char *event_argument(char *buf, const char *event, const char *argument, uint64_t value)
{
        char text[SIZE];

        if (format_value(text, event, argument, value))
                snprintf(buf, SIZE, "%s", text);
        else
                snprintf(buf, SIZE, "%.20s %.70s", argument, text);
        return buf;
}
