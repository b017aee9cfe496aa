/* Label files beside images: which file belongs to an image, and which reader to the file.
 *
 * The place decides, never the content: text files in a folder `mask` hold Darknet's run-length
 * masks, those in `labels` or beside the image rows of boxes or polygons, JSON files are
 * LabelMe's. The first that exists counts, in this order. An image without a file has no objects,
 * and is reported; an empty file of rows says so on purpose.
 */
#include "core/memory.h"
#include "data/labels.h"
#include "data/path.h"

#include <stdio.h>

static const struct {
    const char *folder, *ending;
    bool beside;
    dn_read_labels read;
} places[] = {
    {"mask", ".txt", false, dn_read_run_file},
    {"labels", ".txt", true, dn_read_row_file},
    {"labels", ".json", true, dn_read_labelme},
};

enum { PLACES = sizeof places / sizeof places[0], ROWS = 1 };

/* The first file of a place that exists; NULL: there is none. */
static dn_status find_in_place(dn_builder *builder, const dn_dataset_image *image, int place,
                               const char **out)
{
    *out = NULL;
    for (int32_t i = 0; !*out; i++) {
        char *path;
        DN_TRY(dn_label_path(image->path, places[place].folder, places[place].beside,
                             places[place].ending, i, &path));
        if (!path) return DN_OK;
        const bool there = dn_path_exists(path);
        if (there) *out = dn_arena_join(&builder->dataset->arena, path, "");
        dn_free(path);
        if (there && !*out) return DN_ERROR_MEMORY;
    }
    return DN_OK;
}

/* Where an image's rows should be: what is reported when there is nothing. */
static dn_status expected_path(dn_builder *builder, dn_dataset_image *image)
{
    char *path;
    DN_TRY(dn_label_path(image->path, places[ROWS].folder, true, places[ROWS].ending, 0, &path));
    image->label_path = dn_arena_join(&builder->dataset->arena, path, "");
    dn_free(path);
    return image->label_path ? DN_OK : DN_ERROR_MEMORY;
}

/* Sets label_path and the reader of the image; *read is NULL where there is no label file. */
static dn_status find_label_file(dn_builder *builder, dn_dataset_image *image, dn_read_labels *read)
{
    for (int place = 0; place < PLACES; place++) {
        const char *path;
        DN_TRY(find_in_place(builder, image, place, &path));
        if (!path) continue;
        image->label_path = path;
        *read = places[place].read;
        return DN_OK;
    }
    *read = NULL;
    DN_TRY(expected_path(builder, image));
    return dn_builder_fault(builder, DN_FINDING_UNLABELLED, image->path, 0,
                            "it has no label file (%s or the like): taken as an image without "
                            "objects",
                            image->label_path);
}

static dn_status read_all(dn_label_reader *reader)
{
    dn_builder *builder = reader->builder;
    int64_t files = 0, lost = 0, kept_count = 0;
    const char *first = NULL;
    for (int64_t i = 0; i < builder->image_count; i++) {
        dn_dataset_image image = builder->images[i];
        dn_read_labels read = dn_read_labelme; /* of a folder of LabelMe files */
        bool kept = true;
        if (image.label_path == NULL) DN_TRY(find_label_file(builder, &image, &read));
        if (!first) first = image.label_path;
        reader->image = kept_count;
        if (read) DN_TRY(dn_labels_read(reader, read, &image, &kept));
        files += read && kept;
        lost += !kept;
        if (kept) builder->images[kept_count++] = image;
    }
    if (files == 0 && lost == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of its %lld images has a label file; that of the first would be "
                       "%s",
                       builder->source->path, (long long)builder->image_count, first);
    if (files == 0)
        return dn_fail(DN_ERROR_DATA, "%s: none of its label files can be used; the first: %s",
                       builder->source->path, builder->dataset->faults[0]);
    builder->image_count = kept_count;
    return DN_OK;
}

dn_status dn_read_label_files(dn_builder *builder)
{
    dn_label_reader reader;
    const bool have_images = builder->images[0].label_path == NULL;
    dn_status status = dn_labels_begin(&reader, builder);
    if (status == DN_OK && builder->source->images_only && have_images) {
        for (int64_t i = 0; i < builder->image_count; i++)
            builder->images[i].label_path = builder->images[i].path;
    } else if (status == DN_OK) {
        status = read_all(&reader);
    }
    return dn_labels_end(&reader, status);
}
