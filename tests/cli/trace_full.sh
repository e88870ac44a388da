#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# trace_full.sh - a disk that fills up under a trace: tracing stops with one line, the command goes on
# to its end, and what was written is a trace that says what it lacks.

. "${0%/*}/lib.sh"
need_engine
make_random data $((8 * 1024 * 1024))
sum=$(sha256sum <data)

mkdir small
mount -t tmpfs -o size=64k none small 2>/dev/null || skip "no file system can be mounted"
trap 'umount "$work/small"; rm -rf "$work"' EXIT
"$FAULTLINE" cat data --readahead 16K --cache 1M --trace small/trace >copy 2>err
status=$?
cp small/trace trace
[ "$status" -eq 1 ] || fail "exit status $status: $(cat err)"
[ "$(grep -c 'writing the trace: No space' err)" -eq 1 ] || fail "not one line: $(cat err)"
[ "$(sha256sum <copy)" = "$sum" ] || fail "the command did not do its work"
"$FAULTLINE" export trace >text 2>err
[ "$(wc -l <text)" -gt 100 ] || fail "$(wc -l <text) events: $(cat err)"
grep -q 'events were lost' err || fail "no loss told: $(cat err)"
