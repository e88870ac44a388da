#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# bench_page.sh - the page of `faultline bench --html` in headless Chromium (report/test/bench.mjs): of a
# real run of rows of each kind, and of one whose figures and names are anybody's.

here=$(realpath "${0%/*}")
: "${ROOT:=$here/../..}"
ROOT=$(realpath "$ROOT")
. "$here/lib.sh"

command -v node >/dev/null || skip "no node"
[ -d "$ROOT/report/node_modules/playwright-core" ] ||
        skip "no playwright-core (npm ci --ignore-scripts in report/)"
need_engine

"$FAULTLINE" bench rand-read-1 seq refault mapped --size 8M --cache 1M --seconds 0.01 --rounds 2 --dir . \
        --json >run.json || fail "bench --json"
"$FAULTLINE" bench --from run.json --html run.html >out || fail "--html"
node "$ROOT/report/test/bench.mjs" "$work/run.html" "$work/run.json" ${BENCH_PICTURE:+"$BENCH_PICTURE"}
status=$?
[ "$status" -eq 0 ] || exit "$status"

# A document that somebody else has made.
sed 's|"title": "[^"]*"|"title": "</title><img src=x onerror=window.hacked=1>"|g
s|"median": [0-9]*|"median": 0|; s|"ratio_permille": [0-9]*|"ratio_permille": 123456789|' run.json >odd.json
"$FAULTLINE" bench --from odd.json --html odd.html >out || fail "--html of another's"
node "$ROOT/report/test/bench.mjs" "$work/odd.html" "$work/odd.json"
