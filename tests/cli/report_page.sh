#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# report_page.sh - the pages of `faultline report` in headless Chromium, used with pointer and keyboard
# (report/test/page.mjs): of a real run, of a million events, of a trace that was cut, of one without
# faults, of names that are anybody's.

here=$(realpath "${0%/*}")
: "${ROOT:=$here/../..}"
ROOT=$(realpath "$ROOT")
. "$here/lib.sh"

command -v node >/dev/null || skip "no node"
[ -d "$ROOT/report/node_modules/playwright-core" ] ||
        skip "no playwright-core (npm ci --ignore-scripts in report/)"
need_engine
make_random data $((16 * 1024 * 1024))

# traced NAME OPTIONS...: a run and its trace.
traced()
{
        name=$1
        shift
        "$FAULTLINE" touch "$@" --trace "$name" >touched 2>&1 || fail "$name: $(cat touched)"
}

# Random readers, in a cache that is too small.
traced mixed data --pattern random --count 700 --threads 2 --seed 7 --cache 4M --readahead 64K
"$FAULTLINE" report mixed -o mixed.html 2>err || {
        grep -q 'without the page' err && skip "built without the page"
        fail "mixed: $(cat err)"
}

head -c $(($(wc -c <mixed) - 1000)) mixed >short
"$FAULTLINE" report short -o short.html 2>err && fail "short: whole, as a page"

# Memory as a disk, for many faults in little time.
traced million ram:64M --pattern random --count 110000 --cache 32M --readahead 4K --seed 3
"$FAULTLINE" report million -o million.html || fail "million"

# A run that touches nothing.
: >zero
"$FAULTLINE" cat zero --trace empty >/dev/null || fail "empty"
"$FAULTLINE" report empty -o empty.html || fail "a trace without faults"

# Names that would be more than names, were they believed. The first is that of a file in a folder.
evil='</script><img src=x onerror=window.hacked=1>'
image='<img src=x onerror=window.hacked=1>'
mkdir '<'
cp data "$image"
"$FAULTLINE" touch "$image" --pattern seq --count 64 --cache 1M --trace "$evil" >/dev/null || fail "names"
"$FAULTLINE" report "$evil" -o names.html || fail "names, as a page"

node "$ROOT/report/test/page.mjs" "$work" 1000000
