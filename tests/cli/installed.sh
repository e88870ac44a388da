#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# installed.sh - what `meson install` leaves in a DESTDIR: nothing but the products, a shared library
# that exports the header's functions alone, a static one that works alone, a header that C++17
# takes, and a pkg-config file by which README's example is compiled and runs.

: "${ROOT:=$(cd "${0%/*}/../.." && pwd)}"
: "${LIBDIR:=build}"
LIBDIR=$(realpath "$LIBDIR")
. "${0%/*}/lib.sh"

unset LD_LIBRARY_PATH # meson's: the library in the build's folder must not help
command -v meson >/dev/null || skip "no meson"
dest=$PWD/dest
meson install -C "$LIBDIR" --no-rebuild --destdir "$dest" >install.log 2>&1 ||
        fail "meson install: $(cat install.log)"
so=$(find "$dest" -name 'libfaultline.so.0')
archive=$(find "$dest" -name 'libfaultline.a')
pc=$(find "$dest" -name 'faultline.pc')
[ -n "$so" ] && [ -n "$archive" ] && [ -n "$pc" ] || fail "not installed: $(find "$dest")"
others=$(cd "$dest" && find . \( -type f -o -type l \) | grep -v -E -e '/bin/faultline$' \
        -e '/include/faultline/faultline\.h$' -e '/libfaultline\.(a|so|so\.0|so\.0\.1\.0)$' \
        -e '/faultline/faultline-[a-z0-9]*\.so$' -e '/pkgconfig/faultline\.pc$' \
        -e '/man/man[137]/f(l_|aultline)[a-z_0-9]*\.[137]$')
[ -z "$others" ] || fail "installed as well: $others"

# --- the shared library: each function of the header, versioned, and no other symbol ----------

sed -n 's/^FL_API .*[ *]\(fl_[a-z_0-9]*\)(.*/\1@@FAULTLINE_0/p' \
        "$ROOT/include/faultline/faultline.h" | sort >wanted
[ "$(wc -l <wanted)" -gt 15 ] || fail "no functions in the header"
nm -D --defined-only "$so" | awk '$2 != "A" { print $3 }' | sort >exported
diff wanted exported >difference || fail "exports: $(cat difference)"
readelf -d "$so" | grep -q 'SONAME.*\[libfaultline\.so\.0\]' || fail "soname: $(readelf -d "$so")"

# --- README's example, by the line that README prints -----------------------------------------

sed -n '/^```c$/,/^```$/p' "$ROOT/README.md" | sed '/^```/d' >example.c
head -c $((16 * 1024 * 1024)) /dev/zero | tr '\0' '.' >data.bin
printf X | dd of=data.bin bs=1 seek=12345678 conv=notrunc 2>/dev/null

# runs COMMAND...: prints the byte, if this machine takes page faults at all.
runs()
{
        can=$("$FAULTLINE" cat example.c >/dev/null 2>&1 && echo yes)
        [ -z "$can" ] || [ "$("$@")" = X ] || fail "$*: it printed something else"
}

command -v pkg-config >/dev/null || skip "no pkg-config; what came before passed"
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dest"
[ "$(pkg-config --modversion faultline)" ] || fail "pkg-config does not find it"
line=$(grep '^cc example.c .*pkg-config' "$ROOT/README.md") || fail "README has no such line"
sh -c "${CC:-cc} ${EXAMPLE_CFLAGS:-} ${line#cc }" || fail "it does not compile: $line"
readelf -d a.out | grep -q 'NEEDED.*libfaultline\.so\.0' || fail "not linked with the library"
runs env LD_LIBRARY_PATH="${so%/*}" ./a.out

# --- the static library, with what pkg-config says it needs ------------------------------------

private=$(pkg-config --static --libs-only-l faultline | sed 's/-lfaultline//g')
# Unquoted: lists of options.
# shellcheck disable=SC2046,SC2086
${CC:-cc} ${EXAMPLE_CFLAGS:-} $(pkg-config --cflags faultline) example.c -o static "$archive" \
        $private || fail "not with the static library and: $private"
! readelf -d static | grep -q 'NEEDED.*libfaultline' || fail "linked with the shared library"
runs ./static

# --- C++ ---------------------------------------------------------------------------------------

if command -v g++ >/dev/null; then
        cat >program.cc <<'END'
#include <faultline/faultline.h>
int main()
{
        fl_engine_config config{};
        config.size = sizeof(config);
        config.cache = 1; /* refused */
        fl_engine *engine = fl_engine_open(&config);
        struct fl_stats stats{}; /* the function hides the struct's short name */
        stats.size = sizeof(stats);
        return engine || !*fl_strerror() || (engine && fl_stats(engine, &stats));
}
END
        # shellcheck disable=SC2046
        g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags faultline) \
                -c program.cc || fail "the header, as C++17"
        # shellcheck disable=SC2046,SC2086
        ${CC:-cc} ${EXAMPLE_CFLAGS:-} program.o -o program $(pkg-config --libs faultline) ||
                fail "C++ does not find the functions"
        LD_LIBRARY_PATH=${so%/*} ./program || fail "the C++ program: status $?"
fi

# --- and gone ------------------------------------------------------------------------------------

rm -r "$dest"
ldconfig -p 2>/dev/null | grep -q libfaultline && exit 0 # a Debian package of it is installed
! ./a.out >/dev/null 2>&1 || fail "it runs without the library: it had found another"
exit 0
