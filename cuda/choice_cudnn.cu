/* The choices of cuDNN's algorithms that this process has made, and the memory in which they are
 * tried: see cudnn_choice.h.
 *
 * A list, searched from its start: a network has some dozens of shapes, and asks when it is made.
 */
#include "cudnn_choice.h"

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

typedef struct dn_choice {
    int32_t of[17]; /* geometry, images, groups, filters, device, pass, products */
    int algorithm;
    struct dn_choice *next;
} dn_choice;

static std::mutex mutex;
static dn_choice *choices;

static void fill(const dn_conv_args *args, dn_products products, int device, int pass, int32_t *of)
{
    const dn_conv_geometry *g = &args->geometry;
    const int32_t all[17] = {g->c,          g->h,        g->w,         g->size,
                             g->stride_x,   g->stride_y, g->pad,       g->dilation,
                             g->out_h,      g->out_w,    args->images, args->groups,
                             args->filters, device,      pass,         dn_cudnn_by_rules(),
                             products};
    memcpy(of, all, sizeof all);
}

bool dn_cudnn_by_rules(void)
{
    const char *asked = getenv("DARKNET_CUDNN");
    return asked && strcmp(asked, "rules") == 0;
}

bool dn_cudnn_recall(const dn_conv_args *args, dn_products products, int device, int pass,
                     int *algorithm)
{
    int32_t of[17];
    fill(args, products, device, pass, of);
    const std::lock_guard<std::mutex> lock(mutex);
    for (const dn_choice *choice = choices; choice; choice = choice->next) {
        if (memcmp(choice->of, of, sizeof of) == 0) {
            *algorithm = choice->algorithm;
            return true;
        }
    }
    return false;
}

void dn_cudnn_keep(const dn_conv_args *args, dn_products products, int device, int pass,
                   int algorithm)
{
    dn_choice *made = (dn_choice *)malloc(sizeof *made);
    if (!made) return;
    fill(args, products, device, pass, made->of);
    made->algorithm = algorithm;
    const std::lock_guard<std::mutex> lock(mutex);
    made->next = choices;
    choices = made;
}

static int64_t rounded(int64_t floats) /* to 256 bytes, as cudaMalloc aligns */
{
    return (floats + 63) / 64 * 64;
}

bool dn_cudnn_trial_make(const dn_conv_args *args, dn_cudnn_trial *trial)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t images = args->images > 0 ? args->images : 1, of_images = images * args->groups;
    const int64_t in = rounded(of_images * g->c * g->h * g->w);
    const int64_t out = rounded(of_images * args->filters * g->out_h * g->out_w);
    const int64_t filters = (int64_t)args->groups * args->filters;
    const int64_t weights = rounded(filters * g->c * g->size * g->size);
    const size_t bytes = sizeof(float) * (size_t)(in + weights + out);
    void *block = nullptr;
    trial->bytes = (size_t)DN_CUDNN_WORKSPACE;
    while (cudaMalloc(&block, bytes + trial->bytes) != cudaSuccess) {
        cudaGetLastError(); /* or the next launch would report this one */
        if (trial->bytes == 0) return false;
        trial->bytes = trial->bytes > (size_t)1 << 24 ? trial->bytes / 8 : 0;
    }
    if (cudaMemsetAsync(block, 0, bytes) != cudaSuccess) cudaGetLastError();
    trial->in = (float *)block;
    trial->weights = trial->in + in;
    trial->out = trial->weights + weights;
    trial->workspace = trial->out + out;
    return true;
}

void dn_cudnn_trial_free(dn_cudnn_trial *trial)
{
    cudaFree(trial->in);
}
