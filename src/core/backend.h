/* Backends: where tensors live and which kernels work on them. "cpu" is always there, "cuda" in a
 * build with GPU=1.
 *
 * A backend is a table of functions without state. Its blocks are plain addresses: of host memory
 * for "cpu", of device memory for "cuda", where the host must not read them and goes through
 * copy_in and copy_out, or through host copies (host.h). A layer is written once for all of them:
 * dn_layer, its options and its state stay in host memory; the pointers in them that lead to values
 * (tensors, parameters, saved, cache, workspace) lead into the backend's blocks.
 *
 * How a layer gets a CUDA form:
 *   1. its line in layers.def is DN_LAYER(name), no longer DN_LAYER_CPU(name);
 *   2. cuda/<name>.cu defines `const dn_layer_kernels dn_<name>_cuda = {forward, backward}`,
 *      declared below, with the same signature and meaning as the CPU's pair: it may use
 *      layer->workspace_floats of workspace, adds to gradients, and need not wait for the device
 *      (work on one thread's tensors runs in the order in which it was asked for);
 *   3. what one output element is, is a DN_HD function in src/math/<name>.h that both forms call;
 *      options and state that both read are declared in src/layers/<name>.h.
 * Without step 2 the linker says that dn_<name>_cuda is undefined. A layer that is DN_LAYER_CPU has
 * no kernels here: `kernels` returns NULL, and the executor runs the CPU's pair between a copy_out
 * of what it reads and a copy_in of what it wrote (host_layer.c); its saved, cache and workspace
 * are host memory.
 *
 * Then `make nvcc-check` compiles and links it, `make host-cuda-check` runs its tests
 * (tests/test_cuda_layers.py) without a GPU and `make gpu-check` with one. How kernels are launched
 * and CUDA's errors reported: cuda/launch.h.
 *
 * Nothing else in src/ knows of CUDA.
 */
#ifndef DN_CORE_BACKEND_H
#define DN_CORE_BACKEND_H

#include "core/layer.h"
#include "math/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DN_SUM_SCRATCH = 1 << 20 };

typedef struct dn_plan_device dn_plan_device;
typedef struct dn_mask_device dn_mask_device;
typedef struct dn_survivor_device dn_survivor_device;

/* Marks in the work that threads ask a device for. */
typedef struct dn_marks {
    dn_status (*make)(void **mark);
    void (*free)(void *mark);        /* NULL is allowed */
    dn_status (*set)(void *mark);    /* behind all that this thread has asked for */
    dn_status (*follow)(void *mark); /* what this thread asks for from now on comes behind it */
    dn_status (*wait)(void *mark); /* until the work before it is done; of one never set, at once */
} dn_marks;

/* Adds up blocks of several devices of one process, each asked for by the thread that drives it,
 * from device to device. */
typedef struct dn_device_sums {
    const char *name;

    /* links (count): an end for each device's thread; fails where this cannot be had. */
    dn_status (*open)(const int32_t *devices, int32_t count, void **links);

    /* Every device's block = the sum, or mean, of them all, with the same bits; waits for it. It
     * gives up, and leaves the link of no more use, where `broken` says that another one will not
     * come. */
    dn_status (*sum)(void *link, float *block, int64_t count, bool mean,
                     bool (*broken)(const void *context), const void *context);

    /* By the thread itself; `broken`: what was asked for last may never end. */
    void (*close)(void *link, bool broken);
} dn_device_sums;

/* Decodes JPEG files on a device. */
typedef struct dn_device_jpeg {
    /* A decoder of the selected device, for one thread at a time; fails where this cannot be had.
     */
    dn_status (*open)(void **decoder);

    /* image->data, a block, = the file's pixels, row by row, RGB; waits for them. Not *done: it
     * does not know such files. */
    dn_status (*decode)(void *decoder, const void *bytes, size_t size, const dn_image *image,
                        bool *done);
    void (*close)(void *decoder);
} dn_device_jpeg;

/* How an image lies in its part of network->input.data, (c, h, w) floats: as such; or, for plans in
 * half precision, as pixels, (h, w, DN_PIXEL) of 16 bits, whose first c values are the image's and
 * whose others are 0. Those take no more room; what is behind them is not read. */
typedef enum dn_input_form { DN_INPUT_PLANAR, DN_INPUT_FP16, DN_INPUT_BF16 } dn_input_form;

enum { DN_PIXEL = 4 };

typedef struct dn_backend {
    const char *name;

    /* Devices that can be used. */
    int32_t (*count)(void);

    /* Makes device `index` (0: the first) the calling thread's; the error says what is there. */
    dn_status (*select)(int32_t index);

    /* dn_device_get_info of device `index`; *info is zeroed. */
    dn_status (*describe)(int32_t index, dn_device_info *info);

    /* Bytes that a network which holds `held` of them may take in all: of the CPU's, what the
     * machine has; else what is free now and `held`. */
    size_t (*room)(size_t held);

    /* A zeroed block, freed with `free`; *block is untouched on failure. */
    dn_status (*alloc)(size_t bytes, void **block);
    void (*free)(void *block); /* NULL is allowed */

    /* Host memory that copy_in reads fast: of the cuda backend's, pages that stay in place. */
    dn_status (*alloc_host)(size_t bytes, void **host);
    void (*free_host)(void *host); /* NULL is allowed */

    /* From and to host memory. copy_out waits until its values are there. */
    dn_status (*copy_in)(void *block, const void *host, size_t bytes);

    /* copy_in from memory of alloc_host that is not waited for: it stays as it is until a mark
     * behind. */
    dn_status (*send)(void *block, const void *host, size_t bytes);
    dn_status (*copy_out)(void *host, const void *block, size_t bytes);
    dn_status (*zero)(void *block, size_t bytes);

    /* copy_out to memory of alloc_host that is not waited for: its values are there behind a mark.
     */
    dn_status (*bring)(void *host, const void *block, size_t bytes);

    /* Between blocks of this backend. */
    dn_status (*copy)(void *to, const void *from, size_t bytes);

    /* The optimizer's arithmetic (math/optimizer.h); the arrays are blocks. `scratch`, a block of
     * DN_SUM_SCRATCH bytes, holds what a sum of squares needs on the way; *sum is the host's. */
    dn_status (*update)(const dn_update *update, int32_t threads);
    dn_status (*square_sum)(const float *values, int64_t count, int32_t threads, void *scratch,
                            double *sum);

    /* dn_image_to_input of pixels (image_h, image_w, 3), of BGR ones where `bgr`, into an image's
     * part of the input, both blocks; NULL: the host makes inputs. */
    dn_status (*letterbox)(const uint8_t *pixels, const dn_letterbox *letterbox, bool bgr,
                           dn_input_form form, float *out);

    /* An image's planar floats (c, plane) as pixels; `planar` and `out` are blocks. */
    dn_status (*to_pixels)(const float *planar, int32_t c, int64_t plane, dn_input_form form,
                           float *out);

    /* dn_network_accept, of the device that is selected; NULL: there is none. */
    dn_status (*accept)(const void *data, size_t bytes, uint64_t stream);

    /* *here: the address lies in memory of the device that is selected, where work of this backend
     * may read it; fails where it is another device's. NULL: it never does. */
    dn_status (*find)(const void *address, bool *here);

    /* What dn_detect does, all of it; not *done: the heads are to be asked one by one. NULL: so
     * always. */
    dn_status (*detect)(const dn_network *network, const dn_pass *pass, int32_t before,
                        int32_t image, dn_detections *detections, bool *done);

    /* The same for those who do not wait (survivors.h); NULL: they do. */
    const dn_survivor_device *survivors;

    /* NULL: whatever is asked for is done when its function returns. */
    const dn_marks *marks;

    /* Waits for all that this thread asked for, and reports what failed on the way. */
    dn_status (*synchronise)(void);

    /* The layer type's forward and backward on this backend; NULL: it runs on the CPU. */
    const dn_layer_kernels *(*kernels)(const dn_layer_type *type);

    /* How inference plans run in half precision (infer/plan.h); NULL: they do not. */
    const dn_plan_device *plan;

    /* NULL: blocks of several devices are added up by the host. */
    const dn_device_sums *sums;

    const dn_device_jpeg *jpeg; /* NULL: image files are decoded by the host */

    /* What it does with masks (mask_device.h); NULL: the host does it. */
    const dn_mask_device *masks;
} dn_backend;

/* "cpu" (also NULL and ""), "cuda", "cuda:1" or "auto" (the first GPU, or the CPU where none can be
 * used): *backend is its table, with that device selected; *index is the number. DN_ERROR_DEVICE
 * where the build or the machine has none. */
dn_status dn_backend_open(const char *device, const dn_backend **backend, int32_t *index);

/* GPUs that can be used; 0 in a build without them. */
int32_t dn_backend_gpus(void);

/* Whether a test wants the type to have no form but the CPU's (dn_test_without_form). */
bool dn_is_without_form(const dn_layer_type *type);

/* dn_<name>_cuda of every layer with a CUDA form. */
#define DN_LAYER(name) extern const dn_layer_kernels dn_##name##_cuda;
#define DN_LAYER_CPU(name)
#include "core/layers.def"
#undef DN_LAYER
#undef DN_LAYER_CPU

dn_status dn_cpu_describe(int32_t index, dn_device_info *info); /* cpu_info.c */

extern const dn_backend dn_cpu_backend;
extern const dn_backend dn_cuda_backend; /* cuda/backend.cu, GPU=1 only */

#ifdef __cplusplus
}
#endif

#endif
