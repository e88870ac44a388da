/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_machine.c - what the figures were measured on.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"

/* The value of the first line of `path` that begins with `key`; the whole line for "". */
static bool find_line(const char *path, const char *key, char *value, size_t room)
{
        FILE *f = fopen(path, "re");
        char line[1024];
        bool found = false;

        while (f && !found && fgets(line, sizeof(line), f)) {
                const char *text = line + strlen(key);

                if (strncmp(line, key, strlen(key)) != 0)
                        continue;
                text += strspn(text, " \t:");
                snprintf(value, room, "%.*s", (int)strcspn(text, "\n"), text);
                found = true;
        }
        if (f)
                fclose(f);
        return found;
}

/* Model of ARM machines and others is not in cpuinfo: then the architecture must do. */
static void find_cpu(char *cpu, size_t room)
{
        struct utsname system;

        if (find_line("/proc/cpuinfo", "model name", cpu, room))
                return;
        snprintf(cpu, room, "%s", uname(&system) ? "unknown" : system.machine);
}

/* "/dev/vda ext4": the longest mount that the path lies under. */
static void find_device(const char *path, char *device, char *type)
{
        FILE *mounts = fopen("/proc/self/mounts", "re");
        char line[4096], real[4096];
        size_t longest = 0;

        strcpy(device, "unknown");
        strcpy(type, "unknown");
        if (!realpath(path, real))
                real[0] = '\0';
        while (mounts && fgets(line, sizeof(line), mounts)) {
                char from[256], where[2048], kind[64];
                size_t length;

                if (sscanf(line, "%255s %2047s %63s", from, where, kind) != 3)
                        continue;
                length = strlen(where);
                if (strncmp(real, where, length) != 0 || length < longest ||
                    (length > 1 && real[length] && real[length] != '/'))
                        continue;
                longest = length;
                strcpy(device, from);
                strcpy(type, kind);
        }
        if (mounts)
                fclose(mounts);
}

/* The largest read-ahead window of the device below the file, in KiB; 0: cannot be told. */
static uint64_t find_readahead(const char *path)
{
        char name[128], text[64];
        struct stat st;

        if (stat(path, &st))
                return 0;
        snprintf(name, sizeof(name), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
                 minor(st.st_dev));
        return find_line(name, "", text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

json_t *bench_machine(const char *path)
{
        char cpu[256], device[256], type[64];
        struct utsname system = { 0 };
        struct sysinfo info = { 0 };
        json_t *object = json_object();

        find_cpu(cpu, sizeof(cpu));
        find_device(path, device, type);
        uname(&system);
        sysinfo(&info);
        json_object_set_new(object, "cpu", json_string(cpu));
        json_object_set_new(object, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
        json_object_set_new(object, "kernel", json_string(system.release));
        json_object_set_new(object, "memory_bytes",
                            json_integer((json_int_t)info.totalram * info.mem_unit));
        json_object_set_new(object, "device", json_string(device));
        json_object_set_new(object, "file_system", json_string(type));
        json_object_set_new(object, "read_ahead_kb",
                            json_integer((json_int_t)find_readahead(path)));
#ifndef NDEBUG
        json_object_set_new(object, "debug", json_true());
#else
        json_object_set_new(object, "debug", json_false());
#endif
        return object;
}
