#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stats_json.sh - the counters: every key, integers, and numbers that add up.

. "${0%/*}/lib.sh"
need_engine

keys="faults_major faults_minor faults_write cow_copies zero_fills swap_ins swap_outs
readahead_pages readahead_hits readahead_wasted evicted_pages writeback_pages bios requests
merges_back merges_front flushes read_bytes write_bytes cache_bytes cache_bytes_peak meta_bytes
budget_bytes io_errors fault_ns_p50 fault_ns_p99 fault_ns_max elapsed_ns trace_dropped spins
spin_hits spin_ns"

check_keys()
{
        [ "$(wc -l <"$1")" -eq 1 ] || fail "$1: not one line: $(cat "$1")"
        for key in $keys; do
                [ -n "$(json_value "$1" "$key")" ] || fail "$1: no integer $key: $(cat "$1")"
        done
}

at_least()
{
        value=$(json_value "$1" "$2")
        [ "$value" -ge "$3" ] || fail "$1: $2 is $value, less than $3"
}

at_most()
{
        value=$(json_value "$1" "$2")
        [ "$value" -le "$3" ] || fail "$1: $2 is $value, more than $3"
}

make_random file $((8 * 1024 * 1024))

# cat: on stderr, for the bytes are on stdout
"$FAULTLINE" cat file --cache 2M --stats --json >out 2>stats || fail "cat"
cmp file out || fail "cat --stats differs"
check_keys stats
at_least stats faults_major 1
at_least stats read_bytes $((8 * 1024 * 1024))
at_least stats requests 1
at_least stats evicted_pages 1
at_least stats cache_bytes_peak 4096
at_most stats cache_bytes_peak $((2 * 1024 * 1024))
at_most stats write_bytes 0
[ "$(json_value stats budget_bytes)" -eq $((2 * 1024 * 1024)) ] || fail "budget_bytes"
[ "$(json_value stats bios)" -eq $(($(json_value stats requests) +
        $(json_value stats merges_back) + $(json_value stats merges_front))) ] ||
        fail "bios are not requests and merges: $(cat stats)"

# for people, with what each device did: its bios and requests are all that there were
"$FAULTLINE" cat file --cache 2M --stats >/dev/null 2>stats || fail "cat --stats"
awk '$1 == "bios" { bios = $2 } $1 == "requests" { requests = $2 }
     $2 == "read" && NF > 8 { if ($3 != bios || $4 != requests) exit 1; n++ }
     END { exit n != 1 }' stats || fail "the table of devices: $(cat stats)"

# touch: on stdout, with what it did
"$FAULTLINE" touch file --cache 2M --write --count 100 --json >stats || fail "touch"
check_keys stats
at_least stats writeback_pages 100
at_least stats write_bytes 409600
[ "$(json_value stats accesses)" -eq 100 ] || fail "accesses"
[ "$(json_value stats msync_errors)" -eq 0 ] || fail "msync_errors"
at_least stats elapsed_ns 1

# for people
"$FAULTLINE" cat file --cache 2M --stats >out 2>stats || fail "cat --stats"
for key in $keys; do
        grep -q "^$key  *[0-9][0-9]*\$" stats || fail "--stats without $key"
done

# what was polled for before sleeping, and with what success; unasked nothing is
if "$FAULTLINE" touch file --mmu sigbus --count 1 >out 2>&1; then
        "$FAULTLINE" touch file --mmu sigbus --advice random --pattern random --count 50 --spin 1s \
                --json >stats || fail "touch --spin"
        at_least stats spins 1
        at_least stats spin_hits 1
        at_least stats spin_ns 1
        "$FAULTLINE" touch file --mmu sigbus --advice random --count 50 --json >stats || fail "touch"
        at_most stats spins 0
        at_most stats spin_ns 0
fi

# put and explain take them too
"$FAULTLINE" put file copy --stats --json 2>stats || fail "put"
check_keys stats
at_least stats flushes 1
"$FAULTLINE" explain file --stats --json >out 2>stats || fail "explain"
check_keys stats
grep -q '"touches": \[' out || fail "explain --json: $(cat out)"
exit 0
