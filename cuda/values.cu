/* The wanted outputs of a pass on the device. See values.h. */
#include "values.h"

#include "records.h"

#include <stdlib.h>
#include <string.h>

enum { DN_MOST_LANES = 1 << 14 };

static size_t present_bytes(const dn_layer *layer)
{
    return (size_t)layer->out.n * sizeof(int32_t);
}

dn_status dn_values_setup(dn_layer *layer, dn_network *)
{
    const int64_t count = layer->out.n * dn_tensor_size(&layer->out);
    if (!layer->device) layer->device = calloc(1, sizeof(dn_values_device));
    dn_values_device *device = (dn_values_device *)layer->device;
    if (!device) return DN_ERROR_MEMORY;
    if (!layer->has_loss || !layer->trains) return DN_OK;
    layer->workspace_floats = dn_records_floats(DN_MOST_LANES, 1);
    return dn_staging_begin(&device->staging, present_bytes(layer) + (size_t)count * sizeof(float));
}

void dn_values_destroy(dn_layer *layer)
{
    dn_values_device *device = (dn_values_device *)layer->device;
    if (!device) return;
    dn_staging_free(&device->staging);
    free(device);
    layer->device = nullptr;
}

dn_status dn_values_send(dn_layer *layer, const dn_pass *pass, dn_wanted *wanted)
{
    dn_values_device *device = (dn_values_device *)layer->device;
    const size_t row = (size_t)dn_tensor_size(&layer->out) * sizeof(float);
    const size_t bytes = present_bytes(layer) + (size_t)pass->batch * row;
    device->there = false;
    if (pass->truth && layer->has_loss) {
        DN_TRY(dn_staging_begin(&device->staging, bytes));
        int32_t *present = (int32_t *)(void *)device->staging.host;
        char *values = device->staging.host + present_bytes(layer);
        for (int32_t image = 0; image < pass->batch; image++, values += row) {
            const float *of_image = pass->truth[image].values;
            present[image] = of_image != nullptr;
            if (!of_image) continue;
            memcpy(values, of_image, row);
            device->there = true;
        }
        if (device->there) DN_TRY(dn_staging_send(&device->staging, bytes));
    }
    *wanted = dn_values_of(layer);
    return DN_OK;
}

dn_wanted dn_values_of(const dn_layer *layer)
{
    const dn_values_device *device = (const dn_values_device *)layer->device;
    const char *block = device->staging.block;
    dn_wanted wanted = {nullptr, nullptr, dn_tensor_size(&layer->out)};
    if (!device->there) return wanted;
    wanted.present = (const int32_t *)(const void *)block;
    wanted.values = (const float *)(const void *)(block + present_bytes(layer));
    return wanted;
}

int64_t dn_values_lanes(const dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    return count < DN_MOST_LANES ? count : (int64_t)DN_MOST_LANES;
}

dn_status dn_values_sum(const dn_layer *layer, const dn_pass *pass, double *sum)
{
    return dn_records_sum((double *)(void *)pass->workspace, dn_values_lanes(layer, pass), 1, sum);
}
