/* Arrays in the memory of a GPU, and how other packages get at them: DLPack. See "arrays on a GPU"
 * in darknet.h.
 *
 * An array counts who holds it: the creator and every export; the last one frees the memory, in
 * whatever thread. A deleter of DLPack is this file's, plain C: whoever calls it, at whatever time,
 * needs no Python. The structs are DLPack's as its specification prints them (version 1.0, and the
 * unversioned one before).
 */
#include "infer/device_array.h"

#include "core/memory.h"

#include <stdatomic.h>

struct dn_device_array {
    const dn_backend *backend;
    dn_device_array_info info;
    atomic_int holders;
};

/* ---- The array ---- */

dn_status dn_device_array_make(const dn_backend *backend, const dn_device_array_info *info,
                               dn_device_array **out)
{
    int64_t bytes = info->item_size;
    dn_device_array *array = dn_alloc(sizeof *array);
    if (!array) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < info->axes; i++) bytes *= info->shape[i];
    array->backend = backend;
    array->info = *info;
    atomic_init(&array->holders, 1);
    const dn_status status = backend->alloc((size_t)bytes, &array->info.data);
    if (status == DN_OK)
        *out = array;
    else
        dn_free(array);
    return status;
}

void *dn_device_array_data(const dn_device_array *array)
{
    return array->info.data;
}

void dn_device_array_get(const dn_device_array *array, dn_device_array_info *info)
{
    *info = array->info;
}

void dn_device_array_release(dn_device_array *array)
{
    if (!array || atomic_fetch_sub(&array->holders, 1) != 1) return;
    array->backend->free(array->info.data);
    dn_free(array);
}

static dn_status check_info(const dn_device_array_info *info, int64_t *bytes)
{
    *bytes = info->item_size;
    if (info->axes < 1 || info->axes > 3)
        return dn_fail(DN_ERROR_ARGUMENT, "an array of %d axes; allowed are 1 to 3", info->axes);
    for (int32_t i = 0; i < info->axes; i++) {
        if (info->shape[i] < 0)
            return dn_fail(DN_ERROR_ARGUMENT, "axis %d of an array has the length %lld", i,
                           (long long)info->shape[i]);
        DN_TRY(dn_product(bytes, INT64_MAX, *bytes, info->shape[i], 1, 1));
    }
    return DN_OK;
}

dn_status dn_device_array_create(const char *device, const dn_device_array_info *info,
                                 const void *values, dn_device_array **out)
{
    const dn_backend *backend;
    dn_device_array *made;
    dn_device_array_info wanted = *info;
    int64_t bytes;
    DN_TRY(check_info(info, &bytes));
    DN_TRY(dn_backend_open(device, &backend, &wanted.device));
    if (!backend->masks)
        return dn_fail(DN_ERROR_DEVICE, "arrays on a GPU: the device is %s", backend->name);
    DN_TRY(dn_device_array_make(backend, &wanted, &made));
    dn_status status = bytes > 0 ? backend->copy_in(made->info.data, values, (size_t)bytes) : DN_OK;
    if (status == DN_OK) status = backend->synchronise();
    if (status == DN_OK)
        *out = made;
    else
        dn_device_array_release(made);
    return status;
}

/* ---- DLPack ---- */

enum { DN_DL_CUDA = 2, DN_DL_INT = 0, DN_DL_UINT = 1, DN_DL_FLOAT = 2, DN_DL_BOOL = 6 };

typedef struct dn_dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* strides in elements */
    uint64_t byte_offset;
} dn_dl_tensor;

typedef struct dn_dl_managed {
    dn_dl_tensor tensor;
    void *manager;
    void (*deleter)(struct dn_dl_managed *);
} dn_dl_managed;

typedef struct dn_dl_versioned {
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct dn_dl_versioned *);
    uint64_t flags;
    dn_dl_tensor tensor;
} dn_dl_versioned;

/* One export, in one block. */
typedef struct dn_export {
    union {
        dn_dl_managed plain;
        dn_dl_versioned versioned;
    } as;
    dn_device_array *array;
    int64_t shape[3], strides[3];
} dn_export;

static void end_export(dn_export *export)
{
    dn_device_array_release(export->array);
    dn_free(export);
}

static void delete_plain(dn_dl_managed *managed)
{
    end_export(managed->manager);
}

static void delete_versioned(dn_dl_versioned *managed)
{
    end_export(managed->manager);
}

static uint8_t code_of(char kind)
{
    return kind == 'b'   ? DN_DL_BOOL
           : kind == 'f' ? DN_DL_FLOAT
           : kind == 'i' ? DN_DL_INT
                         : DN_DL_UINT;
}

static dn_dl_tensor tensor_of(dn_export *export)
{
    const dn_device_array_info *info = &export->array->info;
    int64_t step = 1;
    for (int32_t i = info->axes - 1; i >= 0; i--) {
        export->shape[i] = info->shape[i];
        export->strides[i] = step;
        step *= info->shape[i];
    }
    return (dn_dl_tensor){.data = info->data,
                          .device_type = DN_DL_CUDA,
                          .device_id = info->device,
                          .ndim = info->axes,
                          .code = code_of(info->kind),
                          .bits = (uint8_t)(8 * info->item_size),
                          .lanes = 1,
                          .shape = export->shape,
                          .strides = export->strides};
}

dn_status dn_device_array_export(dn_device_array *array, bool versioned, void **managed)
{
    dn_export *export = dn_alloc(sizeof *export);
    if (!export) return DN_ERROR_MEMORY;
    export->array = array;
    atomic_fetch_add(&array->holders, 1);
    if (versioned)
        export->as.versioned = (dn_dl_versioned){.major = 1,
                                                 .manager = export,
                                                 .deleter = delete_versioned,
                                                 .tensor = tensor_of(export)};
    else
        export->as.plain = (dn_dl_managed){
            .tensor = tensor_of(export), .manager = export, .deleter = delete_plain};
    *managed = &export->as;
    return DN_OK;
}

/* ---- Python's capsules ---- */

static struct {
    int (*is_valid)(void *capsule, const char *name);
    void *(*pointer)(void *capsule, const char *name);
} python;

void dn_capsule_use(int (*is_valid)(void *capsule, const char *name),
                    void *(*pointer)(void *capsule, const char *name))
{
    python.is_valid = is_valid;
    python.pointer = pointer;
}

/* A consumer renames the capsule that it takes. */
void dn_capsule_end(void *capsule)
{
    static const char plain[] = "dltensor", versioned[] = "dltensor_versioned";
    if (python.is_valid(capsule, plain))
        end_export(((dn_dl_managed *)python.pointer(capsule, plain))->manager);
    else if (python.is_valid(capsule, versioned))
        end_export(((dn_dl_versioned *)python.pointer(capsule, versioned))->manager);
}
