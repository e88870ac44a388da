#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# probes.sh - the static probes: one for each event, with its arguments, as readelf and bpftrace see
# them; and the examples' scripts, where bpftrace may run.

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

# --- the scripts: every probe of theirs is there; they run where they may
for script in faults io; do
        sed -n 's/^usdt:.*:faultline:\([A-Z_]*\)$/\1/p' "$ROOT/examples/$script.bt" >used
        [ -s used ] || fail "$script.bt uses no probe"
        grep -v -x -f names used >&2 && fail "$script.bt: no such probe"
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
