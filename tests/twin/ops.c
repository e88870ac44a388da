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
        { "mmap", { 14, 0 }, draw_map, text_map, .run = run_mmap, .note = note_mmap },
        { "munmap", { 5, 0 }, RANGE, .run = run_munmap, .note = note_munmap },
        { "mprotect", { 12, 10 }, draw_protect, text_range, NULL, run_mprotect, note_mprotect },
        { "mremap", { 8, 0 }, draw_remap, text_io, ready_to_remap, run_mremap, note_mremap },
        { "madvise",
          { 16, 0 },
          draw_any_advice,
          text_range,
          .ready = ready_to_advise,
          .run = run_madvise },
        /* MADV_DONTNEED by the kernel, behind the engine's back */
        { "drop", { 3, 3 }, RANGE, .ready = ready_to_drop, .run = run_drop },
        { "msync", { 4, 3 }, RANGE, .run = run_msync },
        { "mincore", { 3, 3 }, RANGE, .run = run_mincore },
        { "load", { 40, 0 }, ACCESS, .run = run_load },
        { "store", { 40, 0 }, ACCESS, .ready = ready_to_store, .run = run_store },
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
        { "reopen", { 3, 0 }, HANDLE, .run = run_reopen },
        { "open again", { 0, 3 }, HANDLE, .run = run_open_again },
        /* the engine only */
        { "stats", { 1, 1 }, HANDLE, .run = run_stats },
        { "set_cache", { 2, 0 }, draw_budget, text_range, .run = run_set_cache },

        /* With several threads: what is stored are stamps. */
        { "mmap", { 0, 14 }, draw_shared_map, text_map, NULL, run_mmap, note_stamped_mmap },
        { "munmap", { 0, 4 }, RANGE, NULL, run_munmap, note_stamped_munmap },
        { "madvise", { 0, 8 }, draw_advise, text_range, NULL, run_madvise, note_stamped_madvise },
        { "load", { 0, 60 }, ACCESS, .run = run_stamped_load },
        { "store", { 0, 80 }, ACCESS, ready_to_stamp, run_stamped_store },
        { "pread", { 0, 12 }, SHARED_IO, .run = run_stamped_pread },
        { "pwrite", { 0, 16 }, SHARED_IO, ready_to_write, run_stamped_pwrite },
        { "fstat", { 0, 2 }, HANDLE, .run = run_stamped_fstat },
        { "sync and look", { 0, 6 }, ACCESS, ready_to_sync, run_sync_and_look },
};
const unsigned nr_op_kinds = sizeof(op_kinds) / sizeof(op_kinds[0]);
