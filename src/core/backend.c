/* The backends of this build, and the CPU's. See backend.h. */
#include "core/backend.h"

#include "core/memory.h"
#include "core/option.h"

#include <stdatomic.h>
#include <string.h>

static int32_t cpu_count(void)
{
    return 1;
}

static dn_status cpu_select(int32_t index)
{
    if (index == 0) return DN_OK;
    return dn_fail(DN_ERROR_DEVICE, "device cpu:%d: there is only cpu:0", index);
}

static size_t cpu_room(size_t held)
{
    (void)held;
    return dn_physical_memory();
}

static dn_status cpu_alloc(size_t bytes, void **block)
{
    void *made = dn_alloc(bytes);
    if (!made) return DN_ERROR_MEMORY;
    *block = made;
    return DN_OK;
}

static dn_status cpu_copy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return DN_OK;
}

static dn_status cpu_zero(void *block, size_t bytes)
{
    memset(block, 0, bytes);
    return DN_OK;
}

static dn_status cpu_update(const dn_update *update, int32_t threads)
{
    dn_update_run(update, threads);
    return DN_OK;
}

static dn_status cpu_square_sum(const float *values, int64_t count, int32_t threads, void *scratch,
                                double *sum)
{
    (void)scratch;
    *sum = dn_square_sum(values, count, threads);
    return DN_OK;
}

static dn_status cpu_synchronise(void)
{
    return DN_OK;
}

static const dn_layer_kernels *cpu_kernels(const dn_layer_type *type)
{
    return &type->cpu;
}

const dn_backend dn_cpu_backend = {
    .name = "cpu",
    .count = cpu_count,
    .select = cpu_select,
    .describe = dn_cpu_describe,
    .room = cpu_room,
    .alloc = cpu_alloc,
    .free = dn_free,
    .alloc_host = cpu_alloc,
    .free_host = dn_free,
    .copy_in = cpu_copy,
    .send = cpu_copy,
    .copy_out = cpu_copy,
    .zero = cpu_zero,
    .bring = cpu_copy,
    .copy = cpu_copy,
    .update = cpu_update,
    .square_sum = cpu_square_sum,
    .synchronise = cpu_synchronise,
    .kernels = cpu_kernels,
};

static const dn_backend *const backends[] = {
    &dn_cpu_backend,
#ifdef DN_GPU
    &dn_cuda_backend,
#endif
    NULL,
};

static const dn_backend *find(const char *name, size_t length)
{
    for (int32_t i = 0; backends[i]; i++)
        if (strlen(backends[i]->name) == length && strncmp(backends[i]->name, name, length) == 0)
            return backends[i];
    return NULL;
}

static bool has_gpu(void)
{
    const dn_backend *cuda = find("cuda", strlen("cuda"));
    return cuda && cuda->select(0) == DN_OK;
}

int32_t dn_backend_gpus(void)
{
    const dn_backend *cuda = find("cuda", strlen("cuda"));
    return cuda ? cuda->count() : 0;
}

dn_status dn_backend_open(const char *device, const dn_backend **backend, int32_t *number)
{
    if (!device || !*device) device = "cpu";
    if (strcmp(device, "auto") == 0) device = has_gpu() ? "cuda" : "cpu";
    const size_t length = strcspn(device, ":");
    int64_t index = 0;
    if (device[length] && (!dn_parse_int(device + length + 1, &index) || index < 0 || index > 1023))
        return dn_fail(DN_ERROR_DEVICE, "device %s: a number 0..1023 follows the colon", device);
    const dn_backend *found = find(device, length);
    if (!found && length == 4 && strncmp(device, "cuda", length) == 0)
        return dn_fail(DN_ERROR_DEVICE,
                       "device %s: this library was built without GPU=1 and runs on the CPU only",
                       device);
    if (!found)
        return dn_fail(DN_ERROR_DEVICE, "device %s: devices are cpu, cuda, cuda:N and auto",
                       device);
    DN_TRY(found->select((int32_t)index));
    *backend = found;
    *number = (int32_t)index;
    return DN_OK;
}

dn_status dn_device_check(const char *device)
{
    const dn_backend *backend;
    int32_t index;
    return dn_backend_open(device, &backend, &index);
}

dn_status dn_device_get_info(const char *device, dn_device_info *info)
{
    const dn_backend *backend;
    int32_t index;
    DN_TRY(dn_backend_open(device, &backend, &index));
    dn_device_info found = {0};
    DN_TRY(backend->describe(index, &found));
    *info = found;
    return DN_OK;
}

static _Atomic(const dn_layer_type *) without_form;

bool dn_is_without_form(const dn_layer_type *type)
{
    return atomic_load(&without_form) == type;
}

dn_status dn_test_without_form(const char *layer_type)
{
    const dn_layer_type *type = layer_type ? dn_layer_type_find(layer_type) : NULL;
    if (layer_type && !type) return dn_fail(DN_ERROR_ARGUMENT, "no layer type %s", layer_type);
    atomic_store(&without_form, type);
    return DN_OK;
}
