/* SPDX-License-Identifier: Apache-2.0
 *
 * device.c - what holds for every device, whatever its driver.
 */
#include "driver/device.h"

#include "driver/file.h"
#include "util/lock.h"

static void begin(struct device *dev, struct driver_io *io, const char *by)
{
        struct trace *t = dev->env ? dev->env->trace : NULL;

        lock_assert_below(LOCK_EVICT);
        io->dev = dev;
        io->next = NULL;
        io->result = 0;
        if (t)
                trace_emit(t, DRIVER, io->fault, io->object, io->offset, io->len, io->op,
                           trace_name(by));
}

void device_submit(struct device *dev, struct driver_io *io)
{
        begin(dev, io, dev->ops->name);
        dev->ops->submit(dev, io);
}

void device_perform(struct device *dev, struct driver_io *io)
{
        lock_assert_may_sleep();
        begin(dev, io, io->op == IO_FLUSH ? "fdatasync" : "preadv");
        dev->ops->perform(dev, io);
}

struct driver_batch *device_batch_begin(struct device *dev)
{
        return dev->ops->batch_begin ? dev->ops->batch_begin(dev) : NULL;
}

void device_commit(struct device *dev)
{
        if (dev->ops->commit)
                dev->ops->commit(dev);
}

void device_close(struct device *dev)
{
        dev->ops->close(dev);
}

int device_fd(const struct device *dev)
{
        return dev->ops->fd ? dev->ops->fd(dev) : -1;
}

int device_opened(struct driver_env *env, struct device *dev, struct device **out)
{
        int err;

        if (!env->faults || !env->faults[0]) {
                *out = dev;
                return 0;
        }
        err = device_wrap_faulty(env, dev, env->faults, out);
        if (err)
                device_close(dev);
        return err;
}

void driver_env_destroy(struct driver_env *env)
{
        uring_destroy(env);
        posix_destroy(env);
}
