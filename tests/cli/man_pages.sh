#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# man_pages.sh - the manual has what --help and the header have, and nothing else: options of each
# command, functions, members of structs, error by error what can be compared; and it is laid out
# without a warning. A new option or function needs its lines in man/.

: "${ROOT:=$(cd "${0%/*}/../.." && pwd)}"
ROOT=$(realpath "$ROOT")
. "${0%/*}/lib.sh"
man=$ROOT/man
header=$ROOT/include/faultline/faultline.h
bad=0

# same WHAT: the sorted files `have` (the program's) and `told` (the manual's) hold the same lines.
same()
{
        comm -23 have told >missing
        comm -13 have told >extra
        [ ! -s missing ] || { echo "$1: not in the manual:" $(cat missing) >&2; bad=1; }
        [ ! -s extra ] || { echo "$1: only in the manual:" $(cat extra) >&2; bad=1; }
}

# The options a text mentions, and those a part of the manual explains.
options_in()
{
        grep -o -e '--[a-z][a-z-]*' | sort -u
}
items_in()
{
        sed -n 's/^\.It Fl -\([a-z][a-z-]*\).*/--\1/p' | sort
}

# --- faultline(1) ---------------------------------------------------------------------------

"$FAULTLINE" --help >help || fail "--help"
sed -n '/^Options of every command/,/^$/p' help | sed -n 's/^  \(--[a-z-]*\).*/\1/p' | sort >common
sed -n '/^\.Sh OPTIONS/,/^\.Sh EXIT/p' "$man/faultline.1" | items_in >told
cp common have
[ "$(wc -l <have)" -gt 5 ] || fail "no common options in --help"
same "options of every command"

sed -n '/^Commands:/,/^$/p' help | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort >have
sed -n 's/^\.Ss \([a-z]*\).*/\1/p' "$man/faultline.1" | sort >told
[ "$(wc -l <have)" -gt 4 ] || fail "no commands in --help"
cp have commands
same "commands"

while read -r command; do
        "$FAULTLINE" "$command" --help >text || fail "$command --help"
        sed '/^Options of every command/,$d' text | options_in | comm -23 - common >have
        sed -n "/^\.Ss $command\( \|$\)/,/^\.S[sh] /{/^\.Ss $command/d;p}" "$man/faultline.1" |
                items_in >told
        same "$command"
done <commands

# --- section 3 ------------------------------------------------------------------------------

# Each function in the NAME section of one page, and in a SYNOPSIS.
sed -n 's/^FL_API .*[ *]\(fl_[a-z_0-9]*\)(.*/\1/p' "$header" | sort >have
[ "$(wc -l <have)" -gt 15 ] || fail "no functions in the header"
sed -n 's/^\.Nm \(fl_[a-z_0-9]*\).*/\1/p' "$man"/*.3 | sort >told
same "functions (NAME)"
for page in "$man"/f*.3; do
        sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$page"
done | sed -n 's/^\.F[no] \(fl_[a-z_0-9]*\).*/\1/p' | sort >told
same "functions (SYNOPSIS)"
# A page for each: its own, or one that leads there.
{
        for page in "$man"/fl_*.3; do
                basename "$page" .3
        done
        sed -n "/^man_links/,/^}/p" "$man/meson.build" | sed 's/^ *.*: \[//' |
                grep -o "'fl_[a-z_0-9]*'" | tr -d "'"
} | sort >told
same "functions (pages)"
# faultline(3) lists them all.
sed -n 's/^\.Fn \(fl_[a-z_0-9]*\).*/\1/p' "$man/faultline.3" | sort >told
same "functions (faultline.3)"

# members STRUCT[\|STRUCT]... PAGE
members()
{
        sed -n "/^struct \\($1\\) {/,/^};/p" "$header" | sed -e '/^struct/d' -e '/^};/d' -e 's/\/\*.*//' |
                grep -v '^ *\*' | sed 's/\[[0-9]*\]//' | tr ',' '\n' | sed -n 's/.*[ *]\([a-z][a-z_0-9]*\);\{0,1\} *$/\1/p' |
                sort -u >have
        [ "$(wc -l <have)" -gt 2 ] || fail "no members of $1 in the header"
        grep -e '^\.It Va' -e '^\.Va' "$man/$2" | grep -o '[a-z_0-9]*' |
                grep -v -x -e 't' -e 'a' -e errno -e uint64_t | sort -u >told
        same "struct $1"
}
members fl_engine_config faultline_engine.3
members fl_file_config fl_file_open.3
members 'fl_stats\|fl_io_stats\|fl_device_stats\|fl_latency' fl_stats.3
members fl_error_info fl_error.3
members 'fl_mapping_config\|fl_mapping_info' fl_mapping_set.3

# --- layout ---------------------------------------------------------------------------------

for page in "$man"/*.[137]; do
        if command -v mandoc >/dev/null; then
                mandoc -Tlint -Wwarning "$page" >warnings 2>&1
        elif command -v groff >/dev/null; then
                groff -ww -mdoc -Tutf8 "$page" >/dev/null 2>warnings
        else
                continue
        fi
        [ ! -s warnings ] || {
                cat warnings >&2
                bad=1
        }
done
[ "$bad" = 0 ] || fail "the manual and the program differ"
exit 0
