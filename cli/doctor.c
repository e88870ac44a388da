/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor.c - `faultline doctor [PATH]`: what this machine allows, what a fault costs here, and the
 * one command that would improve it most. It needs no permission and changes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "doctor.h"
#include "util/module.h"

/* How a line begins: all is well, it works with less, it does not work. */
enum verdict { WELL, LESS, NOT };

static void line(enum verdict verdict, const char *what, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void line(enum verdict verdict, const char *what, const char *format, ...)
{
        static const char *const word[] = { [WELL] = "ok", [LESS] = "less", [NOT] = "no" };
        va_list args;

        printf("%-4s  %-14s  ", word[verdict], what);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        putchar('\n');
}

static const char *reason(int error)
{
        return error ? strerror(error) : "yes";
}

static const char *text_limit(char *buf, uint64_t bytes)
{
        return bytes == UINT64_MAX ? strcpy(buf, "none") : text_bytes(buf, bytes);
}

static void print_uffd(const struct findings *f)
{
        const struct uffd_findings *u = &f->uffd;
        bool full = !u->device || !u->call;
        char value[24] = "unknown";

        if (u->sysctl != UNKNOWN)
                snprintf(value, sizeof(value), "%ld", u->sysctl);
        line(full       ? WELL
             : !u->user ? LESS
                        : NOT,
             "userfaultfd", "%s",
             full       ? "serves all faults, those inside system calls too"
             : !u->user ? "only faults of user mode: system calls on mapped memory fail"
                        : "not permitted in any way");
        printf("        /dev/userfaultfd: %s\n        system call: %s\n"
               "        user mode only: %s\n        vm.unprivileged_userfaultfd: %s\n",
               reason(u->device), reason(u->call), reason(u->user), value);
        if (!u->asked)
                return;
        if (doctor_has_features(u))
                line(WELL, "features", "all that are needed (0x%" PRIx64 ")", u->features);
        for (unsigned i = 0; i < doctor_nr_features; i++)
                if (!(u->features & doctor_features[i].bit))
                        line(NOT, "features", "%s is missing", doctor_features[i].name);
}

static void print_io(const struct findings *f)
{
        const struct direct_findings *d = &f->direct;
        char disabled[64] = "";

        if (f->uring_disabled != UNKNOWN)
                snprintf(disabled, sizeof(disabled), " (kernel.io_uring_disabled=%ld)",
                         f->uring_disabled);
        line(f->uring ? LESS : WELL, "io_uring", "%s%s%s", reason(f->uring), disabled,
             f->uring                    ? "; a pool of threads does the I/O"
             : f->uring_files            ? "; files and memory are not registered"
             : f->uring_memory == ENOMEM ? "; memory is not registered (RLIMIT_MEMLOCK)"
             : f->uring_memory           ? "; memory is not registered"
                                         : "; files and memory registered");
        if (d->error)
                line(LESS, "O_DIRECT", "%s: %s (%s)", f->path,
                     d->error == EOPNOTSUPP ? "not on this file system" : strerror(d->error),
                     *d->type ? d->type : "file system not known");
        else if (d->offset_align)
                line(WELL, "O_DIRECT", "%s: yes (%s on %s; memory aligned to %u, offsets to %u)",
                     f->path, d->type, d->mount, d->memory_align, d->offset_align);
        else
                line(WELL, "O_DIRECT", "%s: yes (%s on %s)", f->path, d->type, d->mount);
}

static void print_limits(const struct findings *f)
{
        static const char *const modes[] = { "off", "strict", "a filter is on" };
        const struct cgroup_room *g = &f->group;
        char a[TEXT_MAX], b[TEXT_MAX];

        line(WELL, "huge pages", "shmem_enabled: %s; page frames are 4 KiB",
             *f->shmem_huge ? f->shmem_huge : "unknown");
        line(WELL, "memlock", "soft limit %s, hard limit %s; frames do not count against it",
             text_limit(a, f->memlock_soft), text_limit(b, f->memlock_hard));
        line(f->address_space == UINT64_MAX ? WELL : LESS, "address space", "limit %s",
             text_limit(a, f->address_space));
        line(f->max_map_count >= 0 && f->max_map_count < 65530 ? LESS : WELL, "mappings",
             "vm.max_map_count=%ld; this process has %ld", f->max_map_count, f->maps);
        if (g->limit == UINT64_MAX)
                line(WELL, "cgroup", "%s", g->version ? "no limit on memory" : "not mounted");
        else
                line(WELL, "cgroup", "limit %s, room for %s (%s)", text_bytes(a, g->limit),
                     text_bytes(b, g->room), g->path);
        line(WELL, "seccomp", "%s",
             f->seccomp >= 0 && f->seccomp < 3 ? modes[f->seccomp] : "unknown");
}

/* Parts that are loaded when a name asks for them, and which those are. */
static const struct {
        const char *name, *serves;
} modules[] = {
        { "ext4", "ext4:" },
        { "nbd", "nbd: and nbd+unix:" },
        { "squashfs", "squashfs:" },
};

static void print_modules(void)
{
        char label[32], path[MODULE_PATH_MAX];

        for (unsigned i = 0; i < ARRAY_SIZE(modules); i++) {
                snprintf(label, sizeof(label), "module %s", modules[i].name);
                if (module_find(modules[i].name, path))
                        line(LESS, label, "not installed: there is no %s; %s cannot be opened",
                             path, modules[i].serves);
                else
                        line(WELL, label, "%s", path);
        }
}

static void print_mmu(const struct engine_findings *e, const struct mmu_findings *m)
{
        bool pager = !strcmp(m->name, "uffd");
        char label[16], a[TEXT_MAX], b[TEXT_MAX];

        snprintf(label, sizeof(label), "mmu %s", m->name);
        if (!m->opens)
                line(NOT, label, "does not open");
        else if (!m->fault_ns)
                line(LESS, label, "opens, but a fault could not be measured");
        else
                line(pager && e->full ? WELL : LESS, label, "%s; one fault %s; the kernel's own %s",
                     pager && e->full ? "all faults" : "faults of user mode only",
                     text_time(a, m->fault_ns), text_time(b, e->kernel_ns));
}

static void print_engine(const struct findings *f)
{
        const struct engine_findings *e = &f->engine;
        char a[TEXT_MAX], b[TEXT_MAX];

        if (!*e->automatic)
                line(NOT, "mmu auto", "%s", e->why);
        else
                line(e->full ? WELL : LESS, "mmu auto", "takes %s%s", e->automatic,
                     e->full ? "" : ": system calls on pages that are not mapped fail (EFAULT)");
        for (unsigned i = 0; i < DOCTOR_MMUS; i++)
                print_mmu(e, &e->mmu[i]);
        if (!*e->automatic)
                return;
        line(WELL, "default cache", "%s", text_bytes(a, e->cache));
        if (*e->tune)
                line(WELL, "policy", "%s", e->tune);
        if (!e->fault_ns)
                return;
        line(WELL, "one fault", "%s; the kernel's own %s (median of minor faults)",
             text_time(a, e->fault_ns), text_time(b, e->kernel_ns));
        if (e->spin_ns)
                printf("        with --spin on: %s\n", text_time(a, e->spin_ns));
}

static int print_text(const struct findings *f, const struct advice *advice)
{
        print_uffd(f);
        print_io(f);
        print_limits(f);
        print_modules();
        print_engine(f);
        if (*advice->command)
                printf("\nWhat would improve it most (%s):\n  %s\n", advice->why, advice->command);
        else
                printf("\n%s\n", f->engine.full ? "Nothing to improve."
                                                : "No command here would improve it.");
        return fflush(stdout) ? fail("doctor", "print", "%s", strerror(errno)) : 0;
}

/* --- as JSON ------------------------------------------------------------------------------ */

static json_t *json_or_null(bool known, uint64_t n)
{
        return known ? json_integer((json_int_t)n) : json_null();
}

static json_t *uffd_json(const struct uffd_findings *u)
{
        json_t *present = json_array(), *missing = json_array();

        for (unsigned i = 0; i < doctor_nr_features; i++)
                json_array_append_new(u->features & doctor_features[i].bit ? present : missing,
                                      json_string(doctor_features[i].name));
        return json_pack("{s:b, s:b, s:b, s:o, s:o, s:o}", "device", !u->device, "system_call",
                         !u->call, "user_mode_only", !u->user, "unprivileged_userfaultfd",
                         json_or_null(u->sysctl != UNKNOWN, (uint64_t)u->sysctl), "features",
                         present, "features_missing", missing);
}

static json_t *io_json(const struct findings *f)
{
        const struct direct_findings *d = &f->direct;

        return json_pack("{s:b, s:b, s:b, s:o, s:s, s:s, s:b, s:s, s:i, s:i}", "io_uring",
                         !f->uring, "io_uring_files", !f->uring && !f->uring_files,
                         "io_uring_memory", !f->uring && !f->uring_memory, "io_uring_disabled",
                         json_or_null(f->uring_disabled != UNKNOWN, (uint64_t)f->uring_disabled),
                         "path", f->path, "file_system", d->type, "o_direct", !d->error,
                         "o_direct_reason", d->error ? strerror(d->error) : "", "memory_align",
                         (int)d->memory_align, "offset_align", (int)d->offset_align);
}

static json_t *limits_json(const struct findings *f)
{
        const struct cgroup_room *g = &f->group;

        return json_pack(
                "{s:s, s:o, s:o, s:o, s:o, s:i, s:s, s:o, s:o, s:o}", "shmem_enabled",
                f->shmem_huge, "memlock",
                json_or_null(f->memlock_soft != UINT64_MAX, f->memlock_soft), "address_space",
                json_or_null(f->address_space != UINT64_MAX, f->address_space), "max_map_count",
                json_or_null(f->max_map_count != UNKNOWN, (uint64_t)f->max_map_count), "maps",
                json_or_null(f->maps != UNKNOWN, (uint64_t)f->maps), "cgroup_version", g->version,
                "cgroup", g->path, "cgroup_limit", json_or_null(g->limit != UINT64_MAX, g->limit),
                "cgroup_room", json_or_null(g->room != UINT64_MAX, g->room), "seccomp",
                json_or_null(f->seccomp != UNKNOWN, (uint64_t)f->seccomp));
}

static json_t *engine_json(const struct engine_findings *e)
{
        json_t *faults = json_object();

        for (unsigned i = 0; i < DOCTOR_MMUS; i++)
                json_object_set_new(faults, e->mmu[i].name,
                                    json_or_null(e->mmu[i].fault_ns, e->mmu[i].fault_ns));
        return json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "mmu_auto",
                         *e->automatic ? json_string(e->automatic) : json_null(), "mmu_uffd",
                         e->full           ? json_string("all faults")
                         : e->mmu[0].opens ? json_string("user mode only")
                                           : json_null(),
                         "refusal", e->why, "default_cache", json_or_null(*e->automatic, e->cache),
                         "fault_ns", json_or_null(e->fault_ns, e->fault_ns), "fault_spin_ns",
                         json_or_null(e->spin_ns, e->spin_ns), "fault_kernel_ns",
                         json_or_null(e->kernel_ns, e->kernel_ns), "fault_mmu_ns", faults, "tune",
                         e->tune);
}

static json_t *modules_json(void)
{
        json_t *all = json_object();
        char path[MODULE_PATH_MAX];

        for (unsigned i = 0; i < ARRAY_SIZE(modules); i++)
                json_object_set_new(all, modules[i].name,
                                    module_find(modules[i].name, path) ? json_null()
                                                                       : json_string(path));
        return all;
}

static int print_doctor_json(const struct findings *f, const struct advice *advice)
{
        json_t *command = *advice->command ? json_string(advice->command) : json_null();
        json_t *all = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "userfaultfd",
                                uffd_json(&f->uffd), "io", io_json(f), "limits", limits_json(f),
                                "modules", modules_json(), "engine", engine_json(&f->engine),
                                "command", command, "why", advice->why);

        return print_json(stdout, all) ? 0 : fail("doctor", "print", "%s", strerror(ENOMEM));
}

static int run(struct options *o, int argc, char **argv)
{
        struct findings found = { .path = "." };
        struct advice advice;
        int status = options_parse(o, NULL, &argc, argv);

        if (status)
                return status;
        if (o->help)
                return print_command_help(o->command);
        if (argc > 2)
                return fail_usage(o, "%s: one PATH only", argv[2]);
        if (argc == 2)
                found.path = argv[1];
        status = doctor_path(&found);
        if (status)
                return status;
        doctor_probe(&found);
        doctor_engine(&found, o);
        doctor_advice(&found, &advice);
        return o->json ? print_doctor_json(&found, &advice) : print_text(&found, &advice);
}

const struct command command_doctor = {
        .name = "doctor",
        .summary = "what this machine allows, and the one command that would improve it",
        .help = "doctor [PATH] [OPTIONS]\n"
                "\n"
                "Asks the machine what an engine needs: userfaultfd and by which way, io_uring,\n"
                "O_DIRECT on PATH (a file or a folder; the current one), limits; opens an engine\n"
                "with each MMU and measures one minor fault beside the kernel's own. Needs no\n"
                "permission, changes nothing, and ends with the command that would help most.\n"
                "A line begins with ok, less (works, with less) or no.\n"
                "\n"
                "Examples:\n"
                "  faultline doctor\n"
                "  faultline doctor /mnt/disk/data.bin\n"
                "  faultline doctor --json | jq .command\n",
        .run = run,
};
