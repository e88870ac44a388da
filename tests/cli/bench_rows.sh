#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# bench_rows.sh - the benchmarks run, say what they could not compare, and leave nothing behind.
# How fast it is, is no matter of a test.

. "${0%/*}/lib.sh"
need_engine

"$FAULTLINE" bench seq mapped --size 8M --cache 1M --seconds 1 --rounds 1 --dir . --json >out ||
        fail "bench --json"
[ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
for word in '"name": "seq"' '"name": "mapped"' '"floor_permille": 250' '"cache_bytes": 1048576' \
        '"file_bytes": 8388608' '"comparable": '; do
        grep -q "$word" out || fail "no $word in $(cat out)"
done
grep -q '"comparable": false' out && ! grep -q '"problem": "..*"' out &&
        fail "not comparable, and no reason: $(cat out)"
[ "$(ls)" = "$(printf 'faultline-bench-8M.dat\nout\nprobe\nprobe.err')" ] || fail "left behind: $(ls)"
for group in $(find /sys/fs/cgroup -maxdepth 5 -type d -name 'faultline-bench-*' 2>/dev/null); do
        # Another run's is its own business, as long as that runs.
        kill -0 "${group##*-}" 2>/dev/null || fail "left behind: $group"
done

# the file is made once; a table for people
before=$(stat -c %Y.%i faultline-bench-8M.dat)
"$FAULTLINE" bench mapped --size 8M --seconds 1 --rounds 1 --dir . >out || fail "bench"
[ "$before" = "$(stat -c %Y.%i faultline-bench-8M.dat)" ] || fail "the file was made anew"
grep -q '^mapped  *[0-9.]*  0.98 \(met\|missed\) .* GB/s .* malloc$' out || fail "$(cat out)"

# without the right to make a cgroup the kernel's rows are not compared
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
        chmod 755 . && chmod 644 faultline-bench-8M.dat
        if setpriv --reuid 65534 --regid 65534 --clear-groups "$FAULTLINE" bench seq --size 8M \
                --seconds 1 --rounds 1 --dir . --mmu uffd >out 2>err; then
                grep -q '^seq  *not comparable: ..*' out || fail "$(cat out)"
        fi
fi

expect_error 2 'no such benchmark' "$FAULTLINE" bench nonsense
expect_error 1 'missing: ' "$FAULTLINE" bench seq --dir missing --size 8M
exit 0
