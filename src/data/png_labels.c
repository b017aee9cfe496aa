/* Instance label images: one PNG an image, 0 background, each other value one instance of class 0.
 *
 * Grey PNGs of 1 to 16 bits, and palette PNGs, whose index is the value. Instances become runs when
 * the data set is loaded: the PNGs are read once.
 * Images whose PNG is missing or cannot be read are left out, since as images without objects they
 * would teach that everything is background.
 */
#include "core/memory.h"
#include "data/dataset.h"
#include "data/path.h"

#include <stdio.h>
#include <string.h>

static dn_status add_instances(dn_builder *builder, const dn_rle *masks, int64_t count,
                               int64_t image)
{
    for (int64_t i = 0; i < count; i++) {
        int32_t box[4];
        dn_rle_bounds(&masks[i], box);
        dn_dataset_object object = {.bbox = {box[0], box[1], box[2], box[3]},
                                    .area = (double)dn_rle_area(&masks[i]),
                                    .id = builder->object_count + 1};
        DN_TRY(dn_builder_keep_rle(builder, &masks[i], &object));
        DN_TRY(dn_builder_add_object(builder, &object, image));
    }
    return DN_OK;
}

static dn_status read_image_labels(dn_builder *builder, dn_dataset_image *image, int64_t index)
{
    uint16_t *labels = NULL; /* (height, width) */
    dn_rle *masks = NULL;
    uint16_t *values = NULL;
    int64_t count = 0;
    DN_TRY(dn_label_png_load(image->label_path, &labels, &image->width, &image->height));
    dn_status status =
        dn_rles_from_labels(&masks, &values, &count, labels, image->height, image->width);
    dn_free(labels);
    if (status != DN_OK) return status;
    status = add_instances(builder, masks, count, index);
    dn_rles_free(masks, count);
    dn_buffer_free(values);
    return status;
}

/* masks folder / name of the image with the ending .png */
static char *mask_path(dn_builder *builder, const dn_dataset_image *image)
{
    const char *name = image->path + dn_path_folder(image->path);
    const char *dot = strrchr(name, '.');
    char *path = dn_alloc(strlen(name) + sizeof ".png");
    if (!path) return NULL;
    memcpy(path, name, dot ? (size_t)(dot - name) : strlen(name));
    strcat(path, ".png");
    char *joined = dn_path_join(&builder->dataset->arena, builder->source->masks_folder, path);
    dn_free(path);
    return joined;
}

dn_status dn_read_label_images(dn_builder *builder)
{
    const char *folder = builder->source->masks_folder;
    if (!dn_path_is_folder(folder))
        return dn_fail(DN_ERROR_IO, "%s: there is no such folder of mask images", folder);
    int64_t kept = 0;
    const char *first = NULL;
    for (int64_t i = 0; i < builder->image_count; i++) {
        dn_dataset_image image = builder->images[i];
        image.label_path = mask_path(builder, &image);
        if (!image.label_path) return DN_ERROR_MEMORY;
        if (!first) first = image.label_path;
        const dn_status status = read_image_labels(builder, &image, kept);
        if (status == DN_ERROR_MEMORY) return status;
        if (status == DN_OK) {
            builder->images[kept++] = image;
        } else {
            if (builder->source->strict) return status;
            char reason[256];
            snprintf(reason, sizeof reason, "%s", dn_error_message());
            DN_TRY(dn_builder_fault(builder, image.path, 0, "left out, because of %s", reason));
        }
    }
    if (kept == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of the %lld images has a mask image there that can be read; that "
                       "of the first would be %s",
                       folder, (long long)builder->image_count, first);
    builder->image_count = kept;
    if (builder->names.count > 0) return dn_builder_number_classes(builder, 0);
    return dn_builder_number_classes(builder, 1);
}
