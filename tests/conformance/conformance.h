/* SPDX-License-Identifier: Apache-2.0
 *
 * conformance.h - what a program may expect of a file, whatever it lies on: a row for each file
 * system, a column for each property. (tests/unit/test_fs_conformance.c is the same one layer down: what
 * a file system owes the cache.)
 *
 *   grounds.c  the rows: how their files are made, and served
 *   columns.c  the properties
 *   main.c     the table
 *
 * A new file system is a row: a function that makes a file of PAGES stamped pages and a part of one,
 * with a hole in it where there are holes, and says how to name it. What cannot be tried here is
 * skipped, and says why.
 */
#ifndef FAULTLINE_TESTS_CONFORMANCE_H
#define FAULTLINE_TESTS_CONFORMANCE_H

#include "../harness.h"

#define PAGE TEST_PAGE
#define PAGES 40ul
#define REST 1234ul /* bytes of the last page */
#define SIZE (PAGES * PAGE + REST)
#define HOLE_FIRST 20ul /* pages that were never written, in those that have holes */
#define HOLE_END 28ul

struct row {
        const char *name;
        const char *module; /* that it needs; and a second one */
        const char *module2;
        /* Makes the file. NULL, or why it cannot be had here. */
        const char *(*make)(struct row *);
        void (*unmake)(struct row *);
        const char *driver;
        bool read_only;
        bool fixed;     /* its size is */
        bool transient; /* each open is another file */
        bool packed;    /* the device does not have the bytes as they are */
        /* of make(): */
        char uri[600];
        const char *device; /* the host's path of what it lies on, to look at; NULL: none */
        int pid;
};

/* What a cell of the table says. */
enum verdict { GOOD, BAD, NOT_SO };

/* One file, open and mapped. */
struct world {
        struct row *r;
        struct fl_engine *e;
        struct fl_file *f;
        char *p; /* SIZE bytes, shared */
        char why[160];
};

/* ---- grounds.c ---- */

extern struct row rows[];
extern const unsigned nr_rows;
/* Was page number `page` never written to? */
bool is_hole(uint64_t page);
/* Ends the server of any row that has one, whatever ends the test. */
void end_servers(void);

/* ---- columns.c ---- */

struct column {
        const char *name;
        enum verdict (*test)(struct world *);
};
extern const struct column columns[];
extern const unsigned nr_columns;
struct world begin(struct row *r, const char *faults);
void end(struct world *w);

#endif
