/* The calibration file: reader and writer. See calibration.h. */
#include "core/calibration.h"

#include "core/memory.h"
#include "core/new_file.h"
#include "data/text_file.h"

#include <string.h>

/* Far beyond what activations are; the narrowest range still has a step that can be divided by. */
static const double widest = 1e30, narrowest = 1e-30;

enum { DN_CALIBRATION_VERSION = 1 };

bool dn_calibration_covers(const dn_layer *layer)
{
    return strcmp(layer->type->name, "convolutional") == 0;
}

/* The first covered layer from `index` on, or NULL. */
static const dn_layer *next_covered(const dn_network *network, int32_t index)
{
    for (; index < network->layer_count; index++)
        if (dn_calibration_covers(&network->layers[index])) return &network->layers[index];
    return NULL;
}

static int32_t input_channels(const dn_network *network, const dn_layer *layer)
{
    return dn_input_shape(layer, network, 0)->c;
}

/* ---- reading ---- */

typedef struct dn_calibration_reader {
    dn_text_file file;
    const char *path;
    const dn_network *network;
    dn_range *ranges;
} dn_calibration_reader;

/* The next line that holds something; NULL at the end. */
static char *next_line(dn_text_file *file)
{
    char *line;
    do line = dn_text_line(file);
    while (line && (*line == '\0' || *line == '#'));
    return line;
}

static dn_status read_header(dn_calibration_reader *reader)
{
    char *line = next_line(&reader->file);
    char *rest = line;
    const char *word = line ? dn_text_word(&rest) : NULL;
    int64_t version;
    if (!word || strcmp(word, "calibration") != 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: is no calibration file: its first line is to be \"calibration %d\"",
                       reader->path, DN_CALIBRATION_VERSION);
    const char *number = dn_text_word(&rest);
    if (!number || !dn_parse_int(number, &version) || version != DN_CALIBRATION_VERSION)
        return dn_fail(DN_ERROR_DATA, "%s:%d: calibration of version %s: %d is known", reader->path,
                       reader->file.line, number ? number : "none", DN_CALIBRATION_VERSION);
    return DN_OK;
}

/* "N C LOW HIGH" of this layer. */
static dn_status read_range(dn_calibration_reader *reader, char *line, const dn_layer *layer)
{
    const char *path = reader->path;
    const int32_t number = reader->file.line, channels = input_channels(reader->network, layer);
    int64_t index, found;
    double low, high;
    char *rest = line;
    const char *words[5];
    for (int i = 0; i < 5; i++) words[i] = dn_text_word(&rest);
    if (!words[3] || words[4] || !dn_parse_int(words[0], &index) ||
        !dn_parse_int(words[1], &found) || !dn_parse_double(words[2], &low) ||
        !dn_parse_double(words[3], &high))
        return dn_fail(DN_ERROR_DATA,
                       "%s:%d: a layer, its input's channels, low and high are wanted", path,
                       number);
    if (index != layer->index || found != channels)
        return dn_fail(DN_ERROR_DATA,
                       "%s:%d: layer %lld with %lld channels: the next convolution of %s is layer "
                       "%d with %d; the file was made for another cfg",
                       path, number, (long long)index, (long long)found, reader->network->cfg->name,
                       layer->index, channels);
    if (!(low <= 0 && high >= 0 && low >= -widest && high <= widest && high - low >= narrowest))
        return dn_fail(DN_ERROR_DATA,
                       "%s:%d: a range of %g to %g: it is to hold 0, and more than that", path,
                       number, low, high);
    reader->ranges[layer->index] = (dn_range){(float)low, (float)high};
    return DN_OK;
}

static dn_status read_all(dn_calibration_reader *reader)
{
    DN_TRY(read_header(reader));
    const dn_layer *layer = next_covered(reader->network, 0);
    for (char *line; (line = next_line(&reader->file));) {
        if (!layer)
            return dn_fail(DN_ERROR_DATA, "%s:%d: more layers than %s has convolutions",
                           reader->path, reader->file.line, reader->network->cfg->name);
        DN_TRY(read_range(reader, line, layer));
        layer = next_covered(reader->network, layer->index + 1);
    }
    if (!layer) return DN_OK;
    return dn_fail(DN_ERROR_DATA, "%s: ends before layer %d, a convolution of %s", reader->path,
                   layer->index, reader->network->cfg->name);
}

dn_status dn_calibration_read(dn_network *network, const char *path)
{
    dn_calibration_reader reader = {.path = path, .network = network};
    reader.ranges = dn_alloc((size_t)network->layer_count * sizeof *reader.ranges);
    if (!reader.ranges) return DN_ERROR_MEMORY;
    dn_status status = dn_text_open(path, &reader.file);
    if (status == DN_OK) {
        status = read_all(&reader);
        dn_text_close(&reader.file);
    }
    if (status == DN_OK)
        network->ranges = reader.ranges;
    else
        dn_free(reader.ranges);
    return status;
}

/* ---- writing ---- */

dn_status dn_calibration_write(const dn_network *network, const dn_range *ranges, int64_t images,
                               const char *path)
{
    dn_new_file file;
    DN_TRY(dn_new_file_open(&file, path, DN_FILE_QUICK));
    fprintf(file.stream, "calibration %d\n# %d x %d, %lld images\n", DN_CALIBRATION_VERSION,
            network->input.w, network->input.h, (long long)images);
    fprintf(file.stream, "# layer, channels of its input, low, high\n");
    const dn_layer *layer = next_covered(network, 0);
    for (; layer; layer = next_covered(network, layer->index + 1)) {
        const dn_range range = ranges[layer->index];
        fprintf(file.stream, "%d %d %.9g %.9g\n", layer->index, input_channels(network, layer),
                (double)range.low, (double)range.high);
    }
    return dn_new_file_close(&file, ferror(file.stream) ? dn_new_file_fail(&file) : DN_OK);
}
