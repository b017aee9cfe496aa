/* What the detection heads share: class maps and the check of the convolution before. See head.h.
 */
#include "layers/head.h"

#include "core/memory.h"

#include <stdio.h>
#include <string.h>

enum { DN_MAP_LIMIT = 1 << 20 }; /* bytes of a map file */

static dn_status read_map_text(const dn_network *network, const char *path, char **text)
{
    size_t length;
    if (dn_read_file(path, DN_MAP_LIMIT, text, &length) == DN_OK) return DN_OK;
    const char *slash = strrchr(network->cfg->name, '/');
    const size_t folder = slash ? (size_t)(slash - network->cfg->name) + 1 : 0;
    const size_t bytes = folder + strlen(path) + 1;
    char *beside = dn_alloc(bytes);
    if (!beside) return DN_ERROR_MEMORY;
    memcpy(beside, network->cfg->name, folder);
    memcpy(beside + folder, path, bytes - folder);
    const dn_status status = dn_read_file(beside, DN_MAP_LIMIT, text, &length);
    dn_free(beside);
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
