/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_faults.c - the parser of --faults: what it lets pass makes a device.
 */
#include <errno.h>
#include <string.h>

#include "driver/driver.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct trace trace;
        static struct driver_env env;
        char *spec = fuzz_text(data, size);
        struct device *ram, *dev;
        int err = faults_check(spec);

        if (!env.loop) {
                trace_init(&trace);
                must(!loop_create(&env.loop, 1, "fuzz"));
                env.trace = &trace;
                env.depth = 4;
        }
        must(err == 0 || err == -EINVAL);
        must(!device_open_ram(&env, 65536, &ram));
        if (err) {
                must(device_wrap_faulty(&env, ram, spec, &dev) == err);
                device_close(ram);
        } else if (strstr(spec, "delay")) {
                /* With a power cut its close would take as long as was asked for. */
                device_close(ram);
        } else {
                must(!device_wrap_faulty(&env, ram, spec, &dev));
                device_close(dev);
        }
        free(spec);
        return 0;
}
