/* From an image to its part of a network's input. */
#ifndef DN_INFER_INPUT_H
#define DN_INFER_INPUT_H

#include "core/network.h"
#include "data/geometry.h"
#include "infer/team.h"

/* What has to be known of a network, copied from it, so that threads that make inputs of passes to
 * come need not ask the network while it runs. */
typedef struct dn_input_rule {
    const dn_backend *backend;
    bool elsewhere; /* the backend is a device's */
    dn_tensor shape;
    dn_input_form form; /* of the input */
    int32_t threads;
    dn_fit fit;
    bool on_device, bgr; /* the image: dn_predict_options */
    dn_team *team;       /* copies what goes to a device; NULL: the calling thread alone does */
} dn_input_rule;

dn_input_rule dn_input_rule_of(const dn_network *network, const dn_predict_options *options);

/* How an image of this size lies in the input. */
dn_letterbox dn_input_letterbox(const dn_input_rule *rule, int32_t width, int32_t height);

/* Room for so many bytes of pixels in the scratch of a thread, whose device the backend is. */
dn_status dn_input_reserve(const dn_backend *backend, dn_input_scratch *scratch, size_t bytes);

/* Makes the image an input at `out`, (channels, h, w) floats in memory of the backend, whose device
 * is the calling thread's; on a device in the form that the rule says. On a device the scratch
 * grows as it is needed, and need not be waited for. */
dn_status dn_input_make(const dn_input_rule *rule, dn_input_scratch *scratch, const dn_image *image,
                        float *out);

/* Fails where the network cannot take images, or where one of these is none; the number is told. */
dn_status dn_input_check_image(const dn_image *image, int32_t number);
dn_status dn_input_check(const dn_network *network, const dn_image *images, int32_t count);

/* Checks the images (at most the network's batch) and makes them the input of the next pass. */
dn_status dn_input_set(dn_network *network, const dn_image *images, int32_t count,
                       const dn_predict_options *options);

/* dn_network_set_input for the pass behind it. Where the network's plan reads pixels, *floats is
 * where on the device the images lie: the pass's `floats`. */
dn_status dn_input_set_floats(dn_network *network, const float *input, int32_t batch,
                              const float **floats);

#endif
