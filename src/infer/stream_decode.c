/* Files of a stream: read by its workers, and decoded by the CPU or, where the stream was asked to
 * and the device knows such files, there (dn_device_jpeg of core/backend.h).
 *
 * The device gets JPEG files whose picture is the same whoever decodes it but for rounding: plain
 * ones, to be seen as they are stored. What it refuses all the same the CPU decodes, or says what
 * is wrong with it.
 */
#include "core/cfg.h"
#include "core/memory.h"
#include "data/image.h"
#include "infer/stream.h"

dn_status dn_stream_check_decoder(const dn_network *network, dn_file_decoder decoder)
{
    const dn_device_jpeg *jpeg = network->backend->jpeg;
    void *opened;
    if (decoder == DN_DECODE_CPU) return DN_OK;
    if (decoder != DN_DECODE_DEVICE)
        return dn_fail(DN_ERROR_ARGUMENT, "decoder %d: 0 (the CPU) and 1 (the device) are allowed",
                       (int)decoder);
    if (!jpeg)
        return dn_fail(DN_ERROR_DEVICE,
                       "nvJPEG decodes files for networks on a GPU, this one is on the CPU");
    DN_TRY(jpeg->open(&opened));
    jpeg->close(opened);
    return DN_OK;
}

dn_status dn_stream_worker_make(const dn_stream *stream, dn_stream_worker *worker)
{
    DN_TRY(stream->backend->select(stream->device));
    if (stream->decoder == DN_DECODE_CPU) return DN_OK;
    return stream->backend->jpeg->open(&worker->decoder);
}

void dn_stream_worker_free(const dn_stream *stream, dn_stream_worker *worker)
{
    if (worker->decoder) stream->backend->jpeg->close(worker->decoder);
    dn_input_scratch_free(stream->backend, &worker->scratch);
}

static dn_status decode_there(const dn_stream *stream, dn_stream_worker *worker,
                              const dn_image_file *file, dn_image *seen, bool *done)
{
    dn_image_header header;
    *done = false;
    if (!dn_image_is_plain_jpeg(file, &header)) return DN_OK;
    const size_t pixels = (size_t)header.width * (size_t)header.height;
    DN_TRY(dn_input_reserve(stream->backend, &worker->scratch, 3 * pixels));
    *seen = (dn_image){header.width, header.height, worker->scratch.pixels};
    return stream->backend->jpeg->decode(worker->decoder, file->bytes, file->size, seen, done);
}

static dn_status decode(const dn_stream *stream, dn_stream_worker *worker,
                        const dn_image_file *file, dn_image *out, dn_image *seen)
{
    bool done;
    DN_TRY(decode_there(stream, worker, file, seen, &done));
    if (done) {
        *out = (dn_image){seen->width, seen->height, NULL};
        return DN_OK;
    }
    DN_TRY(dn_image_load_memory(file->bytes, file->size, file->name, out));
    *seen = *out;
    return DN_OK;
}

dn_status dn_stream_decode(const dn_stream *stream, dn_stream_worker *worker, dn_stream_item *item,
                           dn_image *seen)
{
    char *bytes;
    size_t size;
    if (!worker->decoder) {
        DN_TRY(dn_image_load(item->path, &item->image));
        *seen = item->image;
        return DN_OK;
    }
    DN_TRY(dn_read_file(item->path, DN_IMAGE_FILE_LIMIT, &bytes, &size));
    const dn_image_file file = {item->path, (const uint8_t *)bytes, size};
    const dn_status status = decode(stream, worker, &file, &item->image, seen);
    dn_free(bytes);
    return status;
}
