/* Convolutions of the inference plan in half precision: one call, and the forms that compute it.
 *
 * out = f2(f1(W * in + shift) + add), sums in float. The product is a matrix product whose rows are
 * output pixels and whose columns are filters; the rows of the left factor, windows of the input,
 * are read where they lie. A form is a tile of that product (half_tile.h, and for one generation
 * of GPUs half_hopper.h), for one block of threads, and into how many parts the sum over taps and
 * channels is split where the map is too small to fill a GPU; the parts are added in order, so that
 * a form gives the same bits every time. Which form a call gets: half_choice.cu.
 */
#ifndef DN_CUDA_HALF_CONV_H
#define DN_CUDA_HALF_CONV_H

#include "infer/plan.h"
#include "infer/tuning.h"
#include "launch.h"

/* What the backend's table says of plans (plan.cu). */
extern "C" const dn_plan_device dn_cuda_plan_device;

/* A [yolo] behind a convolution, whose output is then that layer's. */
typedef struct dn_half_head {
    int32_t entries; /* of a slot: 5 + classes; 0: there is no such layer */
    bool new_coords;
    float scale_x_y;
} dn_half_head;

typedef struct dn_half_conv {
    bool bf16;
    int32_t images, groups;
    int32_t c, h, w; /* of one group of the input; c is a multiple of 8 unless pixels_in */
    int32_t size, stride_x, stride_y, pad, dilation, out_h, out_w;
    int32_t filters;     /* of one group */
    int32_t enlargement; /* n: filter (y * n + x) * (filters / n^2) + f of a pixel is filter f of
                            pixel (y, x) of the n x n that it becomes; 1: none */
    int32_t repeats; /* n: every output pixel is written as n x n beside each other; 1: as one */
    dn_activation activation, after_add;
    bool depthwise;    /* filter f reads channel f alone; groups is 1, k counts the taps */
    bool pixels_in;    /* the input is the network's, as pixels (dn_input_form) */
    bool planar_out;   /* the output is float (images, filters, out_h, out_w) */
    dn_half_head head; /* of a planar output */
    int32_t k;         /* values of a filter: taps x channels, a multiple of 8 */
    const void *in;    /* (images, h, w, in_pixel), at its first channel */
    const void *add;   /* (images, out_h, out_w, add_pixel), or NULL */
    void *out;         /* (images, out_h, out_w, out_pixel) */
    int64_t in_image;  /* values from one image to the next */
    int64_t in_pixel, add_pixel, out_pixel; /* from one pixel to the next */
    const void *weights;                    /* (groups * filters, k); depthwise: (k, c) */
    const float *shift;                     /* (groups * filters, and 7 zeros) */
} dn_half_conv;

/* Where parts of sums, and what cuDNN needs, lie for the time of a call; on the device. */
enum { DN_HALF_WORKSPACE = 48 << 20, DN_HALF_COUNTERS = 1 << 14 };

typedef struct dn_half_workspace {
    float *parts;      /* DN_HALF_WORKSPACE bytes */
    int32_t *counters; /* (DN_HALF_COUNTERS), zeros between calls */
} dn_half_workspace;

typedef struct dn_half_form {
    int32_t tile;         /* of dn_half_tile_of; DN_HALF_CUDNN: cuDNN's */
    int32_t splits;       /* parts of the sum */
    int32_t across, down; /* tiles beside each other that share rows, and above each other that
                             share columns: 1 but for `hopper` tiles */
} dn_half_form;

enum { DN_HALF_CUDNN = -1 };

/* Blocks of a cluster at most. */
enum { DN_MOST_PARTS = 8 };

/* A tile: rows x columns, computed by `warps` warps. `hopper`: by warpgroups
 * (half_hopper.h), else by warps (half_tile.h). */
typedef struct dn_half_tile {
    const char *name;
    int32_t rows, columns, warps;
    size_t shared; /* bytes of shared memory */
    dn_status (*run)(const dn_half_conv *conv, dn_half_form form,
                     const dn_half_workspace *workspace);
    int32_t slab; /* values of the sum at a time, `hopper`: of one tap */
    bool hopper;
} dn_half_tile;

typedef struct dn_half_tiles {
    int32_t count;
    const dn_half_tile *tiles;
} dn_half_tiles;

/* Of the call's type and kind of input (half_fp16.cu, half_bf16.cu); and by warpgroups, no tiles
 * where nvcc knows no Hopper (half_hopper_*.cu). */
extern const dn_half_tiles dn_half_tiles_fp16, dn_half_tiles_bf16, dn_half_pixels_fp16,
    dn_half_pixels_bf16, dn_half_first_fp16, dn_half_first_bf16, dn_half_hopper_fp16,
    dn_half_hopper_bf16;

/* Tile `tile` of a form, of both families; NULL from their number on. */
const dn_half_tile *dn_half_tile_of(const dn_half_conv *conv, int32_t tile);

/* The forms of a depthwise one (half_depthwise.cu). */
dn_half_tiles dn_half_depthwise_of(const dn_half_conv *conv);

/* Whether half_first.h computes it: 3 x 3 taps of RGB pixels, an image's within 2 GB. */
static inline bool dn_half_first_fits(const dn_half_conv *conv)
{
    return conv->pixels_in && conv->size == 3 && conv->c == 3 &&
           (int64_t)conv->h * conv->w < 1 << 28;
}

/* Whether some form computes it. */
bool dn_half_conv_fits(const dn_conv_problem *problem);
bool dn_half_is_depthwise(const dn_conv_problem *problem);

/* Values of a filter as they are packed; of all filters. */
int32_t dn_half_conv_k(const dn_conv_problem *problem);
int64_t dn_half_conv_values(const dn_half_conv *conv);

/* A layer's parameters in device memory. */
typedef struct dn_half_source {
    int32_t channels;     /* of one group of the input */
    int32_t first;        /* channel that lies first there: behind the last one comes channel 0 */
    const float *weights; /* (groups * filters, channels, taps); of an enlargement (channels,
                             filters, taps) */
    const float *biases, *scales, *mean, *variance; /* without batch normalisation but the first
                                                       NULL */
} dn_half_source;

/* Fills weights and shift of the call, batch normalisation folded in. */
dn_status dn_half_conv_pack(const dn_half_conv *conv, const dn_half_source *source);

/* The form: what `tuning`, NULL where there is none, knows; else by measurement, once a process for
 * each shape and device, which the tuning then knows. By rules where DARKNET_CUDNN=rules, or a
 * form's name, is in the environment or nothing can be measured. *seconds: what the measurement
 * said, 0 where there was none. Not within a capture. */
dn_status dn_half_choose(const dn_half_conv *conv, const dn_half_workspace *workspace,
                         dn_tuning *tuning, dn_half_form *form, double *seconds);

/* For a call whose form failed when it ran: the cheapest of our own of another tile, which such
 * calls get from now on; the tuning, or NULL, forgets the other. */
dn_status dn_half_choose_other(const dn_half_conv *conv, dn_tuning *tuning, dn_half_form *form);

/* "128x64", "64x64 / 4", "cudnn". */
void dn_half_form_name(const dn_half_conv *conv, dn_half_form form, char *text, size_t size);

/* Launches it; `images` of the call may be fewer than it was chosen for. */
dn_status dn_half_run(const dn_half_conv *conv, dn_half_form form,
                      const dn_half_workspace *workspace);

/* cuDNN's form (half_conv_cudnn.cu; without CUDNN=1 it does nothing): false where it does not fit.
 */
bool dn_half_cudnn_fits(const dn_half_conv *conv);
dn_status dn_half_cudnn_run(const dn_half_conv *conv, const dn_half_workspace *workspace);
int32_t dn_half_cudnn_version(void); /* 0: none */

#endif
