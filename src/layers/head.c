/* What the detection heads share: class maps, objects, statistics. See head.h. */
#include "layers/head.h"

#include "core/memory.h"
#include "data/path.h"

#include <math.h>
#include <string.h>

enum { DN_MAP_LIMIT = 1 << 20 }; /* bytes of a map file */

static dn_status read_map_text(const dn_network *network, const char *path, char **text)
{
    dn_arena arena = {0};
    size_t length;
    const char *found = dn_path_resolve(&arena, network->cfg->name, path);
    const dn_status status =
        found ? dn_read_file(found, DN_MAP_LIMIT, text, &length) : DN_ERROR_MEMORY;
    dn_arena_free(&arena);
    return status;
}

/* One number a line into map (classes); blank lines are skipped. */
static dn_status parse_map(const dn_layer *layer, const dn_network *network, const char *path,
                           char *text, int32_t *map, int32_t classes)
{
    int32_t count = 0, line = 0;
    char *next;
    for (char *item = text; item; item = next) {
        next = strchr(item, '\n');
        if (next) *next++ = '\0';
        line++;
        item[strcspn(item, " \t\r")] = '\0';
        if (*item == '\0') continue;
        int64_t value;
        if (!dn_parse_int(item, &value) || value < 0 || value >= classes)
            return dn_layer_fail(layer, network, "%s:%d: '%s' is no class: 0..%d are allowed", path,
                                 line, item, classes - 1);
        if (count < classes) map[count] = (int32_t)value;
        count++;
    }
    if (count != classes)
        return dn_layer_fail(layer, network, "map=%s has %d entries, classes=%d need one each",
                             path, count, classes);
    return DN_OK;
}

dn_status dn_head_read_map(dn_head_info *info, const dn_layer *layer, const dn_network *network,
                           const char *path)
{
    if (!path || info->class_map) return DN_OK;
    char *text = NULL;
    DN_TRY(read_map_text(network, path, &text));
    int32_t *map = dn_alloc((size_t)info->classes * sizeof *map);
    dn_status status = map ? DN_OK : DN_ERROR_MEMORY;
    if (map) status = parse_map(layer, network, path, text, map, info->classes);
    dn_free(text);
    if (status == DN_OK)
        info->class_map = map;
    else
        dn_free(map);
    return status;
}

dn_status dn_head_check_filters(const dn_layer *layer, const dn_network *network, int32_t slots,
                                int32_t entries)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int64_t wanted = (int64_t)slots * entries;
    if (in->c == wanted) return DN_OK;
    return dn_layer_fail(layer, network,
                         "the layer before has filters=%d; %d anchors of %d values each need "
                         "filters=%lld",
                         in->c, slots, entries, (long long)wanted);
}

dn_status dn_head_add_box(const dn_pass *pass, dn_candidate candidate, const float *classes,
                          int32_t class_count, int64_t plane, dn_detections *detections)
{
    float *probs;
    if (!(candidate.objectness > pass->threshold) || !dn_head_is_sane(candidate.box)) return DN_OK;
    DN_TRY(dn_detections_add(detections, candidate, &probs));
    memset(probs, 0, (size_t)detections->classes * sizeof *probs);
    for (int32_t c = 0; c < class_count; c++) {
        const float prob = candidate.objectness * classes[c * plane];
        if (prob > pass->threshold) probs[c] = prob;
    }
    return DN_OK;
}

/* The object's box relative to the network's input. */
static dn_box relative_box(const dn_pass *pass, const dn_truth_object *object)
{
    const dn_tensor *input = &pass->network->input;
    return dn_box_scale(object->box, 1.0f / (float)input->w, 1.0f / (float)input->h);
}

dn_status dn_head_object_get(const dn_head_info *info, const dn_layer *layer, const dn_pass *pass,
                             int32_t image, int32_t index, dn_head_object *out)
{
    const dn_truth_object *object = &pass->truth[image].objects[index];
    const dn_box box = relative_box(pass, object);
    if (object->class_id < 0 || object->class_id >= info->classes)
        return dn_fail(
            DN_ERROR_DATA, "image %d of the batch: object %d has class %d; layer %d [%s] has 0..%d",
            image, index, object->class_id, layer->index, layer->type->name, info->classes - 1);
    *out = (dn_head_object){
        .box = box,
        .x = 0.5f * (box.x0 + box.x1),
        .y = 0.5f * (box.y0 + box.y1),
        .w = box.x1 - box.x0,
        .h = box.y1 - box.y0,
        .class_id = info->class_map ? info->class_map[object->class_id] : object->class_id,
        .crowd = object->crowd,
        .usable = !object->crowd && !dn_box_is_empty(box),
    };
    return DN_OK;
}

dn_head_overlap dn_head_overlap_of(const dn_pass *pass, int32_t image, dn_box box)
{
    const dn_truth *truth = &pass->truth[image];
    dn_head_overlap overlap = dn_head_overlap_none();
    for (int32_t k = 0; k < truth->object_count; k++) {
        const dn_truth_object *object = &truth->objects[k];
        dn_head_overlap_add(&overlap, box, relative_box(pass, object), object->crowd, k);
    }
    return overlap;
}

void dn_head_statistics_set(dn_head_info *info, const dn_head_sums *sums, int64_t boxes)
{
    const double count = sums->count > 0 ? sums->count : 1.0;
    info->statistics = (dn_head_statistics){
        .count = (int64_t)sums->count,
        .iou = sums->iou / count,
        .class_probability = sums->class_probability / count,
        .objectness = sums->objectness / count,
        .recall_50 = sums->recall_50 / count,
        .recall_75 = sums->recall_75 / count,
        .no_objectness = sums->no_objectness / (double)boxes,
    };
}
