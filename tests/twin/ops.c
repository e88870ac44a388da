/* SPDX-License-Identifier: Apache-2.0
 *
 * ops.c - the table of operations: see twin.h.
 */
#include "twin.h"

#define RANGE .draw = draw_range, .text = text_range
#define ACCESS .draw = draw_access, .text = text_access
#define IO .draw = draw_io, .text = text_io
#define HANDLE .draw = draw_range, .text = text_handle

#define IO_AT .draw = draw_io_at, .text = text_io_at
#define SHARED_IO .draw = draw_shared_io, .text = text_io

const struct op_kind op_kinds[] = {
        { "mmap", { 16, 0 }, draw_map, text_map, ready_to_map, run_mmap, note_mmap },
        { "extend", { 8, 0 }, RANGE, ready_to_extend, run_extend, note_extend },
        { "split", { 6, 0 }, draw_split, text_walk, .ready = ready_to_split, .run = run_split },
        { "munmap", { 5, 0 }, RANGE, .run = run_munmap, .note = note_munmap },
        { "mprotect", { 12, 10 }, draw_protect, text_range, NULL, run_mprotect, note_mprotect },
        { "mremap", { 14, 0 }, draw_remap, text_remap, ready_to_remap, run_mremap, note_mremap },
        { "rejoin", { 6, 0 }, draw_remap, text_remap, ready_to_rejoin, run_rejoin, note_rejoin },
        { "mlock", { 4, 0 }, draw_lock, text_range, ready_to_lock, run_mlock, note_mlock },
        { "munlock", { 4, 0 }, RANGE, NULL, run_munlock, note_munlock },
        { "madvise",
          { 16, 0 },
          draw_any_advice,
          text_range,
          ready_to_advise,
          run_madvise,
          note_madvise },
        /* MADV_DONTNEED by the kernel, behind the engine's back */
        { "drop", { 3, 3 }, RANGE, .ready = ready_to_drop, .run = run_drop },
        { "msync", { 6, 0 }, draw_sync, text_range, .run = run_msync_and_look },
        { "msync", { 0, 3 }, draw_sync, text_range, .run = run_msync },
        { "mincore", { 3, 3 }, RANGE, .run = run_mincore },
        { "walk", { 24, 0 }, draw_walk, text_walk, .ready = ready_to_walk, .run = run_walk },
        { "load", { 40, 0 }, ACCESS, .run = run_load },
        { "store", { 40, 0 }, ACCESS, .ready = ready_to_store, .run = run_store },
        /* A child looks at everything, stores, and looks again. */
        { "fork", { 2, 0 }, ACCESS, .ready = ready_to_fork, .run = run_fork },
        { "pread", { 12, 0 }, IO, .run = run_pread },
        { "pwrite", { 12, 0 }, IO, .run = run_pwrite, .note = note_pwrite },
        { "pread into a view", { 4, 0 }, IO_AT, ready_to_read_into, run_pread_into },
        { "pwrite from a view",
          { 4, 0 },
          IO_AT,
          ready_to_write_from,
          run_pwrite_from,
          note_pwrite },
        { "ftruncate", { 6, 0 }, draw_length, text_io, NULL, run_ftruncate, note_ftruncate },
        { "fsync", { 1, 1 }, HANDLE, .run = run_fsync },
        { "fstat", { 2, 0 }, HANDLE, .run = run_fstat },
        { "reopen", { 3, 0 }, HANDLE, .run = run_reopen, .note = note_reopen },
        { "open again", { 0, 3 }, HANDLE, .run = run_open_again },
        /* the engine only */
        { "stats", { 1, 1 }, HANDLE, .run = run_stats },
        { "set_cache", { 2, 0 }, draw_budget, text_range, .run = run_set_cache },
        { "press", { 5, 3 }, draw_press, text_range, .run = run_press },
        { "mapping_set",
          { 5, 2 },
          draw_rules,
          text_range,
          ready_to_rule,
          run_mapping_set,
          note_rules },
        { "mapping_info", { 4, 2 }, ACCESS, .run = run_mapping_info },
        { "error", { 2, 2 }, RANGE, .run = run_error },
        { "error_clear", { 2, 2 }, RANGE, .run = run_error_clear },
        { "evict", { 4, 4 }, RANGE, .run = run_evict },
        { "memcntl", { 5, 5 }, draw_memcntl, text_range, .run = run_memcntl },
        { "touch", { 5, 0 }, draw_touch, text_range, .ready = ready_to_touch, .run = run_touch },

        /* With several threads: what is stored are stamps. */
        { "mmap", { 0, 14 }, draw_shared_map, text_map, NULL, run_mmap, note_stamped_mmap },
        { "munmap", { 0, 4 }, RANGE, NULL, run_munmap, note_stamped_munmap },
        { "madvise", { 0, 8 }, draw_advise, text_range, NULL, run_madvise, note_stamped_madvise },
        { "mremap",
          { 0, 8 },
          draw_shared_remap,
          text_remap,
          ready_to_remap_shared,
          run_as_whole,
          note_shared_remap },
        { "load", { 0, 60 }, ACCESS, .run = run_stamped_load },
        { "store", { 0, 80 }, ACCESS, ready_to_stamp, run_stamped_store },
        { "pread", { 0, 12 }, SHARED_IO, .run = run_stamped_pread },
        { "pwrite", { 0, 16 }, SHARED_IO, ready_to_write, run_stamped_pwrite },
        { "fstat", { 0, 2 }, HANDLE, .run = run_stamped_fstat },
        { "sync and look", { 0, 6 }, ACCESS, ready_to_sync, run_sync_and_look },
};
const unsigned nr_op_kinds = sizeof(op_kinds) / sizeof(op_kinds[0]);
