#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# bad_input.sh - whatever is wrong: the right exit status, and one clear line.

. "${0%/*}/lib.sh"
need_engine

make_random file 10000
: >empty
mkfifo fifo

# files
for command in cat "touch" explain; do
        expect_error 1 'missing: .*No such file' "$FAULTLINE" $command missing
        expect_error 1 'Is a directory' "$FAULTLINE" $command .
        expect_error 1 'fifo: ' "$FAULTLINE" $command fifo
        expect_error 1 'nosuch:file' "$FAULTLINE" $command nosuch:file
        expect_error 1 '/dev/null: ' "$FAULTLINE" $command /dev/null
done
expect_error 1 'No such file' "$FAULTLINE" put missing copy
expect_error 1 'Is a directory' "$FAULTLINE" put . copy
expect_error 1 'fifo: .*not a regular file' "$FAULTLINE" put fifo copy
expect_error 1 'Is a directory' "$FAULTLINE" put file .
expect_error 1 'fifo: ' "$FAULTLINE" put file fifo
expect_error 1 'same file' "$FAULTLINE" put file file
ln file link
expect_error 1 'same file' "$FAULTLINE" put file ./link
[ "$(wc -c <file)" -eq 10000 ] || fail "put of a file onto itself changed it"
expect_error 1 'No such file' "$FAULTLINE" put file missing/copy
[ ! -e copy ] || fail "put that failed made a file"
expect_error 1 'empty' "$FAULTLINE" touch empty
expect_error 1 'past the end' "$FAULTLINE" explain empty

if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
        chmod 755 .
        install -m 600 file secret
        install -m 644 file readonly
        # A copy where nobody can run it, whatever folder the build is in.
        install -m 755 "$FAULTLINE" ./copy-for-nobody || fail "copy the command"
        as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
        $as_nobody cat file >/dev/null || fail "nobody cannot read the test's folder"
        # Whoever may run it at all is served: "auto" finds an MMU that nobody has to permit.
        mmu=
        if $as_nobody ./copy-for-nobody --help >/dev/null 2>&1; then
                $as_nobody ./copy-for-nobody cat file >seen || fail "nobody is not served"
                cmp file seen || fail "nobody sees other bytes"
                expect_error 1 'secret: .*Permission denied' \
                        $as_nobody ./copy-for-nobody cat secret $mmu
                expect_error 1 'readonly: .*Permission denied' \
                        $as_nobody ./copy-for-nobody touch readonly --write $mmu
        fi
fi

# offsets and lengths
expect_error 1 'past the end' "$FAULTLINE" cat file --offset 10001
expect_error 1 'past the end' "$FAULTLINE" cat empty --offset 1
expect_error 2 'at least 1' "$FAULTLINE" cat file --length 0
expect_error 2 'largest file offset' "$FAULTLINE" cat file --offset 1 --length 9223372036854775807
expect_error 2 'largest file offset' "$FAULTLINE" cat file --offset 9223372036854775808
expect_error 2 'not a size' "$FAULTLINE" cat file --offset 99999999999999999999
expect_error 2 'not a size' "$FAULTLINE" cat file --offset -1
expect_error 1 'past the end' "$FAULTLINE" explain file --touch 10000
expect_error 2 'OFFSET' "$FAULTLINE" explain file --touch 4096:x
expect_error 2 'does not store' "$FAULTLINE" explain file --touch 0:w --via pread

# options
expect_error 2 'at least 256 KiB' "$FAULTLINE" cat file --cache 255K
expect_error 2 'not a size' "$FAULTLINE" cat file --cache much
expect_error 2 'not a size' "$FAULTLINE" cat file --cache 17179869184G
expect_error 2 'needs a value' "$FAULTLINE" cat file --cache
expect_error 2 'FAULTLINE_CACHE' env FAULTLINE_CACHE=12q "$FAULTLINE" cat file
expect_error 2 'one of auto|uffd' "$FAULTLINE" cat file --mmu pmap
expect_error 2 'one of' "$FAULTLINE" cat file --driver scsi
expect_error 2 'one of deadline' "$FAULTLINE" cat file --elevator lift
expect_error 2 'one of' "$FAULTLINE" cat file --policy best
expect_error 2 'least 4 KiB' "$FAULTLINE" cat file --readahead 0
expect_error 2 'least 4 KiB' "$FAULTLINE" cat file --readahead 4095
"$FAULTLINE" cat file --readahead 17592186044417K >seen && cmp -s file seen || fail "a window behind the end of the file"
expect_error 1 'power of two' "$FAULTLINE" cat file --policy solaris --pagesize 12K
expect_error 1 'of this policy is 4096' "$FAULTLINE" cat file --policy linux --pagesize 8K
for wrong in autoup autoup= autoup=x autoup=0 autoup=10s lotsfree=0 lotsfree=4T desfree=2K,lotsfree=1 \
        minfree=900 doiflush=0 pageout_reserve=9 slowscan=9,fastscan=8 autoup=5,tune_t_fsflushr=6 autoup=5,autoup=6 nosuch=1 maxpgio=0 \
        handspreadpages=1G min_percent_cpu=90,max_percent_cpu=50 max_percent_cpu=101 freebehind=2 dopageflush=2 =5 autoup=5, ; do
        expect_error 1 "choosing the policy's parameters: .*\(no parameter\|must\|twice\)" \
                "$FAULTLINE" cat file --cache 8M --policy solaris --tune "$wrong"
done
expect_error 1 'the policy adaptive has none' "$FAULTLINE" cat file --tune autoup=5
"$FAULTLINE" cat file --policy solaris --tune autoup=5,lotsfree=512K >seen || fail "parameters that are right"
expect_error 2 'spin' "$FAULTLINE" cat file --spin 5
expect_error 2 'unknown option' "$FAULTLINE" cat file --nonsense
expect_error 2 'unknown option' "$FAULTLINE" cat file -x
expect_error 2 'takes no value' "$FAULTLINE" cat file --stats=yes
expect_error 2 'no URI' "$FAULTLINE" cat
expect_error 2 'one URI' "$FAULTLINE" cat file file
expect_error 2 'FILE and URI' "$FAULTLINE" put file
expect_error 2 'unknown command' "$FAULTLINE" dog file
expect_error 2 'no command' "$FAULTLINE"
expect_error 1 'faults' "$FAULTLINE" cat file --faults nonsense
expect_error 1 'trace' "$FAULTLINE" cat file --trace missing/trace

# touch
expect_error 2 'must be seq' "$FAULTLINE" touch file --pattern zigzag
expect_error 2 'stride' "$FAULTLINE" touch file --pattern stride=0
expect_error 2 'at least 1' "$FAULTLINE" touch file --threads 0
expect_error 2 'at most' "$FAULTLINE" touch file --threads 100000
expect_error 2 'not a number' "$FAULTLINE" touch file --count 1e6
expect_error 2 'one of normal' "$FAULTLINE" touch file --advice soon
expect_error 1 'No such file' "$FAULTLINE" touch file --pattern list=missing
echo 3 >list
expect_error 1 'line 1: page 3 is past the end' "$FAULTLINE" touch file --pattern list=list
echo three >list
expect_error 1 'line 1: not a page' "$FAULTLINE" touch file --pattern list=list
: >list
expect_error 1 'no page numbers' "$FAULTLINE" touch file --pattern list=list
make_random tiny 15
expect_error 1 'too short' "$FAULTLINE" touch tiny --write

# an output that takes nothing, and input that cannot be read
if [ -c /dev/full ]; then
        "$FAULTLINE" cat file >/dev/full 2>err
        [ $? -eq 1 ] || fail "a full output is no error"
        grep -q 'standard output: write: No space' err || fail "full output: $(cat err)"
fi
"$FAULTLINE" cat file --faults eio@4096+4096 >out 2>err
[ $? -eq 1 ] || fail "EIO: exit status"
[ "$(wc -l <err)" -eq 1 ] || fail "EIO: more than one line: $(cat err)"
grep -q '^faultline: file: .*offset 4096: Input/output error' err || fail "EIO: $(cat err)"
head -c 4096 file >want
cmp -n 4096 out want || fail "EIO: the bytes before the error are missing"
exit 0
