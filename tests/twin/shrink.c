/* SPDX-License-Identifier: Apache-2.0
 *
 * shrink.c - which operations of a sequence matter for a difference: the others are left out, as
 * long as there still is one.
 */
#include <stdio.h>
#include <string.h>

#include "twin.h"

#define MAX_TRIALS 400u /* of leaving operations out */

/* Leaves out what is not needed for a difference. */
static void cut_down(struct op *ops, uint64_t seed, unsigned last)
{
        unsigned trials = 0;

        for (unsigned i = last + 1; i < OPS; i++)
                ops[i].left_out = true;
        for (unsigned chunk = OPS / 2; chunk; chunk /= 2)
                for (unsigned at = 0; at < last && trials < MAX_TRIALS; at += chunk) {
                        struct op was[OPS];

                        memcpy(was, ops, sizeof(was));
                        for (unsigned i = at; i < at + chunk && i < last; i++)
                                ops[i].left_out = true;
                        if (!memcmp(was, ops, sizeof(was)))
                                continue;
                        trials++;
                        if (run_sequence(ops, seed) == OPS)
                                memcpy(ops, was, sizeof(was));
                }
}

void tell(struct op *ops, uint64_t seed, unsigned last)
{
        char first[sizeof(alone.told)];

        memcpy(first, alone.told, sizeof(first));
        cut_down(ops, seed, last);
        expect(false, "seed %llu: %s", (unsigned long long)seed, first);
        fprintf(stderr, "operations, files of %llu and %llu bytes:\n",
                (unsigned long long)alone.size[0], (unsigned long long)alone.size[1]);
        for (unsigned i = 0; i < OPS; i++)
                if (!ops[i].left_out)
                        fprintf(stderr, "  %3u %s\n", i, op_text(&ops[i]));
        if (run_sequence(ops, seed) < OPS)
                fprintf(stderr, "then: %s\n", alone.told);
        else
                fprintf(stderr, "not every time\n");
}
