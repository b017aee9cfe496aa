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

/* Relative coordinates up to there are still numbers as pixels of the largest image, enlarged. */
static const float farthest = 1e6f;

static bool is_sane(dn_box box)
{
    return fabsf(box.x0) <= farthest && fabsf(box.y0) <= farthest && fabsf(box.x1) <= farthest &&
           fabsf(box.y1) <= farthest;
}

dn_status dn_head_add_box(const dn_pass *pass, dn_candidate candidate, const float *classes,
                          int32_t class_count, int64_t plane, dn_detections *detections)
{
    float *probs;
    if (!(candidate.objectness > pass->threshold) || !is_sane(candidate.box)) return DN_OK;
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
                             int32_t image, int32_t index, dn_head_object *out, bool *use)
{
    const dn_truth_object *object = &pass->truth[image].objects[index];
    const dn_box box = relative_box(pass, object);
    if (object->class_id < 0 || object->class_id >= info->classes)
        return dn_fail(
            DN_ERROR_DATA, "image %d of the batch: object %d has class %d; layer %d [%s] has 0..%d",
            image, index, object->class_id, layer->index, layer->type->name, info->classes - 1);
    *use = !object->crowd && !dn_box_is_empty(box);
    *out = (dn_head_object){
        .box = box,
        .x = 0.5f * (box.x0 + box.x1),
        .y = 0.5f * (box.y0 + box.y1),
        .w = box.x1 - box.x0,
        .h = box.y1 - box.y0,
        .class_id = info->class_map ? info->class_map[object->class_id] : object->class_id,
    };
    return DN_OK;
}

float dn_head_best_iou(const dn_pass *pass, int32_t image, dn_box box, int32_t *best,
                       float *in_crowd)
{
    const dn_truth *truth = &pass->truth[image];
    float most = 0.0f;
    *best = -1;
    *in_crowd = 0.0f;
    for (int32_t k = 0; k < truth->object_count; k++) {
        const dn_truth_object *object = &truth->objects[k];
        const dn_box other = relative_box(pass, object);
        if (object->crowd) {
            const dn_box both = {fmaxf(box.x0, other.x0), fmaxf(box.y0, other.y0),
                                 fminf(box.x1, other.x1), fminf(box.y1, other.y1)};
            const float part = dn_box_area(both) / dn_box_area(box);
            if (part > *in_crowd) *in_crowd = part;
            continue;
        }
        const float iou = dn_box_iou(box, other);
        if (iou <= most) continue;
        most = iou;
        *best = k;
    }
    return most;
}

float dn_head_focal_factor(float p)
{
    const float pt = p + 1e-15f;
    return -0.5f * (1.0f - pt) * (2.0f * pt * logf(pt) + pt - 1.0f);
}

void dn_head_statistics_add(dn_head_info *info, float iou, float class_probability,
                            float objectness)
{
    dn_head_statistics *sums = &info->statistics;
    sums->count++;
    sums->iou += (double)iou;
    sums->class_probability += (double)class_probability;
    sums->objectness += (double)objectness;
    sums->recall_50 += iou > 0.5f;
    sums->recall_75 += iou > 0.75f;
}

void dn_head_statistics_finish(dn_head_info *info, double no_objectness, int64_t boxes)
{
    dn_head_statistics *sums = &info->statistics;
    const double count = sums->count > 0 ? (double)sums->count : 1.0;
    sums->iou /= count;
    sums->class_probability /= count;
    sums->objectness /= count;
    sums->recall_50 /= count;
    sums->recall_75 /= count;
    sums->no_objectness = no_objectness / (double)boxes;
}
