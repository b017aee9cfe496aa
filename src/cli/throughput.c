/* Images through dn_stream, one batch behind the other. See throughput.h.
 *
 * The caller's thread submits while there is room, takes results and encodes their masks, unless
 * they are strings, while the stream's threads decode; on a device the next batch runs meanwhile.
 */
#include "cli/throughput.h"

#include "cli/commands.h"
#include "math/clock.h"

#include <stdlib.h>

enum { DN_WARM_UP_BATCHES = 6 };

void dn_encode_all_masks(const dn_result *result)
{
    if (!result->masks) return;
    dn_box *boxes = malloc((size_t)result->instance_count * sizeof *boxes);
    if (!boxes) dn_die("out of memory");
    int64_t count = 0;
    for (int32_t i = 0; i < result->instance_count; i++)
        if (result->instances[i].mask) boxes[count++] = result->instances[i].mask_box;
    char *text;
    size_t length;
    dn_must(dn_masks_encode(&text, &length, result->masks, result->mask_size, boxes, count,
                            result->height, result->width, .5f));
    dn_buffer_free(text);
    free(boxes);
}

static void take(dn_stream *stream)
{
    dn_stream_result out;
    dn_must(dn_stream_next(stream, &out));
    dn_encode_all_masks(out.result);
    dn_result_free(out.result);
    dn_image_free(&out.image);
}

typedef struct dn_files {
    char **paths;
    int64_t count, next;
    dn_stream_image *batch; /* (size) */
    int32_t size;
} dn_files;

static void submit(dn_stream *stream, dn_files *files, int32_t images)
{
    for (int32_t i = 0; i < images; i++)
        files->batch[i] = (dn_stream_image){.path = files->paths[files->next++ % files->count]};
    dn_must(dn_stream_submit(stream, files->batch, images));
}

static void run(dn_stream *stream, dn_files *files, int64_t images)
{
    int64_t submitted = 0, taken = 0;
    while (taken < images) {
        while (submitted < images && dn_stream_has_room(stream)) {
            const int64_t left = images - submitted;
            const int32_t some = left < files->size ? (int32_t)left : files->size;
            submit(stream, files, some);
            submitted += some;
        }
        take(stream);
        taken++;
    }
}

dn_throughput dn_measure_throughput(dn_network *network, const dn_stream_options *options,
                                    char **paths, int64_t count, int64_t rounds, int32_t batch)
{
    dn_stream *stream;
    dn_files files = {.paths = paths, .count = count, .size = batch};
    files.batch = malloc((size_t)batch * sizeof *files.batch);
    if (!files.batch) dn_die("out of memory");
    dn_must(dn_stream_create(network, options, &stream));
    const int64_t images = (count * rounds + batch - 1) / batch * batch; /* whole batches */
    run(stream, &files, (int64_t)DN_WARM_UP_BATCHES * batch);
    const double start = dn_now();
    run(stream, &files, images);
    const dn_throughput found = {images, dn_now() - start};
    dn_stream_free(stream);
    free(files.batch);
    return found;
}
