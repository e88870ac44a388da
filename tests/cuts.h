/* SPDX-License-Identifier: Apache-2.0
 *
 * cuts.h - the power is cut at every write of a workload, and each time the disk is looked at.
 *
 * A file system is a row, struct cut_row: how its files are made, opened and read back, and a workload
 * made of the operations below. cuts_run() runs the workload with --faults powercut=1, =2, ... until
 * it is over before the power goes; each time on new files, with an engine of its own. An operation
 * knows what it has promised (`sync`) and what it has only written, and writes that down in a model:
 *
 *   a sector of 512 bytes says whose it is and in which generation, the number of the operation that
 *   wrote it; or it is zeros, where the file had a hole or has become longer. The model keeps, for
 *   each sector, what it was when it was last synced and all it has been made since. That is what may
 *   be found there after the cut, and nothing else. The same for the size of the file.
 *   `atom` bytes (those of a page, or of a block) that reach the disk in one piece, if writes are not
 *   torn, must moreover be what they were after one of the operations.
 *
 * To add a file system: a row in a test program of its own, as tests/powercut.c has for hostfs.
 *
 *   make()     makes the files, each cut_row.pages pages of cuts_stamp(..., 0), with all that is
 *              needed on the disk; called before each cut
 *   uri()      what fl_file_open is given for file n
 *   work()     operations; numbers come from cuts_random() and are the same at each cut. An operation
 *              after the cut does nothing, so a workload need not look
 *   recover()  the power is back and the engine closed: here an image is checked (expect()), mended
 *              and checked again
 *   find()     the bytes of file n as somebody finds them who does not use the engine that was cut
 *   done()     after the last cut
 *
 * A model of the sizes is kept too: cut_resize() truncates and extends, cut_fsync() promises the size.
 * What else a row wants to know of the cut (how it was made, its number) is in struct cuts.
 */
#ifndef FAULTLINE_TESTS_CUTS_H
#define FAULTLINE_TESTS_CUTS_H

#include "harness.h"

#define CUT_SECTOR 512u
#define CUT_FILES 4

struct cuts;

struct cut_row {
        const char *name;
        unsigned files; /* up to CUT_FILES */
        uint64_t pages; /* of each, at first */
        uint64_t room;  /* pages that a file may come to have; 0: as many as at first */
        uint64_t cache; /* of the engine */
        uint32_t atom;  /* bytes, a power of two from CUT_SECTOR to a page; 8: write-back may come
                         * in the middle of a store, which is then found half done */
        void (*make)(struct cuts *c);
        void (*uri)(const struct cuts *c, unsigned file, char *uri, size_t room);
        void (*work)(struct cuts *c);
        void (*recover)(struct cuts *c); /* may be NULL */
        /* The size of the file; as many of its bytes as there is room for are in buf. < 0: gone. */
        int64_t (*find)(struct cuts *c, unsigned file, char *buf, size_t room);
        void (*done)(struct cuts *c); /* may be NULL */
};

/* How the power is cut. */
struct cut_how {
        const char *name;
        uint64_t seed;      /* 0: in issue order */
        bool torn;          /* writes may be torn */
        const char *faults; /* more rules, or NULL */
};

struct cut_sector {
        uint32_t *gen; /* what it was when it was last synced, and all it has been since */
        unsigned nr, room;
};

struct cut_file {
        struct fl_file *f;
        char *p; /* all of `room` pages, mapped shared */
        uint64_t size;
        uint64_t sizes[64]; /* as sectors' generations */
        unsigned nr_sizes;
        struct cut_sector *sector;
};

struct cuts {
        const struct cut_row *row;
        const struct cut_how *how;
        uint64_t number; /* powercut=number */
        bool off;        /* an operation has met the cut */
        uint32_t gen;    /* of the last operation that wrote */
        uint64_t random; /* the workload's */
        struct fl_engine *e;
        struct cut_file file[CUT_FILES];
        void *private; /* the row's */
        uint64_t made; /* cuts so far */
};

/* --- the workload's */
uint64_t cuts_random(struct cuts *c, uint64_t below);
/* Sectors of the file, stored through the mapping, or by fl_pwrite. */
void cut_store(struct cuts *c, unsigned file, uint64_t sector, uint64_t nr);
void cut_pwrite(struct cuts *c, unsigned file, uint64_t sector, uint64_t nr);
/* Pages of the file; those behind its end are left out. */
void cut_msync(struct cuts *c, unsigned file, uint64_t page, uint64_t nr);
void cut_fsync(struct cuts *c, unsigned file);
/* fl_ftruncate, either way; a multiple of CUT_SECTOR. */
void cut_resize(struct cuts *c, unsigned file, uint64_t bytes);
/* Sectors of the file as long as it is now. */
uint64_t cut_sectors(const struct cuts *c, unsigned file);

/* --- the row's */
/* What a sector of a generation holds; 0 is what make() writes. */
void cuts_stamp(char *to, unsigned file, uint64_t sector, uint32_t gen);
/* `pages` pages of stamps of generation 0 at the start of buf. */
void cuts_fill(const struct cuts *c, unsigned file, char *buf);
/* A failure: says which cut it was, then what. */
void cut_fail(const struct cuts *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- the program's. Returns how many cuts were made. */
uint64_t cuts_run(const struct cut_row *row, const struct cut_how *how, void *private);

#endif
