/* Darknet's run-length mask files: one row an instance, `class run,run,run,...`.
 *
 * Runs go row after row over the image at its original size, first of zeros, then of ones and zeros
 * in turn; pixels behind the last run take the next value. The size is that of the image file. Runs
 * may be separated by commas, blanks or both. A file without rows: an image without objects.
 */
#include "core/memory.h"
#include "core/number.h"
#include "data/labels.h"
#include "data/text_file.h"

#include <string.h>

/* Reads the runs behind the class; *count is -1 where the row cannot be used. */
static dn_status read_runs(dn_label_reader *reader, char *text, int64_t *count)
{
    static const char separators[] = ", \t";
    int64_t read = 0;
    *count = -1;
    for (text += strspn(text, separators); *text; text += strspn(text, separators)) {
        const size_t length = strcspn(text, separators);
        int64_t value;
        if (!dn_read_integer(text, length, &value) || value < 0 || value > UINT32_MAX)
            return DN_LABEL_FAULT(reader, DN_FINDING_MASK, "'%.*s' is not a number of pixels",
                                  (int)(length < 40 ? length : 40), text);
        uint32_t *runs = dn_grown(reader->runs, read, &reader->run_capacity, sizeof *runs);
        if (!runs) return DN_ERROR_MEMORY;
        reader->runs = runs;
        runs[read++] = (uint32_t)value;
        text += length;
    }
    if (read == 0)
        return DN_LABEL_FAULT(reader, DN_FINDING_MASK, "no runs (run,run,...) follow the class");
    *count = read;
    return DN_OK;
}

static dn_status read_row(dn_label_reader *reader, const dn_dataset_image *image, char *line)
{
    char *word = dn_text_word(&line);
    if (!word) return DN_OK;
    int32_t class_id;
    int64_t count = -1;
    DN_TRY(dn_label_class_numbered(reader, word, &class_id));
    if (class_id >= 0) DN_TRY(read_runs(reader, line, &count));
    if (count < 0) return DN_OK;
    dn_rle mask = {0};
    dn_status status =
        dn_rle_from_row_runs(&mask, image->height, image->width, reader->runs, count);
    if (status == DN_ERROR_DATA)
        return DN_LABEL_FAULT(reader, DN_FINDING_MASK, "class %d: %.300s", (int)class_id,
                              dn_error_message());
    if (status == DN_OK) status = dn_label_add_mask(reader, &mask, class_id, false);
    dn_rle_free(&mask);
    if (class_id > reader->max_class) reader->max_class = class_id;
    return status;
}

dn_status dn_read_run_file(dn_label_reader *reader, dn_dataset_image *image)
{
    dn_text_file file;
    DN_TRY(dn_image_size(image->path, &image->width, &image->height));
    DN_TRY(dn_text_open(reader->path, &file));
    dn_status status = DN_OK;
    for (char *line; status == DN_OK && (line = dn_text_line(&file));) {
        reader->line = file.line;
        status = read_row(reader, image, line);
    }
    dn_text_close(&file);
    return status;
}
