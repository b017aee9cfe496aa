/* From an image to its part of a network's input. See input.h.
 *
 * On the CPU the letterbox writes the input itself. To a device an image goes as bytes and is
 * letterboxed there, unless it is so large that less travels when the host does it, into memory
 * that the device reads. One that lies on the device stays there. How bytes go: input_send.h.
 */
#include "infer/input.h"

#include "core/host.h"
#include "infer/forward.h"
#include "infer/input_send.h"
#include "infer/plan.h"

dn_input_rule dn_input_rule_of(const dn_network *network, const dn_predict_options *options)
{
    return (dn_input_rule){
        .backend = network->backend,
        .elsewhere = network->host != NULL,
        .shape = network->input,
        .form = dn_plan_input_form(network),
        .threads = network->options.threads,
        .fit = options->fit,
        .on_device = options->on_device,
        .bgr = options->bgr,
    };
}

dn_letterbox dn_input_letterbox(const dn_input_rule *rule, int32_t width, int32_t height)
{
    const int32_t w = rule->shape.w, h = rule->shape.h;
    return rule->fit == DN_FIT_CROP
               ? dn_letterbox_crop(width, height, w, h)
               : dn_letterbox_make(width, height, w, h, rule->fit == DN_FIT_STRETCH);
}

dn_status dn_input_check_image(const dn_image *image, int32_t number)
{
    if (image->width > 0 && image->height > 0 && image->data) return DN_OK;
    return dn_fail(DN_ERROR_ARGUMENT, "image %d is %d x %d: it has no pixels", number, image->width,
                   image->height);
}

dn_status dn_input_check(const dn_network *network, const dn_image *images, int32_t count)
{
    if (network->options.training)
        return dn_fail(DN_ERROR_ARGUMENT, "predict needs a network made with training = false");
    if (network->input.c != 3)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: predict needs channels=3, the cfg has %d",
                       network->cfg->name, network->input.c);
    for (int32_t i = 0; i < count; i++) DN_TRY(dn_input_check_image(&images[i], i));
    return DN_OK;
}

static size_t bytes_of(const dn_image *image)
{
    return (size_t)image->width * (size_t)image->height * 3;
}

static dn_status reserve_floats(const dn_backend *backend, dn_input_scratch *scratch,
                                int64_t floats)
{
    void *memory;
    if (scratch->floats) return DN_OK;
    if (backend->marks && !scratch->floats_sent)
        DN_TRY(backend->marks->make(&scratch->floats_sent));
    DN_TRY(backend->alloc_host((size_t)floats * sizeof *scratch->floats, &memory));
    scratch->floats = memory;
    return DN_OK;
}

dn_status dn_input_reserve(const dn_backend *backend, dn_input_scratch *scratch, size_t bytes)
{
    void *block;
    if (bytes <= scratch->pixel_bytes) return DN_OK;
    DN_TRY(backend->alloc(bytes, &block));
    backend->free(scratch->pixels);
    scratch->pixels = block;
    scratch->pixel_bytes = bytes;
    return DN_OK;
}

/* A device makes the input itself where the image is not much larger than that: of a large one the
 * host reads few pixels, and the way to the device is what takes time. */
static bool fits_device(const dn_input_rule *rule, size_t bytes)
{
    const size_t input = (size_t)dn_tensor_size(&rule->shape) * sizeof(float);
    return rule->backend->letterbox && bytes <= 2 * input;
}

/* Of an image's planar floats on the device. */
static dn_status to_pixels(const dn_input_rule *rule, const float *planar, float *out)
{
    const dn_tensor *shape = &rule->shape;
    return rule->backend->to_pixels(planar, shape->c, (int64_t)shape->h * shape->w, rule->form,
                                    out);
}

/* Where planar floats of so many bytes go: where they stay, or where they become pixels. */
static dn_status planar_place(const dn_input_rule *rule, dn_input_scratch *scratch, size_t bytes,
                              float *out, float **to)
{
    *to = out;
    if (rule->form == DN_INPUT_PLANAR) return DN_OK;
    DN_TRY(dn_input_reserve(rule->backend, scratch, bytes));
    *to = (float *)(void *)scratch->pixels;
    return DN_OK;
}

/* An image that the host scales: the device reads it where it was made. */
static dn_status scale_and_send(const dn_input_rule *rule, dn_input_scratch *scratch,
                                const dn_image *image, const dn_letterbox *letterbox, float *out)
{
    const dn_backend *backend = rule->backend;
    const int64_t floats = dn_tensor_size(&rule->shape);
    const size_t bytes = (size_t)floats * sizeof *out;
    float *planar;
    DN_TRY(reserve_floats(backend, scratch, floats));
    DN_TRY(planar_place(rule, scratch, bytes, out, &planar));
    DN_TRY(backend->marks->wait(scratch->floats_sent));
    DN_TRY(dn_image_to_input(image, letterbox, rule->threads, scratch->floats));
    DN_TRY(backend->send(planar, scratch->floats, bytes));
    DN_TRY(backend->marks->set(scratch->floats_sent));
    return rule->form == DN_INPUT_PLANAR ? DN_OK : to_pixels(rule, planar, out);
}

static dn_status make_on_device(const dn_input_rule *rule, dn_input_scratch *scratch,
                                const dn_image *image, const dn_letterbox *letterbox, float *out)
{
    const dn_backend *backend = rule->backend;
    const size_t bytes = bytes_of(image);
    if (rule->on_device)
        return backend->letterbox(image->data, letterbox, rule->bgr, rule->form, out);
    if (!fits_device(rule, bytes)) return scale_and_send(rule, scratch, image, letterbox, out);
    DN_TRY(dn_input_reserve(backend, scratch, bytes));
    DN_TRY(dn_input_send(rule, scratch, scratch->pixels, image->data, bytes));
    return backend->letterbox(scratch->pixels, letterbox, false, rule->form, out);
}

dn_status dn_input_make(const dn_input_rule *rule, dn_input_scratch *scratch, const dn_image *image,
                        float *out)
{
    const dn_letterbox letterbox = dn_input_letterbox(rule, image->width, image->height);
    if (rule->elsewhere) return make_on_device(rule, scratch, image, &letterbox, out);
    if (rule->on_device)
        return dn_fail(DN_ERROR_DEVICE, "images on a GPU for a network on the CPU");
    return dn_image_to_input(image, &letterbox, rule->threads, out);
}

/* What the images of one call or the floats of one pass have together decides who copies them. */
static dn_status take_team(dn_network *network, size_t bytes, dn_input_rule *rule)
{
    dn_plan *plan;
    if (!network->host || !dn_network_fuses(network) || !dn_input_is_shared(network, bytes))
        return DN_OK;
    DN_TRY(dn_plan_of(network, &plan));
    rule->team = plan->team;
    return DN_OK;
}

dn_status dn_input_set_floats(dn_network *network, const float *input, int32_t batch,
                              const float **floats)
{
    const dn_predict_options options = {0};
    dn_input_rule rule = dn_input_rule_of(network, &options);
    if (rule.form == DN_INPUT_PLANAR || batch < 1 || batch > network->batch)
        return dn_network_set_input(network, input, batch);
    const size_t bytes = (size_t)(batch * dn_tensor_size(&network->input)) * sizeof *input;
    float *planar;
    bool there;
    DN_TRY(dn_network_enter(network));
    DN_TRY(dn_network_input_is_there(network, input, &there));
    *floats = input;
    if (there) return DN_OK;
    DN_TRY(take_team(network, bytes, &rule));
    DN_TRY(planar_place(&rule, &network->scratch, bytes, NULL, &planar));
    *floats = planar;
    return dn_input_send(&rule, &network->scratch, planar, input, bytes);
}

/* Of an image that the network runs on next, so its threads have time. */
static dn_status make_next(dn_network *network, const dn_input_rule *rule, const dn_image *image,
                           float *out)
{
    if (rule->elsewhere || rule->on_device)
        return dn_input_make(rule, &network->scratch, image, out);
    const dn_letterbox letterbox = dn_input_letterbox(rule, image->width, image->height);
    return dn_infer_letterbox(network, image, &letterbox, out);
}

dn_status dn_input_set(dn_network *network, const dn_image *images, int32_t count,
                       const dn_predict_options *options)
{
    dn_input_rule rule = dn_input_rule_of(network, options);
    const int64_t size = dn_tensor_size(&network->input);
    dn_input_scratch *scratch = &network->scratch;
    size_t bytes = 0;
    DN_TRY(dn_input_check(network, images, count));
    DN_TRY(dn_network_enter(network));
    for (int32_t i = 0; i < count && !rule.on_device; i++) bytes += bytes_of(&images[i]);
    DN_TRY(take_team(network, bytes, &rule));
    if (!rule.elsewhere) DN_TRY(reserve_floats(rule.backend, scratch, network->input.n * size));
    float *out = rule.elsewhere ? network->input.data : scratch->floats;
    for (int32_t i = 0; i < count; i++)
        DN_TRY(make_next(network, &rule, &images[i], out + i * size));
    return rule.elsewhere ? DN_OK : dn_network_set_input(network, scratch->floats, count);
}
