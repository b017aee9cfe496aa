/* Forms of convolutions in half precision in a tuning's file: see half_tuning.h. */
#include "half_tuning.h"

#include <stdio.h>
#include <string.h>

/* To be raised by who makes forms faster or slower and leaves names and memory of their tiles as
 * they are. */
enum { DN_HALF_FORMS_VERSION = 2 };

/* ---- Whose file it is ---- */

static uint32_t hash_of_tiles(uint32_t hash, dn_half_tiles tiles)
{
    char text[96];
    for (int32_t t = 0; t < tiles.count; t++) {
        const dn_half_tile *tile = &tiles.tiles[t];
        snprintf(text, sizeof text, "%s %d %d %d %zu,", tile->name, tile->rows, tile->columns,
                 tile->warps, tile->shared);
        hash = dn_half_hash(hash, text);
    }
    return hash;
}

/* Of all tiles; those of bfloat16 are the same, and those that read pixels are among the first's.
 */
static uint32_t hash_of_forms()
{
    dn_half_conv depthwise = {};
    depthwise.size = 3;
    depthwise.dilation = depthwise.stride_x = 1; /* such that all fit */
    const dn_half_tiles all[] = {dn_half_tiles_fp16, dn_half_first_fp16, dn_half_hopper_fp16,
                                 dn_half_depthwise_of(&depthwise)};
    uint32_t hash = DN_HALF_HASH ^ DN_HALF_FORMS_VERSION;
    for (const dn_half_tiles tiles : all) hash = hash_of_tiles(hash, tiles);
    return hash;
}

dn_status dn_half_tuning_open(dn_tuning *tuning, const char *path)
{
    cudaDeviceProp properties;
    int device = 0, major = 0, minor = 0, version = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_CUDA_TRY(cudaGetDeviceProperties(&properties, device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    DN_CUDA_TRY(cudaRuntimeGetVersion(&version));
    snprintf(tuning->machine, sizeof tuning->machine, "cuda %.100s", properties.name);
    snprintf(tuning->build, sizeof tuning->build, " %d.%d CUDA %d cuDNN %d forms %08x", major,
             minor, version, dn_half_cudnn_version(), (unsigned)hash_of_forms());
    return dn_tuning_open(tuning, path);
}

/* ---- What it knows ---- */

/* The problem in words, as docs/formats.md describes them. */
static void describe(char key[DN_TUNING_KEY], const dn_half_conv *conv)
{
    char add[64] = "", more[64] = "";
    if (conv->add)
        snprintf(add, sizeof add, " adds %s of %lld", dn_activation_names[conv->after_add],
                 (long long)conv->add_pixel);
    if (conv->enlargement != 1 || conv->repeats != 1)
        snprintf(more, sizeof more, " enlarged %d repeated %d", conv->enlargement, conv->repeats);
    snprintf(key, DN_TUNING_KEY,
             "%s images %d groups %d in %dx%dx%d of %lld out %dx%dx%d of %lld size %d stride %dx%d "
             "pad %d dilation %d %s%s%s%s%s%s",
             conv->bf16 ? "bf16" : "fp16", conv->images, conv->groups, conv->c, conv->h, conv->w,
             (long long)conv->in_pixel, conv->filters, conv->out_h, conv->out_w,
             (long long)conv->out_pixel, conv->size, conv->stride_y, conv->stride_x, conv->pad,
             conv->dilation, dn_activation_names[conv->activation], more,
             conv->depthwise ? " depthwise" : "", conv->pixels_in ? " pixels-in" : "",
             conv->planar_out ? " planar-out" : "", add);
}

bool dn_half_form_named(const dn_half_conv *conv, const dn_half_candidate *list, int32_t count,
                        const char *name, dn_half_form *form)
{
    char text[DN_TUNING_FORM];
    for (int32_t i = 0; i < count; i++) {
        dn_half_form_name(conv, list[i].form, text, sizeof text);
        if (strcmp(text, name) != 0) continue;
        *form = list[i].form;
        return true;
    }
    return false;
}

bool dn_half_tuning_recall(const dn_tuning *tuning, const dn_half_conv *conv,
                           const dn_half_candidate *list, int32_t count, dn_half_form *form,
                           double *seconds)
{
    char key[DN_TUNING_KEY];
    describe(key, conv);
    const dn_tuned *known = dn_tuning_recall(tuning, key);
    if (!known || !dn_half_form_named(conv, list, count, known->form, form)) return false;
    *seconds = 1e-6 * known->microseconds;
    return true;
}

dn_status dn_half_tuning_keep(dn_tuning *tuning, const dn_half_conv *conv, dn_half_form form,
                              double seconds)
{
    dn_tuned item;
    describe(item.key, conv);
    dn_half_form_name(conv, form, item.form, sizeof item.form);
    item.microseconds = 1e6 * seconds;
    return dn_tuning_keep(tuning, &item);
}

void dn_half_tuning_forget(dn_tuning *tuning, const dn_half_conv *conv)
{
    char key[DN_TUNING_KEY];
    describe(key, conv);
    dn_tuning_forget(tuning, key);
}
