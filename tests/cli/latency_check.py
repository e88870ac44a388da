#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# latency_check.py STATS FOLDER - do the percentiles of reads that --stats printed agree within 2 percent
# with what btt wrote, one line a request (btt -q, -l), to FOLDER/q2c* and FOLDER/d2c*? Exit status 1: no.
import glob
import sys

TOLERANCE = 0.02
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def quantiles(path, of):
    """p50, p99 and the longest, in seconds: the row `DEVICE read OF 1.234 ms ...`."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file]
    words = [row[-6:] for row in rows if row[-8:-6] == ["read", of]]
    assert len(words) == 1, f"{of}: {rows}"
    return [float(n) * UNITS[unit] for n, unit in zip(words[0][::2], words[0][1::2])]


def latencies(pattern):
    """The second column of the one file that has rows of requests, in order."""
    rows = []
    for path in glob.glob(pattern):
        with open(path, encoding="utf-8") as file:
            rows += [float(line.split()[1]) for line in file if len(line.split()) == 2]
    assert len(rows) > 200, f"{pattern}: {len(rows)} requests"
    return sorted(rows)


def check(name, ours, theirs):
    for share, got in zip((0.5, 0.99, 1.0), ours):
        # Which of the requests it is, one counts so and another so: any of half a percent around.
        low = theirs[max(0, int((share - 0.005) * len(theirs)) - 1)]
        high = theirs[min(len(theirs) - 1, int((share + 0.005) * len(theirs)) + 1)]
        assert low * (1 - TOLERANCE) <= got <= high * (1 + TOLERANCE), (
            f"{name}: {share:.0%} took up to {got} s, btt has {low} to {high}")


try:
    check("Q2C", quantiles(sys.argv[1], "all"), latencies(sys.argv[2] + "/q2c*"))
    check("D2C", quantiles(sys.argv[1], "driver"), latencies(sys.argv[2] + "/d2c*"))
except AssertionError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
