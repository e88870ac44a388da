/* SPDX-License-Identifier: Apache-2.0
 *
 * ops.c - the table of operations: see twin.h.
 */
#include "twin.h"

#define RANGE .draw = draw_range, .text = text_range
#define ACCESS .draw = draw_access, .text = text_access
#define IO .draw = draw_io, .text = text_io
#define HANDLE .draw = draw_range, .text = text_handle

const struct op_kind op_kinds[] = {
        { "mmap", 14, draw_map, text_map, .run = run_mmap, .note = note_mmap },
        { "munmap", 5, RANGE, .run = run_munmap, .note = note_munmap },
        { "mprotect", 12, draw_protect, text_range, .run = run_mprotect },
        { "madvise", 12, draw_advise, text_range, .run = run_madvise },
        /* MADV_DONTNEED by the kernel, behind the engine's back */
        { "drop", 3, RANGE, .ready = ready_to_drop, .run = run_drop },
        { "msync", 4, RANGE, .run = run_msync },
        { "mincore", 3, RANGE, .run = run_mincore },
        { "load", 40, ACCESS, .run = run_load },
        { "store", 40, ACCESS, .ready = ready_to_store, .run = run_store },
        { "pread", 12, IO, .run = run_pread },
        { "pwrite", 12, IO, .run = run_pwrite, .note = note_pwrite },
        { "ftruncate", 6, IO, ready_to_truncate, run_ftruncate, note_ftruncate },
        { "fsync", 1, HANDLE, .run = run_fsync },
        { "fstat", 2, HANDLE, .run = run_fstat },
        /* the engine only */
        { "set_cache", 2, draw_budget, text_range, .run = run_set_cache },
};
const unsigned nr_op_kinds = sizeof(op_kinds) / sizeof(op_kinds[0]);
