/* `check`: the file of an image, and what its labels say of it as a whole. See check.h.
 *
 * The file is read once: decoded as training would (a size alone says nothing of a file that is
 * cut), and hashed (FNV-1a, Fowler, Noll and Vo).
 */
#include "core/cfg.h"
#include "core/memory.h"
#include "data/check.h"
#include "data/path.h"
#include "data/text_file.h"

#include <string.h>

enum { DN_CHECK_FILE_LIMIT = 1 << 30 };

static uint64_t hash_bytes(const char *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Fills *out where the file is an image; the message tells otherwise. */
static dn_status read_image(const char *path, dn_checked_image *out)
{
    char *bytes;
    size_t size;
    dn_image image = {0};
    DN_TRY(dn_read_file(path, DN_CHECK_FILE_LIMIT, &bytes, &size));
    const dn_status status = dn_image_load_memory(bytes, size, path, &image);
    if (status == DN_OK) {
        out->path = path;
        out->width = image.width;
        out->height = image.height;
        out->hash = hash_bytes(bytes, size);
        out->size = size;
    }
    dn_image_free(&image);
    dn_free(bytes);
    return status;
}

/* The reason without the path, which the finding has. */
static const char *without_path(const char *message, const char *path)
{
    const size_t length = strlen(path);
    const bool named = strncmp(message, path, length) == 0 && message[length] == ':';
    return named ? message + length + 2 : message;
}

/* Does the text file hold nothing but blanks? */
static bool is_empty_text(const char *path)
{
    dn_text_file file;
    const char *ending = strrchr(path, '.');
    if (!ending || strcmp(ending, ".txt") != 0 || dn_text_open(path, &file) != DN_OK) return false;
    bool empty = true;
    for (char *line; empty && (line = dn_text_line(&file));) empty = *line == '\0';
    dn_text_close(&file);
    return empty;
}

static dn_status check_count(const dn_dataset_view *view, const dn_dataset_image *image,
                             dn_finding_list *findings)
{
    int64_t crowds = 0;
    for (int64_t i = 0; i < image->object_count; i++)
        crowds += view->objects[image->first_object + i].crowd;
    if (image->object_count > 0 && crowds == image->object_count)
        return dn_finding_add(findings, DN_FINDING_CROWD, image->path, 0,
                              "has crowds only (%lld): nothing to learn from", (long long)crowds);
    if (image->object_count > 0 || !dn_path_exists(image->label_path)) return DN_OK; /* reported */
    if (is_empty_text(image->label_path))
        return dn_finding_add(findings, DN_FINDING_NEGATIVE, image->label_path, 0,
                              "is empty: an image without objects");
    return dn_finding_add(findings, DN_FINDING_EMPTY, image->path, 0, "has no objects in %s",
                          image->label_path);
}

dn_status dn_check_image(const dn_dataset *dataset, int64_t image, dn_checked_image *out,
                         dn_finding_list *findings)
{
    const dn_dataset_view *view = dn_dataset_get(dataset);
    const dn_dataset_image *labelled = &view->images[image];
    const dn_status status = read_image(labelled->path, out);
    if (status == DN_ERROR_MEMORY) return status;
    if (status != DN_OK)
        return dn_finding_add(findings, DN_FINDING_IMAGE, labelled->path, 0, "%s",
                              without_path(dn_error_message(), labelled->path));
    const bool other_width = labelled->width > 0 && labelled->width != out->width;
    const bool other_height = labelled->height > 0 && labelled->height != out->height;
    if (other_width || other_height)
        DN_TRY(dn_finding_add(findings, DN_FINDING_SIZE, labelled->path, 0,
                              "is %d x %d (width x height), but %s says %d x %d", (int)out->width,
                              (int)out->height, labelled->label_path, (int)labelled->width,
                              (int)labelled->height));
    return check_count(view, labelled, findings);
}
