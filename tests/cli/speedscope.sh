#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# speedscope.sh - speedscope reads what `export --format perfetto` writes, in headless Chromium
# (report/test/speedscope.mjs).

here=$(realpath "${0%/*}")
: "${ROOT:=$here/../..}"
ROOT=$(realpath "$ROOT")
. "$here/lib.sh"

command -v node >/dev/null || skip "no node"
[ -d "$ROOT/report/node_modules/speedscope" ] ||
        skip "no speedscope (npm ci --ignore-scripts in report/)"
need_engine
make_random data $((16 * 1024 * 1024))
"$FAULTLINE" touch data --pattern random --count 300 --threads 2 --write --seed 5 --cache 4M \
        --trace trace >/dev/null || fail "touch"
"$FAULTLINE" export trace --format perfetto -o json || fail "perfetto"
node "$ROOT/report/test/speedscope.mjs" json
