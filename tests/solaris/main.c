/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - what `--policy solaris` does with real faults: which pages are in memory after a touch, how
 * many are mapped by it, which are let go of. Worked out by hand from the rules (docs/policies.md); a
 * test has the number of its rule in its name.
 */
#include "ground.h"

int main(int argc, char **argv)
{
        test_begin(argc, argv, 0, 0, 60);
        test_getpage();
        test_reads();
        test_segvn();
        test_mapping();
        test_book();
        return test_end();
}
