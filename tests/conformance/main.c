/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - the table, row by row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

static bool has_module(const char *name)
{
        const char *folder = getenv("FAULTLINE_MODULES");
        char path[600];

        if (!name)
                return true;
        snprintf(path, sizeof(path), "%s/faultline-%s.so", folder ? folder : ".", name);
        return !access(path, R_OK);
}

static void test_row(struct row *r)
{
        const char *why = NULL;
        struct world w;

        printf("%-18s", r->name);
        if (!has_module(r->module) || !has_module(r->module2))
                why = "its module has not been built";
        if (!why)
                why = r->make(r);
        if (why) {
                printf(" skipped: %s\n", why);
                if (r->unmake && r->pid)
                        r->unmake(r);
                return;
        }
        w = begin(r, NULL);
        for (unsigned c = 0; c < nr_columns; c++) {
                enum verdict v;

                test_at(columns[c].name);
                *w.why = 0;
                v = columns[c].test(&w);
                printf(" %*s", (int)strlen(columns[c].name),
                       v == GOOD  ? "ok"
                       : v == BAD ? "BAD"
                                  : "-");
                expect(v != BAD, "%s: %s: %s", r->name, columns[c].name, w.why);
        }
        putchar('\n');
        end(&w);
        if (r->unmake)
                r->unmake(r);
}

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 150);
        atexit(end_servers);
        printf("%-18s", "");
        for (unsigned c = 0; c < nr_columns; c++)
                printf(" %s", columns[c].name);
        putchar('\n');
        for (unsigned i = 0; i < nr_rows; i++)
                test_row(&rows[i]);
        return test_end();
}
