#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# adaptive.sh - what the policy adaptive has found out is told: by touch --mincore, by explain.

. "${0%/*}/lib.sh"
need_engine
make_random file $((16 * 1024 * 1024))
export FAULTLINE_POLICY=adaptive

# --- equal distances: what lies between is not there
"$FAULTLINE" touch file --pattern stride=64K --count 100 --mincore >out 2>err || fail "stride"
grep -q '^streams  every 16, next [0-9]*, window [0-9]*, windows so far [0-9]' err || fail "$(cat err)"
grep -q '^16-17$' out || fail "page 16: $(cat out)"
[ "$(wc -l <out)" -ge 100 ] || fail "not page by page: $(cat out)"

# --- forward; at random there is no stream
"$FAULTLINE" touch file --count 1000 --mincore >out 2>err || fail "seq"
grep -q '^streams  forward, next ' err || fail "$(cat err)"
"$FAULTLINE" touch file --pattern back --count 1000 --mincore >out 2>err || fail "back"
grep -q '^streams  backward, next ' err || fail "$(cat err)"
"$FAULTLINE" touch file --pattern seq --count 100 --policy linux --mincore >out 2>err || fail "linux"
grep -q '^streams' err && fail "linux looks for none: $(cat err)"

# --- windows that nobody has touched yet must not push out what is in use: a thirty-second of the cache
"$FAULTLINE" touch file --pattern seq --cache 8M --readahead 8M >out 2>err || fail "a small cache"
window=$(sed -n 's/^streams  forward, .* window \([0-9]*\),.*/\1/p' out err)
[ "$window" -gt 0 ] && [ "$window" -le 64 ] || fail "a window of \"$window\" pages: $(cat out err)"

# --- each decision, with the detector behind it
"$FAULTLINE" explain file --touch 40K --touch 36K --touch 32K >out || fail "explain"
expect_sequence out \
        '^touch 1: load at offset 40960' \
        ' cache .*do_page_cache_ra .*start 10, size 1, .*no stream comes here' \
        '^touch 2: load at offset 36864' \
        ' cache .*do_page_cache_ra .*start 6, size 4, .*a stream, backward' \
        ' cache .*stream .*step -1, windows 1, most [0-9]' \
        '^touch 3: load at offset 32768' \
        ' cache .*do_page_cache_ra .*start 0, size 6, .*a stream, backward' \
        ' cache .*stream .*step -1, windows 2'

# --- what fits is not asked whether it is in use: a page has one fault, and none once it is there
"$FAULTLINE" touch file --pattern random --count 1000000 --cache 18M --json >out || fail "hot set"
faults=$(($(sed 's/.*"faults_major": *\([0-9]*\).*/\1/' out) + $(sed 's/.*"faults_minor": *\([0-9]*\).*/\1/' out)))
[ "$faults" -gt 1000 ] && [ "$faults" -le 4096 ] || fail "$faults faults of 4096 pages: $(cat out)"
grep -q '"evicted_pages": 0[,}]' out || fail "evicted: $(cat out)"
