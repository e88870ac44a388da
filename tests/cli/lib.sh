# SPDX-License-Identifier: Apache-2.0
#
# lib.sh - what the tests of the command share; sourced by each of them.
#
# Meson sets FAULTLINE (the command) and HELPERS (the folder of stamp_check). A test works in
# $work, which is gone afterwards. Exit status: 0 passed, 1 failed, 77 skipped.

: "${FAULTLINE:=build/faultline}"
: "${HELPERS:=build/tests/cli}"
FAULTLINE=$(realpath "$FAULTLINE")
HELPERS=$(realpath "$HELPERS")

unset FAULTLINE_CACHE FAULTLINE_STATS FAULTLINE_JSON FAULTLINE_FAULTS FAULTLINE_TRACE
work=$(mktemp -d "${TMPDIR:-/var/tmp}/faultline-test-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

fail()
{
        echo "FAIL: $*" >&2
        exit 1
}

skip()
{
        echo "skipped: $*" >&2
        exit 77
}

# Skips where the machine lets nobody take page faults.
need_engine()
{
        head -c 4096 /dev/zero >probe
        "$FAULTLINE" cat probe >/dev/null 2>probe.err && return
        grep -q -i -e userfaultfd -e 'not permitted' probe.err && skip "$(cat probe.err)"
        fail "cat of one page: $(cat probe.err)"
}

# make_random FILE BYTES
make_random()
{
        head -c "$2" /dev/urandom >"$1" || fail "make $1"
}

# expect_error STATUS PATTERN COMMAND...: the exit status, and on stderr exactly one line, which
# begins with "faultline: " and matches the pattern.
expect_error()
{
        want=$1 pattern=$2
        shift 2
        "$@" >out 2>err
        got=$?
        [ "$got" -eq "$want" ] || fail "$*: exit status $got, not $want: $(cat err)"
        [ "$(wc -l <err)" -eq 1 ] || fail "$*: $(wc -l <err) lines on stderr: $(cat err)"
        grep -q '^faultline: ' err || fail "$*: $(cat err)"
        grep -q -e "$pattern" err || fail "$*: no \"$pattern\" in: $(cat err)"
        [ ! -s out ] || fail "$*: output in spite of the error"
}

# json_value FILE KEY: the integer behind a key of a flat object.
json_value()
{
        tr ',{}' '\n\n\n' <"$1" | sed -n "s/^ *\"$2\": *\(-\{0,1\}[0-9][0-9]*\) *\$/\1/p"
}

# expect_sequence FILE PATTERN...: lines that match the patterns, in this order, others between.
expect_sequence()
{
        file=$1 line=0
        shift
        for pattern; do
                next=$(awk -v from="$line" -v p="$pattern" 'NR > from && $0 ~ p { print NR; exit }' \
                        "$file")
                [ -n "$next" ] || {
                        cat "$file" >&2
                        fail "after line $line of $file nothing matches: $pattern"
                }
                line=$next
        done
}

# has_module NAME
has_module()
{
        : "${FAULTLINE_MODULES:=${FAULTLINE%/*}/modules}"
        export FAULTLINE_MODULES
        [ -e "$FAULTLINE_MODULES/faultline-$1.so" ]
}

# need_module NAME: skips where it has not been built.
need_module()
{
        has_module "$1" || skip "the module $1 has not been built"
}
