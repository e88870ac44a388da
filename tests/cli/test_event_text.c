/* SPDX-License-Identifier: Apache-2.0
 *
 * test_event_text.c - the words of explain are those of the layers whose numbers it prints.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "block/block.h"
#include "cache/filemap.h"
#include "cache/page.h"
#include "event_text.h"
#include "mmu/mmu.h"
#include "trace/trace.h"
#include "vm/fault.h"

static void expect(const char *event, const char *argument, uint64_t value, const char *want)
{
        char text[EVENT_TEXT_MAX];

        event_text(text, event, argument, value);
        cr_expect_str_eq(text, want, "%s %s: \"%s\", not \"%s\"", event, argument, text, want);
}

Test(event_text, states)
{
        expect("FIND_GET_PAGE", "state", PAGE_ABSENT, "absent");
        expect("FIND_GET_PAGE", "state", PAGE_READING, "reading");
        expect("FIND_GET_PAGE", "state", PAGE_CLEAN, "clean");
        expect("FIND_GET_PAGE", "state", PAGE_DIRTY, "dirty");
        expect("FIND_GET_PAGE", "state", PAGE_WRITEBACK, "writeback");
        expect("FIND_GET_PAGE", "state", PAGE_EVICTING, "evicting");
        expect("FIND_GET_PAGE", "state", PAGE_ERROR, "error");
        expect("PTE", "state", PTE_NONE, "none");
        expect("PTE", "state", PTE_CACHE, "cache");
        expect("PTE", "state", PTE_COPY, "copy");
        expect("PTE", "state", PTE_SWAPPED, "swapped");
        expect("PTE", "state", PTE_POISONED, "poisoned");
}

Test(event_text, kinds_and_reasons)
{
        expect("FAULT_BEGIN", "kind", MMU_FAULT_MISSING, "missing");
        expect("FAULT_BEGIN", "kind", MMU_FAULT_MINOR, "minor");
        expect("FAULT_BEGIN", "kind", MMU_FAULT_WP, "write-protect");
        expect("FAULT_END", "result", VM_FAULT_DONE, "done");
        expect("FAULT_END", "result", VM_FAULT_SIGSEGV, "SIGSEGV");
        expect("FAULT_END", "result", VM_FAULT_SIGBUS, "SIGBUS");
        expect("RETRY", "why", WAIT_PAGE, "the page");
        expect("RETRY", "why", WAIT_BUDGET, "the budget");
        expect("RETRY", "why", WAIT_STAGING, "staging memory");
        expect("RETRY", "why", WAIT_DIRTY, "dirty pages to be written");
        expect("RETRY", "why", WAIT_ROOM, "room on the disk");
        expect("RETRY", "why", WAIT_RETRY, "another try after an error");
        expect("RESUME", "why", WAIT_STAGING, "staging memory");
        expect("EVICT", "why", EVICT_RECLAIM, "reclaim");
        expect("EVICT", "why", EVICT_ASKED, "asked for");
        expect("EVICT", "why", EVICT_PRIVATE, "a private copy takes its place");
        expect("EVICT", "why", EVICT_DROPPED, "dropped");
        expect("WRITEBACK", "why", WB_SYNC, "sync");
        expect("WRITEBACK", "why", WB_BACKGROUND, "background");
        expect("WRITEBACK", "why", WB_PERIODIC, "periodic");
        expect("WRITEBACK", "why", WB_RECLAIM, "reclaim");
        expect("WRITEBACK", "why", WB_CLOSE, "close");
        expect("PAGE_CACHE_RA", "why", RA_AROUND, ra_why_text(RA_AROUND));
        expect("PAGE_CACHE_RA", "why", 99999, "unknown");
}

Test(event_text, operations)
{
        expect("BIO", "opf", IO_READ | REQ_SYNC, "READ|SYNC");
        expect("BIO", "opf", IO_READ | REQ_RAHEAD, "READ|RAHEAD");
        expect("REQUEST", "opf", IO_WRITE | REQ_SYNC | REQ_FUA, "WRITE|SYNC|FUA");
        expect("REQUEST", "opf", IO_FLUSH | REQ_PREFLUSH, "FLUSH|PREFLUSH");
        expect("REQUEST", "opf", IO_READ | REQ_META | REQ_PRIO, "READ|META|PRIO");
        expect("REQUEST", "opf", IO_READ | REQ_NOMERGE | REQ_IDLE | REQ_BACKGROUND,
               "READ|NOMERGE|IDLE|BACKGROUND");
        expect("DRIVER", "op", IO_WRITE_ZEROES, "WRITE_ZEROES");
        expect("INSERT", "prio", 0, "real-time");
        expect("INSERT", "prio", 2, "idle");
        expect("INSERT", "prio", 3, "3");
        expect("DRIVER", "op", 77, "op 77");
}

Test(event_text, numbers_and_names)
{
        expect("FIND_VMA", "prot", PROT_READ | PROT_WRITE, "rw-");
        expect("FIND_VMA", "start", 0x7f0000001000, "0x7f0000001000");
        expect("FIND_VMA", "flags", 1, "shared");
        expect("COMPLETE", "result", (uint64_t)-5, "EIO");
        expect("COMPLETE", "result", 131072, "128K");
        expect("COMPLETE", "bytes", 1 << 20, "1M");
        expect("COMPLETE", "bytes", 1000, "1000");
        expect("COMPLETE", "ns", 1500, "1.5 us");
        expect("PAGE_UPTODATE", "error", 0, "none");
        expect("PAGE_UPTODATE", "error", 28, "ENOSPC");
        expect("SIGNAL", "signo", SIGBUS, "SIGBUS");
        expect("SET_PTE", "frame", 0x5000, "memfd+0x5000");
        expect("FS_READAHEAD", "fs", trace_name("hostfs"), "hostfs");
        expect("DRIVER", "driver", trace_name("uring"), "uring");
        expect("READ_PAGES", "pages", 32, "32");
        expect("NO_SUCH_EVENT", "nothing", 7, "7");
}

Test(event_text, no_text_is_too_long)
{
        char text[EVENT_TEXT_MAX + 1];

        memset(text, 'x', sizeof(text));
        event_text(text, "BIO", "opf", UINT64_MAX);
        cr_expect(memchr(text, 0, EVENT_TEXT_MAX) != NULL);
        cr_expect_eq(text[EVENT_TEXT_MAX], 'x');
}

Test(event_text, layers_go_down)
{
        cr_expect_eq(event_depth("mmu"), 0);
        cr_expect_lt(event_depth("vm"), event_depth("cache"));
        cr_expect_lt(event_depth("cache"), event_depth("fs"));
        cr_expect_lt(event_depth("fs"), event_depth("block"));
        cr_expect_lt(event_depth("block"), event_depth("driver"));
}
