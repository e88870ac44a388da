#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# probes.sh - the static probes: one for each event, with its arguments, as readelf and bpftrace see
# them; what the kernel counts at one, where it may be asked; and the examples' scripts: each probe of
# theirs is there, with each argument, and they run where bpftrace may.

. "${0%/*}/lib.sh"

command -v readelf >/dev/null || skip "there is no readelf"
# each probe's name, and of how many bytes its arguments are
probes()
{
        readelf -W -n "$1" 2>/dev/null | awk '
                /Provider: faultline/ { ours = 1 }
                /^ *Name: / && ours { name = $2 }
                /^ *Arguments: / && ours {
                        shape = ""
                        for (i = 2; i <= NF; i++) {
                                split($i, part, "@")
                                shape = shape " " (part[1] < 0 ? -part[1] : part[1])
                        }
                        print name shape
                        ours = 0
                }' | sort -u
}
probes "$FAULTLINE" >found
[ -s found ] || skip "built without probes (sys/sdt.h)"

# --- the table that people read has every event, with its arguments, and nothing else
sed -n 's/^ *X(\([A-Z_]*\), *"\([^"]*\)", *"\([^"]*\)", *"\([^"]*\)", *"\([^"]*\)", *"\([^"]*\)", *"\([^"]*\)").*/\1 \4 \5 \6 \7/p' \
        "$ROOT/src/trace/events.h" | sed 's/ *$//; s/  */ /g' | grep -v '^NONE' | sort >events
[ "$(wc -l <events)" -gt 50 ] || fail "events.h is not understood"
sed -n 's/^| \([A-Z_]*\) | [^|]* | [^|]* | \([^|]*\) | .* |$/\1 \2/p' "$ROOT/docs/tracing.md" |
        sed 's/[`,-]//g; s/ *$//; s/  */ /g' | sort >documented
diff events documented >&2 || fail "docs/tracing.md: the table is not that of events.h"

# --- a probe an event, six arguments of eight bytes
cut -d' ' -f1 found | sort -u >names
cut -d' ' -f1 events | grep -v -x -e NAME -e COUNTERS -e LOST -e FS_BLOCK | sort >want
diff want names >&2 || fail "the command's probes"
grep -v '^[A-Z_]* 8 8 8 8 8 8$' found >&2 && fail "a probe whose arguments are not six words"

# --- each has a counter of its own that can be raised: in the file's data, and not read-only later
# elf FILE: lines "probe NAME PLACE COUNTER", "segment FROM TO OFFSET FLAGS", "relro FROM TO"
elf()
{
        readelf -W -n -l "$1" 2>/dev/null | awk '
                /Provider: faultline/ { ours = 1 }
                /^ *Name: / && ours { name = $2 }
                /Location: / && ours { print "probe", name, $2, $6; ours = 0 }
                $1 == "LOAD" { print "segment", $3, $5, $2, $7 $8 $9 }
                $1 == "GNU_RELRO" { print "relro", $3, $6 }' | tr -d ,
}
within()
{
        [ $(($1)) -ge $(($2)) ] && [ $(($1)) -lt $(($2 + $3)) ]
}
# counters FILE: "NAME PLACE COUNTER" as offsets in the file; fails where one could not be raised
counters()
{
        elf "$1" >elf
        [ -s elf ] || fail "readelf is not understood"
        while read -r kind name place counter; do
                [ "$kind" = probe ] || continue
                [ $((counter)) -ne 0 ] || fail "$1: $name has no counter"
                at='' from=''
                while read -r kind start length offset flags; do
                        case $kind in
                        relro)
                                ! within "$counter" "$start" "$length" ||
                                        fail "$1: the counter of $name is read-only later"
                                ;;
                        segment)
                                if within "$place" "$start" "$length"; then
                                        from=$((place - start + offset))
                                fi
                                if within "$counter" "$start" "$length"; then
                                        case $flags in
                                        RW*) at=$((counter - start + offset)) ;;
                                        esac
                                fi
                                ;;
                        esac
                done <elf
                [ -n "$at" ] && [ -n "$from" ] || fail "$1: no counter of $name"
                echo "$name $from $at"
        done <elf
}
for file in "$FAULTLINE" "$LIBDIR/libfaultline.so.0" "$LIBDIR"/modules/faultline-*.so; do
        [ -z "$(probes "$file")" ] || counters "$file" >counters || exit 1
        [ "$file" != "$FAULTLINE" ] || mv counters ours
done
[ "$(cut -d' ' -f1,3 ours | sort -u | wc -l)" -eq "$(wc -l <names)" ] || fail "not one counter a probe"
[ "$(cut -d' ' -f3 ours | sort -u | wc -l)" -eq "$(wc -l <names)" ] || fail "a counter of two probes"

# --- the kernel counts each fault at FAULT_END while it raises the counter, and none if it does not
faults_counted()
{
        "$HELPERS/probe_count" "$1" "$2" "$3" "$1" touch ram:4M --pattern random --count 300 --json \
                >counted 2>err
}
fault_end=$(sed -n 's/^FAULT_END //p' ours)
# copies, which nobody else runs meanwhile; the kernel wants one counter for a place, hence two
cp "$FAULTLINE" seen && cp "$FAULTLINE" unseen || fail "copy the command"
if [ "$(id -u)" -ne 0 ] || [ "$(echo "$fault_end" | wc -l)" -ne 1 ]; then
        echo "nobody may attach to a probe here, or FAULT_END is in several places" >&2
elif ! faults_counted "$work/seen" "${fault_end% *}" "${fault_end#* }"; then
        grep -q -e '^uprobes: ' -e '^perf_event_open: ' err || fail "$(cat err)"
        echo "nobody may attach to a probe here" >&2
else
        faults=$(($(json_value counted faults_major) + $(json_value counted faults_minor)))
        [ "$faults" -gt 200 ] || fail "$(cat counted)"
        # one that another has served meanwhile is neither major nor minor
        [ "$(tail -n 1 counted)" -ge "$faults" ] || fail "not $faults faults: $(cat counted)"
        faults_counted "$work/unseen" "${fault_end% *}" 0 || fail "$(cat err)"
        [ "$(tail -n 1 counted)" -eq 0 ] || fail "a probe is come by that nobody waits for: $(cat counted)"
fi

# --- the scripts: every probe of theirs is there, with so many arguments; they run where they may
for script in faults io; do
        sed -n 's/^usdt:.*:faultline:\([A-Z_]*\)$/\1/p' "$ROOT/examples/$script.bt" >used
        [ -s used ] || fail "$script.bt uses no probe"
        grep -v -x -f names used >&2 && fail "$script.bt: no such probe"
        awk '/^usdt:/ { sub(/.*:/, ""); probe = $0 }
                /^[^u]/ && probe {
                        while (match($0, /arg[0-9]+/)) {
                                print probe, substr($0, RSTART + 3, RLENGTH - 3)
                                $0 = substr($0, RSTART + RLENGTH)
                        }
                }
                /^}/ { probe = "" }' "$ROOT/examples/$script.bt" >indexes
        [ -s indexes ] || fail "$script.bt uses no argument"
        while read -r probe index; do
                # the fault, the object, and what the table says
                want=$(sed -n "s/^$probe //p" events | wc -w)
                [ "$index" -lt $((want + 2)) ] || fail "$script.bt: $probe has no arg$index"
        done <indexes
done
command -v bpftrace >/dev/null || {
        echo "no bpftrace: the scripts are not run" >&2
        exit 0
}
bpftrace -l "usdt:$FAULTLINE:faultline:*" 2>/dev/null | sed 's/.*://' | sort -u >listed
diff names listed >&2 || fail "bpftrace lists other probes"
bpftrace -e 'BEGIN { exit(); }' >denied 2>&1 || {
        echo "bpftrace may not run here: the scripts are not run ($(head -n 1 denied))" >&2
        exit 0
}
need_engine
make_random data $((4 * 1024 * 1024))
for script in faults io; do
        sed "s|/usr/bin/faultline|$FAULTLINE|" "$ROOT/examples/$script.bt" >script.bt
        timeout 60 bpftrace -c "$FAULTLINE touch data --pattern random --count 300" script.bt \
                >"$script.out" 2>err || fail "$script.bt: $(cat err)"
done
grep -q '^@us\[major\]' faults.out || fail "faults.bt: $(cat faults.out)"
grep -q '^@cache\[miss\]: [1-9]' faults.out || fail "faults.bt: $(cat faults.out)"
[ "$(grep -c '^[0-9]' io.out)" -gt 10 ] || fail "io.bt: $(cat io.out)"
exit 0
