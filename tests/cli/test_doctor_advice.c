/* SPDX-License-Identifier: Apache-2.0
 *
 * test_doctor_advice.c - machines that are not at hand: which command is named for each.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "doctor.h"

#define NEEDED (1ull << 0 | 1ull << 2 | 1ull << 8 | 1ull << 10 | 1ull << 12 | 1ull << 14)

/* A machine that allows everything; spinning gains little. */
static struct findings healthy(void)
{
        return (struct findings){
                .path = "/data",
                .uffd = { .asked = true, .features = NEEDED },
                .max_map_count = 65530,
                .address_space = UINT64_MAX,
                .group = { .version = 2, .limit = UINT64_MAX, .room = UINT64_MAX },
                .engine = { .automatic = "uffd",
                            .full = true,
                            .fault_ns = 10000,
                            .spin_ns = 9000,
                            .kernel_ns = 1000 },
        };
}

static struct findings refused(int device, int call)
{
        struct findings f = healthy();

        f.engine.automatic[0] = 0;
        f.engine.full = false;
        f.uffd.device = device;
        f.uffd.call = call;
        return f;
}

static void expect(const struct findings *f, const char *words)
{
        struct advice advice;

        doctor_advice(f, &advice);
        if (!words) {
                cr_assert_str_empty(advice.command);
                return;
        }
        cr_assert(strstr(advice.command, words), "\"%s\" has no \"%s\"", advice.command, words);
        cr_assert(*advice.why);
}

Test(doctor_advice, a_healthy_machine_needs_nothing)
{
        struct findings f = healthy();

        expect(&f, NULL);
}

Test(doctor_advice, a_device_that_is_there_is_opened_up)
{
        struct findings f = refused(EACCES, EPERM);

        expect(&f, "chmod 666 /dev/userfaultfd");
}

Test(doctor_advice, without_a_device_the_sysctl)
{
        struct findings f = refused(ENOENT, EPERM);

        expect(&f, "vm.unprivileged_userfaultfd=1");
}

Test(doctor_advice, a_filter_is_not_lifted_by_a_sysctl)
{
        struct findings f = refused(ENOENT, EPERM);

        f.root = true;
        f.seccomp = 2;
        expect(&f, "--security-opt");
        f = refused(ENOENT, ENOSYS);
        expect(&f, "grep USERFAULTFD");
}

Test(doctor_advice, a_missing_feature_wants_another_kernel)
{
        struct findings f = refused(0, 0);

        f.uffd.features = NEEDED & ~(1ull << 14);
        expect(&f, "linux-image");
}

Test(doctor_advice, faults_come_before_io)
{
        struct findings f = refused(EACCES, EPERM);

        f.direct.error = EOPNOTSUPP;
        f.uring = EPERM;
        f.uring_disabled = 2;
        expect(&f, "chmod");
        f.engine.full = true;
        expect(&f, "/data");
        f.direct.error = 0;
        expect(&f, "kernel.io_uring_disabled=0");
        f.uring_disabled = 0;
        f.seccomp = 2;
        expect(&f, "seccomp=");
}

Test(doctor_advice, hardly_any_room_in_the_group)
{
        struct findings f = healthy();

        f.group = (struct cgroup_room){ .version = 2, .limit = 64 << 20, .room = 8 << 20 };
        strcpy(f.group.path, "/sys/fs/cgroup/x");
        expect(&f, "echo 134217728 | sudo tee /sys/fs/cgroup/x/memory.max");
        f.group.version = 1;
        expect(&f, "/sys/fs/cgroup/x/memory.limit_in_bytes");
        f.group.room = 32 << 20;
        expect(&f, NULL);
}

Test(doctor_advice, few_addresses)
{
        struct findings f = refused(0, 0);

        f.address_space = 64 << 20;
        expect(&f, "ulimit -v");
        strcpy(f.engine.automatic, "uffd"); /* it is enough */
        f.engine.full = true;
        expect(&f, NULL);
}

Test(doctor_advice, few_mappings)
{
        struct findings f = healthy();

        f.max_map_count = 1000;
        expect(&f, "vm.max_map_count=65530");
        f.max_map_count = UNKNOWN;
        expect(&f, NULL);
}

Test(doctor_advice, spinning_when_it_gains)
{
        struct findings f = healthy();

        f.engine.spin_ns = 5000;
        expect(&f, "FAULTLINE_SPIN=on");
        f.engine.spin_ns = 0; /* asked for already */
        expect(&f, NULL);
}
