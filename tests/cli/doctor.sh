#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# doctor.sh - the doctor agrees with what really happens: as the user who runs the tests, and, as
# root, as nobody, who may have to do without. Its advice is then taken, on a device node of our
# own in a mount namespace of our own, and has to help.

. "${0%/*}/lib.sh"

# has FILE TEXT...
has()
{
        file=$1
        shift
        for text; do
                grep -q -e "$text" "$file" || {
                        cat "$file" >&2
                        fail "no \"$text\""
                }
        done
}

# examine NAME COMMAND...: text and JSON, which must agree with an engine that is opened.
examine()
{
        name=$1
        shift
        "$@" doctor . >"$name.text" 2>"$name.err" || fail "$name: $(cat "$name.err")"
        "$@" doctor --json . >"$name.json" 2>>"$name.err" || fail "$name: $(cat "$name.err")"
        [ ! -s "$name.err" ] || fail "$name: $(cat "$name.err")"
        [ "$(wc -l <"$name.json")" -eq 1 ] || fail "$name: more than one line of JSON"
        has "$name.text" ' userfaultfd ' '/dev/userfaultfd: ' 'system call: ' 'user mode only: ' \
                'vm.unprivileged_userfaultfd: ' ' io_uring ' ' O_DIRECT  *\.: ' ' huge pages ' \
                ' memlock ' ' module ext4 ' ' module nbd ' 'vm.max_map_count=' ' cgroup ' ' seccomp ' ' mmu auto '
        if "$@" cat page >/dev/null 2>"$name.cat"; then
                taken=$(sed -n 's/.* mmu auto  *takes \([a-z]*\).*/\1/p' "$name.text")
                has "$name.json" "\"mmu_auto\": \"$taken\""
                case $taken in
                uffd) has "$name.json" '"mmu_uffd": "all faults"' ;;
                sigbus | sigsegv) has "$name.text" 'mmu auto .*EFAULT' ;;
                *) fail "$name: auto takes \"$taken\"" ;;
                esac
                has "$name.text" ' default cache ' ' one fault '
                [ "$(json_value "$name.json" fault_ns)" -gt 100 ] || fail "$name: no fault measured"
                [ "$(json_value "$name.json" default_cache)" -ge 262144 ] || fail "$name: cache"
        else
                # A refusal names its reason, and who knows more; the doctor has the same reason.
                has "$name.cat" '; see faultline doctor$'
                has "$name.json" '"mmu_auto": null' '"command": "'
                reason=$(sed 's/^faultline: //; s/; see faultline doctor$//' "$name.cat")
                grep -q -F -e "$reason" "$name.text" || fail "$name: not the reason: $reason"
        fi
        for mmu in uffd sigbus sigsegv; do
                if "$@" cat page --mmu $mmu >/dev/null 2>&1; then
                        has "$name.text" " mmu $mmu .*; one fault "
                        [ "$(json_value "$name.json" $mmu)" -gt 100 ] || fail "$name: $mmu: no fault"
                else
                        has "$name.text" "^no .* mmu $mmu  *does not open"
                        has "$name.json" "\"$mmu\": null"
                fi
        done
}

head -c 4096 /dev/zero >page
cp "$FAULTLINE" faultline
chmod 755 . faultline
here=$PWD
examine self ./faultline
# Nothing is left behind, and a file may be named as well as its folder.
[ "$(find . -name 'page*' | wc -l)" -eq 1 ] || fail "it left files: $(ls)"
./faultline doctor page >page.text || fail "doctor FILE"
expect_error 1 'missing: .*No such file' ./faultline doctor missing
expect_error 1 '/dev/null: ' ./faultline doctor /dev/null
expect_error 2 'one PATH' ./faultline doctor page page

# Too few addresses for an engine, whoever asks. (A sanitizer needs more itself.)
if [ -z "${EXAMPLE_CFLAGS:-}" ] && ./faultline cat page >/dev/null 2>&1; then
        (ulimit -v 1000000 && exec ./faultline cat page) >/dev/null 2>tight.err &&
                fail "an engine in 1 GB of addresses"
        has tight.err '^faultline: .*Cannot allocate memory; see faultline doctor$'
        (ulimit -v 1000000 && exec ./faultline doctor) >tight.text || fail "doctor, in 1 GB"
        has tight.text '^no .*mmu auto .*Cannot allocate memory$' '^  ulimit -v unlimited$'
fi

[ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null || exit 0
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
$nobody "$here/faultline" --help >/dev/null 2>&1 || exit 0
examine nobody $nobody "$here/faultline"

# What it advises, done.
grep -q '"command": "sudo chmod 666 /dev/userfaultfd"' nobody.json || exit 0
# (A chroot's root is not a mount of its own, and has no mount table to unshare.)
unshare -m --propagation private true 2>/dev/null || exit 0
export nobody here
unshare -m --propagation private sh -c '
        mknod node c 10 "$(cut -d: -f2 /sys/class/misc/userfaultfd/dev)" && chmod 600 node &&
                mount --bind node /dev/userfaultfd || exit 77
        chmod 666 /dev/userfaultfd
        $nobody "$here/faultline" doctor --json >cured.json
' || {
        [ $? -eq 77 ] && exit 0
        fail "the doctor, after its own advice"
}
has cured.json '"mmu_auto": "uffd"' '"device": true'
exit 0
