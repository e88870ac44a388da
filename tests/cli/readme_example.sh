#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# readme_example.sh - the C program in README.md, compiled and run as it is printed there.
#
# Meson sets ROOT (the source tree), LIBDIR (where libfaultline.so lies) and CC.

: "${ROOT:=$(cd "${0%/*}/../.." && pwd)}"
: "${LIBDIR:=build}"
LIBDIR=$(realpath "$LIBDIR")
. "${0%/*}/lib.sh"
need_engine

sed -n '/^```c$/,/^```$/p' "$ROOT/README.md" | sed '/^```/d' >example.c
[ -s example.c ] || fail "no C example in README.md"
[ "$(sed -n '/^{$/,/^}$/p' example.c | grep -c .)" -le 12 ] || fail "the example got longer"

# The build may be a sanitizer's, whose runtime has to come first: then it is compiled so as well.
# shellcheck disable=SC2086
${CC:-cc} ${EXAMPLE_CFLAGS:-} -Wall -Wextra -Werror -I"$ROOT/include" example.c -o example \
        -L"$LIBDIR" -Wl,-rpath,"$LIBDIR" -lfaultline || fail "it does not compile"

# the line that README prints for it, in a folder that looks like the tree
line=$(grep '^cc example.c -Iinclude' "$ROOT/README.md") || fail "README does not say how to compile"
ln -s "$ROOT/include" include && ln -s "$LIBDIR" build || fail "link"
if [ -z "${EXAMPLE_CFLAGS:-}" ]; then
        sh -c "$line" || fail "README's line does not compile it: $line"
        [ -x a.out ] || fail "README's line made no a.out"
        mv a.out example
fi

head -c $((16 * 1024 * 1024)) /dev/zero | tr '\0' '.' >data.bin
printf X | dd of=data.bin bs=1 seek=12345678 conv=notrunc 2>/dev/null
[ "$(./example)" = X ] || fail "it printed something else"

rm data.bin
./example 2>err && fail "it ran without its file"
[ "$(wc -l <err)" -eq 1 ] || fail "a missing file: $(cat err)"
grep -q 'data.bin: .*No such file' err || fail "a missing file: $(cat err)"
exit 0
