/* `segmenter extend`: a mask branch behind any detector's cfg.
 *
 * The detector's text stays as it is, so its weights file still fits. For each stride of 4, 8, 16
 * and 32 the branch pools from the last layer of that stride before the last head, heads and the
 * convolutions that feed them left out: behind the neck that is the finest of what the detector
 * itself knows at that scale. 1x1 convolutions, which stand after the last head and so belong to
 * the branch and to its weights file, bring the maps to one number of channels.
 */
#include "core/memory.h"
#include "core/network.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DN_STRIDES = 4 };

typedef struct dn_text {
    char *bytes; /* NUL-terminated */
    size_t length, capacity;
    bool failed; /* memory ran out: nothing more is added */
} dn_text;

static void add_bytes(dn_text *text, const char *bytes, size_t count)
{
    if (text->failed) return;
    if (text->length + count + 1 > text->capacity) {
        const size_t capacity = 2 * (text->length + count) + 1024;
        char *grown = dn_realloc(text->bytes, text->length, capacity);
        if (!grown) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
    text->bytes[text->length] = '\0';
}

static void add(dn_text *text, const char *format, ...) DN_PRINTF(2, 3);

/* At most 511 bytes. */
static void add(dn_text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    add_bytes(text, line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
}

static bool feeds_head(const dn_network *network, int32_t index)
{
    for (int32_t i = index + 1; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; layer->type->detect && k < layer->input_count; k++)
            if (layer->inputs[k] == index) return true;
    }
    return false;
}

/* The map to pool from at this stride, -1: there is none. */
static int32_t map_of_stride(const dn_network *network, int32_t last_head, double stride)
{
    for (int32_t i = last_head - 1; i >= 0; i--) {
        const dn_layer *layer = &network->layers[i];
        if (layer->type->detect || feeds_head(network, i)) continue;
        const double x = log2((double)network->input.w / layer->out.w / stride);
        const double y = log2((double)network->input.h / layer->out.h / stride);
        if (fabs(x) < 0.25 && fabs(y) < 0.25) return i; /* sizes need not divide evenly */
    }
    return -1;
}

static int32_t last_head_of(const dn_network *network)
{
    int32_t i = network->layer_count - 1;
    while (i >= 0 && !network->layers[i].type->detect) i--;
    return i;
}

static dn_status find_maps(const dn_network *network, int32_t maps[DN_STRIDES])
{
    const char *name = network->cfg->name;
    const int32_t last_head = last_head_of(network);
    if (dn_network_roialign(network) >= 0)
        return dn_fail(DN_ERROR_CONFIG, "%s: already has a [roialign]", name);
    if (last_head < 0)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: has no [yolo] or [region]: a mask branch needs a "
                       "detector",
                       name);
    bool found = false;
    for (int32_t k = 0; k < DN_STRIDES; k++) {
        maps[k] = map_of_stride(network, last_head, 4 << k);
        found = found || maps[k] >= 0;
    }
    if (found) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG, "%s: has no map of stride 4, 8, 16 or 32 before its last head",
                   name);
}

/* Keys of the mask stage that [net] does not have yet. The warm-up is a sixtieth of the stage, but
 * no longer than 1000 iterations. */
static void add_net_keys(dn_text *text, const dn_network *network)
{
    static const char *const keys[][2] = {
        {"mask_from", "0"},
        {"mask_batch", "8"},
        {"mask_subdivisions", "1"},
        {"mask_adam", "1"},
        {"mask_learning_rate", ".001"},
        {"mask_policy", "cosine"},
    };
    const dn_cfg_section *net = &network->cfg->sections[0];
    const int32_t given = network->net.mask_max_batches, iterations = given > 0 ? given : 6000;
    const int32_t warm_up = iterations / 60;
    add(text, "# The mask stage: the detector is frozen, only the branch learns.\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!dn_cfg_find(net, keys[i][0])) add(text, "%s=%s\n", keys[i][0], keys[i][1]);
    if (!dn_cfg_find(net, "mask_burn_in"))
        add(text, "mask_burn_in=%d\n", warm_up < 1000 ? warm_up : 1000);
    if (!dn_cfg_find(net, "mask_max_batches")) add(text, "mask_max_batches=%d\n", iterations);
    add(text, "\n");
}

static void add_convolution(dn_text *text, int32_t filters, int32_t size, const char *activation)
{
    add(text, "[convolutional]\nfilters=%d\nsize=%d\nstride=1\npad=1\nactivation=%s\n\n", filters,
        size, activation);
}

static void add_branch(dn_text *text, int32_t layer_count, const int32_t maps[DN_STRIDES],
                       const dn_extend_options *o, int32_t classes)
{
    int32_t count = 0;
    add(text, "\n# %d: laterals: the maps that boxes are pooled from, brought to %d channels\n",
        layer_count, o->channels);
    for (int32_t k = 0; k < DN_STRIDES; k++) {
        if (maps[k] < 0) continue;
        add(text, "# stride %d\n[route]\nlayers=%d\n\n", 4 << k, maps[k]);
        add_convolution(text, o->channels, 1, "linear");
        count++;
    }
    add(text, "# %d: pooled boxes, 14 x 14\n[roialign]\nlayers=", layer_count + 2 * count);
    for (int32_t k = 0; k < count; k++) add(text, k ? ",%d" : "%d", 2 * (k - count) + 1);
    add(text, "\nsize=14\nsamples=2\npool=average\nmax_rois=100\ntrain_rois=16\nlevels=sum\n"
              "expand=.2\nscore_thresh=.05\nnms=.45\npositive_iou=.5\nbox_jitter=.06\n\n");
    add(text, "# %d: mask head: convolutions, a deconvolution to 28 x 28, %s\n",
        layer_count + 2 * count + 1, classes == 1 ? "one map for every class" : "one map a class");
    for (int32_t i = 0; i < o->convolutions; i++) add_convolution(text, o->channels, 3, "relu");
    add(text, "[deconvolutional]\nfilters=%d\nsize=2\nstride=2\nactivation=relu\n\n", o->channels);
    add_convolution(text, classes, 1, "linear");
    add(text, "[mask]\nclasses=%d\nsoft_targets=1\nloss=bce\nmask_scale=1\n", classes);
}

/* The byte behind line `line` (from 1) of the text. */
static size_t end_of_line(const char *bytes, size_t length, int32_t line)
{
    const char *at = bytes, *end = bytes + length;
    for (int32_t i = 0; i < line && at < end; i++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        at = feed ? feed + 1 : end;
    }
    return (size_t)(at - bytes);
}

static dn_status write_text(const dn_network *network, const char *path, const dn_extend_options *o,
                            dn_text *text)
{
    int32_t maps[DN_STRIDES];
    dn_head_info head;
    DN_TRY(find_maps(network, maps));
    DN_TRY(dn_network_head(network, network->layer_count, &head));
    char *bytes = NULL;
    size_t length = 0;
    DN_TRY(dn_read_file(path, DN_CFG_LIMIT, &bytes, &length));
    const dn_cfg_section *net = &network->cfg->sections[0];
    const size_t mark = length >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    const size_t net_end = end_of_line(bytes, length, net->line);
    add(text,
        "# Layers 0-%d: the detector, as it was. Layers %d and up: a mask branch that\n"
        "# `segmenter extend` has appended.\n",
        network->layer_count - 1, network->layer_count);
    add_bytes(text, bytes + mark, net_end - mark);
    if (net_end > 0 && bytes[net_end - 1] != '\n') add(text, "\n");
    add_net_keys(text, network);
    add_bytes(text, bytes + net_end, length - net_end);
    if (length > 0 && bytes[length - 1] != '\n') add(text, "\n");
    add_branch(text, network->layer_count, maps, o, o->per_class ? head.classes : 1);
    dn_free(bytes);
    return text->failed ? DN_ERROR_MEMORY : DN_OK;
}

dn_status dn_extend_cfg(const char *cfg_path, const dn_extend_options *options, char **text)
{
    dn_extend_options asked = options ? *options : (dn_extend_options){0};
    if (asked.channels == 0) asked.channels = 96;
    if (asked.convolutions == 0) asked.convolutions = 4;
    if (asked.channels < 1 || asked.channels > 4096 || asked.convolutions < 1 ||
        asked.convolutions > 64)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "a branch of %d convolutions of %d channels: 1..64 and 1..4096 are allowed",
                       asked.convolutions, asked.channels);
    dn_network *network = NULL;
    dn_text written = {0};
    dn_status status = dn_network_outline(cfg_path, &network);
    if (status == DN_OK) status = write_text(network, cfg_path, &asked, &written);
    dn_network_free(network);
    if (status == DN_OK)
        *text = written.bytes;
    else
        dn_free(written.bytes);
    return status;
}
