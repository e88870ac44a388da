#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# lock_stats.sh - the table of locks behind --stats of a debug build: every lock has a class, the
# ones that a run cannot do without are there; and a release build prints none.

. "${0%/*}/lib.sh"
need_engine

# table COMMAND...: the lines of the table, without its head, in `table`.
table()
{
        "$FAULTLINE" "$@" --stats >/dev/null 2>stats || fail "$*: $(cat stats)"
        sed -n '/^lock  */,$p' stats | sed 1d >table
}

# has CLASS: a line of it, with a number of times.
has()
{
        grep -q "^$1 .* [1-9][0-9]* " table || fail "no line of $1: $(cat stats)"
}

make_random file $((4 * 1024 * 1024))

if [ -z "${DEBUG_BUILD-1}" ]; then
        table touch file --cache 1M
        [ ! -s table ] || fail "a release build counts locks: $(cat table)"
        exit 0
fi

for driver in uring posix; do
        table touch file --cache 1M --write --threads 2 --driver $driver
        has 'open_lock'
        has 'mm.lock  *read'
        has 'page LOCK'
        has 'i_mmap_lock  *read'
        has 'evict_lock'
        has 'radix.lock'
        has 'waitq.lock'
        has 'request_queue.lock'
        ! grep 'without a class' table || fail "$driver: a lock has no class"
        [ "$driver" = uring ] || has 'pool_threads.lock'
done
table touch ram:4M --cache 1M --write --faults delay=1us
has 'memfs.lock'
has 'ram.lock  *read'
has 'faulty.lock'
! grep 'without a class' table || fail "ram: a lock has no class"

# What was waited for was taken before.
awk '{ n = NF - 9; if ($(n) + 0 < $(n + 1) + 0) exit 1 }' table || fail "waits: $(cat table)"

# The counters as JSON are one object, and nothing else.
"$FAULTLINE" cat file --stats --json >/dev/null 2>stats || fail "cat --json"
[ "$(wc -l <stats)" -eq 1 ] || fail "--json: not one line: $(cat stats)"
