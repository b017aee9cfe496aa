/* Data sets of classifiers: an image list or folder, and a file of labels, one a line, of which an
 * image's path holds the one of its class ("n02084071" in "train/n02084071/n02084071_1.jpg").
 *
 * Where several labels occur in a path, the one that ends nearest to the path's end counts, of two
 * that end there the longer one: so "photos/carol/dog.7.jpg" is a dog, not a car, and a bobcat no
 * cat. Darknet gives such an image two classes in training and the first line's in validation. The
 * labels behind the first `classes` are not looked for, as in Darknet, whose list for ImageNet has
 * 21,842 lines for 1,000 classes.
 */
#include "core/memory.h"
#include "data/dataset.h"

#include <string.h>

/* Where the last occurrence of `label` in `path` ends; 0: there is none. */
static size_t end_of_last(const char *path, const char *label, size_t length)
{
    size_t end = 0;
    for (const char *at = path; (at = strstr(at, label)); at++) end = (size_t)(at - path) + length;
    return end;
}

/* The index of the image's label, -1: none. */
static int32_t class_of(const dn_names *labels, const char *path)
{
    int32_t best = -1;
    size_t best_end = 0, best_length = 0;
    for (int32_t i = 0; i < labels->count; i++) {
        const size_t length = strlen(labels->items[i]);
        const size_t end = end_of_last(path, labels->items[i], length);
        if (end == 0 || end < best_end || (end == best_end && length <= best_length)) continue;
        best = i;
        best_end = end;
        best_length = length;
    }
    return best;
}

static dn_status find_classes(dn_builder *builder)
{
    const dn_dataset_source *source = builder->source;
    int64_t kept = 0;
    for (int64_t i = 0; i < builder->image_count; i++) {
        dn_dataset_image *image = &builder->images[i];
        image->label_path = image->path;
        image->class_id = class_of(&builder->names, image->path);
        if (image->class_id < 0) {
            DN_TRY(dn_builder_fault(builder, DN_FINDING_CLASS, image->path, 0,
                                    "none of the %d labels of %s occurs in its path",
                                    (int)builder->names.count, source->labels));
            continue;
        }
        builder->images[kept++] = *image;
    }
    if (kept == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of the %d labels of %s occurs in the path of an image; the first "
                       "image is %s, the first label %s",
                       source->path, (int)builder->names.count, source->labels,
                       builder->images[0].path, builder->names.items[0]);
    builder->image_count = kept;
    return DN_OK;
}

dn_status dn_read_class_list(dn_builder *builder, bool folder)
{
    const dn_dataset_source *source = builder->source;
    DN_TRY(dn_names_read(source->labels, &builder->dataset->arena, &builder->names));
    if (source->classes > builder->names.count)
        return dn_fail(DN_ERROR_CONFIG, "%s: holds %d labels, but classes=%d", source->labels,
                       (int)builder->names.count, (int)source->classes);
    if (source->classes > 0) builder->names.count = source->classes;
    DN_TRY(folder ? dn_read_image_folder(builder) : dn_read_image_list(builder));
    DN_TRY(find_classes(builder));
    builder->dataset->view.has_image_classes = true;
    return dn_builder_number_classes(builder, builder->names.count);
}
