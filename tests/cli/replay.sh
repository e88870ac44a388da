#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# replay.sh - a replayed list reads what an engine reads that touches the same pages; a trace of it
# likewise; the curve falls; and what cannot be replayed is told in one line.

. "${0%/*}/lib.sh"

# integer FILE KEY: of the object itself, which comes before its curve.
integer()
{
        sed "s/\"curve\".*//; s/.*\"$2\": *\([0-9]*\).*/\1/" "$1"
}

# --- by hand: Belady's string needs a cache smaller than any engine has, so three times 64 pages.
i=0
while [ $i -lt 64 ]; do
        echo $i
        i=$((i + 1))
done >ones
for p in 1 2 3 4 1 2 5 1 2 3 4 5; do
        awk -v p=$p '{ print p * 1000 + $1 }' ones
done >belady
"$FAULTLINE" replay belady --policy opt --cache 768K --json >out || fail "opt"
[ "$(integer out misses)" -eq $((7 * 64)) ] || fail "opt with three frames: $(cat out)"
"$FAULTLINE" replay belady --policy lru --cache 1M --json >out || fail "lru"
[ "$(integer out misses)" -eq $((8 * 64)) ] || fail "lru with four frames: $(cat out)"
[ "$(integer out pages)" -eq $((5 * 64)) ] || fail "pages: $(cat out)"
[ "$(integer out read_bytes)" -eq $((8 * 64 * 4096)) ] || fail "read: $(cat out)"
"$FAULTLINE" replay belady --policy lru --cache 1M --svg curve.svg >out || fail "text"
grep -q '^hits .* 512 misses' out || fail "text: $(cat out)"
grep -q '^ *256 KiB *100.00%' out || fail "the smallest cache: $(cat out)"
grep -q '^ *2 MiB *41.67%' out || fail "the largest cache: $(cat out)"
grep -q '<polyline .* points=' curve.svg || fail "curve.svg: $(cat curve.svg)"

# --- bad input
: >empty
echo 12x >garbage
expect_error 1 'No such file' "$FAULTLINE" replay nothing
expect_error 1 'no page numbers' "$FAULTLINE" replay empty
expect_error 1 'line 1: not a page number' "$FAULTLINE" replay garbage
expect_error 2 'no list' "$FAULTLINE" replay
expect_error 2 'must be one of adaptive|linux|linux-5.13|solaris|solaris-book|lru|opt' "$FAULTLINE" replay ones --policy best
expect_error 2 'must be one of adaptive|linux|linux-5.13|solaris|solaris-book$\|must be one of adaptive|linux|linux-5.13|solaris|solaris-book ' \
        "$FAULTLINE" cat ones --policy lru
expect_error 2 'at least' "$FAULTLINE" replay ones --cache 4K
printf FLTRACE1 >cut
expect_error 1 'cut' "$FAULTLINE" replay cut

# --- beside an engine
need_engine
make_random file $((16 * 1024 * 1024))
awk 'BEGIN { srand(5); at = 100; print 4095
        for (i = 0; i < 400; i++) {
                at = rand() < 0.1 ? int(rand() * 4096) : (at + int(rand() * 4)) % 4096
                print at
        } }' >list
# A touch that finds its page still being read leaves mmap_miss as it is (L18), and without I/O no page is
# ever still being read: on a busy machine the engine may differ, so it has several tries.
agree()
{
        rm -f trace
        "$FAULTLINE" touch file --pattern list=list --trace trace $common >touched || fail "touch"
        "$FAULTLINE" replay list $common >listed || fail "replay list"
        "$FAULTLINE" replay trace $common >traced || fail "replay trace"
        read=$(json_value touched read_bytes)
        [ "$(integer listed read_bytes)" -eq "$read" ] && [ "$(integer traced read_bytes)" -eq "$read" ]
}
for policy in linux linux-5.13; do
        common="--policy $policy --cache 64M --readahead 128K --json"
        tries=0
        until agree; do
                tries=$((tries + 1))
                [ $tries -lt 5 ] || fail "$policy: the engine read $read: $(cat listed traced)"
        done
        # The last fault may be counted late.
        major=$(json_value touched faults_major)
        [ $(($(integer listed misses) - major)) -le 1 ] || fail "$policy: $(cat touched listed)"
done
