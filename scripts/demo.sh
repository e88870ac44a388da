#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh [FILE] - the main job on real input, in under two minutes; `./dev demo` builds and calls
# it. Everything printed comes from this run. A FILE that is named is only read.
#
# It makes its own files once under ${TMPDIR:-/var/tmp}/faultline-demo and keeps them: 1 GiB of
# pseudo-random bytes if no FILE is named, less if the disk is nearly full.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
faultline=${FAULTLINE:-$root/build-release/faultline} # some of it is measured
folder=${TMPDIR:-/var/tmp}/faultline-demo
mib=$((1024 * 1024))

die()
{
        printf 'demo: %s\n' "$*" >&2
        exit 1
}

title()
{
        printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

# Shows a command, then runs it.
run()
{
        printf '$ %s\n' "$*" | sed "s|$faultline|faultline|g"
        "$@"
}

now()
{
        date +%s.%N
}

# seconds FROM: since then
seconds()
{
        awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f s", to - from }'
}

free_mib()
{
        df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024) }'
}

# The biggest multiple of 64 MiB, up to 1 GiB, that leaves as much free again for the rest.
choose_size()
{
        size=$(($(free_mib) / 3 / 64 * 64))
        [ "$size" -gt 1024 ] && size=1024
        [ "$size" -ge 64 ] || die "$folder: less than 192 MiB are free; set TMPDIR"
        echo "$size"
}

# make_file PATH MIB: pseudo-random bytes, the same every time, without a library.
make_file()
{
        openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt -in /dev/zero 2>/dev/null |
                head -c $(($2 * mib)) >"$1.part"
        if [ "$(wc -c <"$1.part")" -ne $(($2 * mib)) ]; then # no openssl here
                head -c $(($2 * mib)) /dev/urandom >"$1.part" || die "$1: cannot be made"
        fi
        sync "$1.part"
        mv "$1.part" "$1" || die "$1: cannot be made"
}

bold='' plain=''
if [ -t 1 ]; then
        bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi
[ -x "$faultline" ] || die "$faultline: not built yet (./dev demo)"
# Its name can be guessed: it must be ours, or somebody else's links would be followed.
mkdir -p -m 700 "$folder" || exit 1
[ ! -L "$folder" ] && [ "$(stat -c %u "$folder")" = "$(id -u)" ] || die "$folder is not ours"
started=$(now)

# ---- the file ----
if [ $# -gt 0 ]; then
        [ -f "$1" ] && [ -r "$1" ] && file=$(realpath "$1") || die "$1: not a readable file"
        [ "$(stat -c %s "$file")" -ge $((4 * mib)) ] || die "$1: too small to show anything (4 MiB)"
else
        file=$(find "$folder" -maxdepth 1 -name 'random-*M.bin' | sort | head -n 1)
        if [ -z "$file" ]; then
                size=$(choose_size) || exit 1
                file=$folder/random-${size}M.bin
                title "making $size MiB of pseudo-random bytes, once: $file"
                make_file "$file" "$size"
        fi
fi
bytes=$(stat -c %s "$file")
cache=$((bytes / 8 / mib))
[ "$cache" -ge 1 ] || cache=1
printf '%s: %d MiB; the cache may hold %d MiB\n' "$file" $((bytes / mib)) "$cache"

# ---- 1. scan ----
title "1. Every byte through a mapping, and a checksum"
from=$(now)
printf '$ faultline cat %s --cache %dM | sha256sum\n' "$file" "$cache"
ours=$("$faultline" cat "$file" --cache "${cache}M" | sha256sum) || exit 1
printf '%s  %s\n' "${ours%% *}" "$(seconds "$from")"
from=$(now)
printf '$ sha256sum %s      # read(2)\n' "$file"
theirs=$(sha256sum <"$file")
printf '%s  %s\n' "${theirs%% *}" "$(seconds "$from")"
[ "$ours" = "$theirs" ] || die "the checksums differ"
echo "the same"

# ---- 2. random touches ----
title "2. 20,000 loads at random, 8 threads"
run "$faultline" touch "$file" --pattern random --count 20000 --threads 8 --advice random \
        --cache "${cache}M" || exit 1

# ---- 3. stores ----
copy=$folder/written.bin
part=$((bytes / mib / 8))
[ "$part" -gt 64 ] && part=64
[ "$part" -ge 1 ] || part=1
title "3. Stores through a mapping: does msync put them on the disk?"
head -c $((part * mib)) "$file" >"$folder/part.bin" || exit 1
run "$faultline" put "$folder/part.bin" "$copy" --cache "$((part / 8 + 1))M" || exit 1

# direct: past every cache of the host's, or say that it cannot be done here.
direct='iflag=direct'
dd if="$copy" of=/dev/null bs=1M count=1 $direct 2>/dev/null || {
        direct=''
        echo "(this file system refuses O_DIRECT: an ordinary read instead)"
}
printf '$ dd if=%s bs=1M %s | sha256sum\n' "$copy" "$direct"
want=$(sha256sum <"$folder/part.bin")
# shellcheck disable=SC2086
got=$(dd if="$copy" bs=1M $direct 2>/dev/null | sha256sum)
echo "${got%% *}"
[ "$want" = "$got" ] || die "what is on the disk is not what was stored"
echo "the same as what was stored"

page=$((part * mib / 4096 / 2))
echo "$page" >"$folder/list"
run "$faultline" touch "$copy" --pattern "list=$folder/list" --write --verify --seed 7 >/dev/null ||
        exit 1
printf '$ dd if=%s bs=4096 skip=%d count=1 %s | od -A n -t u8 -N 16\n' "$copy" "$page" "$direct"
# shellcheck disable=SC2086
words=$(dd if="$copy" bs=4096 skip="$page" count=1 $direct 2>/dev/null | od -A n -t u8 -N 16)
echo "$words"
# shellcheck disable=SC2086
set -- $words
[ "$1" = "$page" ] || die "the stamp of page $page is not on the disk"
echo "page $page carries its number on the disk"
rm -f "$folder/part.bin" "$folder/list" "$copy"

# ---- 4. explain ----
title "4. A cold fault, then one whose page is in the cache already"
# linux guesses 128 KiB from one fault; adaptive would read this page only.
run "$faultline" explain "$file" --policy linux --readahead 128K --touch 0 --touch 96K \
        >"$folder/explained" || exit 1
cat "$folder/explained"
grep -q '^fault 2: minor' "$folder/explained" || die "the second fault was not a minor one"
rm -f "$folder/explained"

# ---- 5. beside the kernel ----
title "5. Beside kernel mmap: file 8 times the cache, cold, taking turns"
size=512
while [ "$size" -gt 64 ] && [ "$(free_mib)" -lt $((size * 2)) ] &&
        [ ! -e "$folder/faultline-bench-${size}M.dat" ]; do
        size=$((size / 2))
done
# Five rows, each beside the side that its ratio is about; ./dev bench measures all.
run "$faultline" bench rand-read-1 rand-read-8 rand-noadvice-1 seq mapped --quick \
        --pairs --size "${size}M" --dir "$folder" || exit 1

printf '\ndone in %s; what was made is kept in %s\n' "$(seconds "$started")" "$folder"
