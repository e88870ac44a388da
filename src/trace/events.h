/* SPDX-License-Identifier: Apache-2.0
 *
 * events.h - every event, once: X(NAME, layer, "text", "a", "b", "c", "d")
 *
 * The names of the arguments are what `explain` and the exports print; "" = unused. Append only:
 * the number of an event is part of the trace format (docs/trace-format.md). NAME is the name of
 * the event's probe, too (trace/probe.h).
 */
#ifndef FL_TRACE_EVENTS_H
#define FL_TRACE_EVENTS_H

#define TRACE_EVENTS(X)                                                                            \
        X(NONE, "", "", "", "", "", "")                                                            \
        X(FAULT_BEGIN, "mmu", "do_page_fault", "address", "write", "thread", "kind")               \
        X(FAULT_END, "mmu", "fault done", "result", "major", "ns", "retries")                      \
        X(FIND_VMA, "vm", "find_vma", "start", "end", "prot", "flags")                             \
        X(ACCESS, "vm", "access check", "ok", "write", "prot", "")                                 \
        X(PTE, "vm", "pte", "state", "index", "", "")                                              \
        X(DO_FAULT, "vm", "do_fault", "kind", "index", "", "")                                     \
        X(MAP_PAGES, "vm", "filemap_map_pages", "start", "end", "mapped", "")                      \
        X(COW, "vm", "do_wp_page", "address", "how", "", "")                                       \
        X(SET_PTE, "vm", "set_pte", "address", "pages", "frame", "writable")                       \
        X(RETRY, "vm", "VM_FAULT_RETRY", "why", "index", "", "")                                   \
        X(SIGNAL, "vm", "signal", "signo", "code", "address", "")                                  \
        X(FILEMAP_FAULT, "cache", "filemap_fault", "index", "", "", "")                            \
        X(FIND_GET_PAGE, "cache", "find_get_page", "index", "hit", "state", "marker")              \
        X(MAJOR, "cache", "VM_FAULT_MAJOR", "index", "", "", "")                                   \
        X(SYNC_RA, "cache", "do_sync_mmap_readahead", "index", "mmap_miss", "", "")                \
        X(ASYNC_RA, "cache", "do_async_mmap_readahead", "index", "marker", "mmap_miss", "")        \
        X(PAGE_CACHE_RA, "cache", "do_page_cache_ra", "start", "size", "async", "why")             \
        X(RA_UNBOUNDED, "cache", "page_cache_ra_unbounded", "start", "allocated", "skipped", "")   \
        X(READ_PAGES, "cache", "read_pages", "start", "pages", "", "")                             \
        X(PAGE_UPTODATE, "cache", "page_end_read", "start", "pages", "error", "")                  \
        X(PAGE_MKWRITE, "cache", "page_mkwrite", "index", "", "", "")                              \
        X(DIRTY_THROTTLE, "cache", "balance_dirty_pages", "dirty", "limit", "", "")                \
        X(WRITEBACK, "cache", "writeback", "start", "pages", "why", "")                            \
        X(END_WRITEBACK, "cache", "end_page_writeback", "start", "pages", "error", "redirtied")    \
        X(RECLAIM, "cache", "shrink_list", "scanned", "zapped", "evicted", "")                     \
        X(BUDGET_WAIT, "cache", "wait for budget", "pages", "charged", "limit", "")                \
        X(READ_ITER, "cache", "filemap_read", "index", "length", "", "")                           \
        X(WRITE_ITER, "cache", "generic_perform_write", "index", "length", "", "")                 \
        X(FS_READAHEAD, "fs", "->readahead", "start", "pages", "fs", "")                           \
        X(FS_WRITEPAGES, "fs", "->writepages", "start", "pages", "fs", "")                         \
        X(FS_FSYNC, "fs", "->fsync", "fs", "", "", "")                                             \
        X(BIO, "block", "submit_bio", "sector", "bytes", "opf", "")                                \
        X(PLUG, "block", "blk_finish_plug", "requests", "bios", "", "")                            \
        X(MERGE, "block", "bio merge", "sector", "bytes", "kind", "")                              \
        X(REQUEST, "block", "request dispatch", "sector", "bytes", "opf", "bios")                  \
        X(DRIVER, "driver", "driver submit", "offset", "bytes", "op", "driver")                    \
        X(COMPLETE, "block", "request complete", "sector", "bytes", "result", "ns")                \
        X(WAKE, "vm", "wake", "address", "thread", "", "")                                         \
        X(ERROR, "", "error", "errno", "offset", "length", "")                                     \
        X(GETRQ, "block", "get request", "sector", "bytes", "opf", "")                             \
        X(INSERT, "block", "elevator insert", "sector", "bytes", "opf", "prio")                    \
        X(FS_BLOCK, "fs", "decompress", "sector", "stored", "bytes", "fragment")                   \
        X(AS_FAULT, "vm", "as_fault (S6)", "address", "start", "end", "")                          \
        X(SEGVN_FAULT, "vm", "segvn_fault (S7)", "address", "write", "advice", "flags")            \
        X(FREE_BEHIND, "vm", "free-behind (S8)", "off", "len", "", "")                             \
        X(HAT_PROBE, "vm", "hat_probe (S9)", "off", "mapped", "plsz", "")                          \
        X(VOP_GETPAGE, "vm", "VOP_GETPAGE (S9, S14)", "off", "len", "plsz", "rw")                  \
        X(GETAPAGE, "cache", "getapage (S15, S16)", "off", "hit", "nextr", "nextrio")              \
        X(PVN_READ_KLUSTER, "cache", "pvn_read_kluster (S16, S18)", "off", "len", "why", "")       \
        X(GETPAGE_RA, "cache", "getpage_ra, read-ahead (S15, S17)", "off", "len", "why", "")       \
        X(STREAM, "cache", "stream", "step", "windows", "most", "")                                \
        X(NAME, "", "name", "kind", "length", "", "")                                              \
        X(COUNTERS, "", "counters", "cache", "dirty", "queue", "budget")                           \
        X(LOST, "", "events lost", "events", "", "", "")                                           \
        X(PLUGGED, "block", "blk_start_plug", "sector", "bytes", "opf", "")                        \
        X(FS_MAP, "fs", "get_block", "offset", "bytes", "sector", "device")                        \
        X(EVICT, "cache", "evict", "start", "pages", "why", "")                                    \
        X(FLUSH, "block", "flush done", "requests", "result", "ns", "")                            \
        X(RESUME, "vm", "fault goes on", "why", "index", "", "")                                   \
        X(READ_BEHIND, "cache", "free-behind (S22)", "off", "len", "", "")

enum trace_event {
#define X(name, layer, text, a, b, c, d) TRACE_##name,
        TRACE_EVENTS(X)
#undef X
                TRACE_NR_EVENTS
};

#endif
