/* Folders of masks: for each image of a list or folder a file of the same name, aside from the
 * ending.
 *
 * .png: an instance label image, 0 background, each other value one instance of class 0; grey of 1
 * to 16 bits, or a palette, whose index is the value. Instances become runs when the data set is
 * loaded: the PNGs are read once. .txt, where there is no PNG: Darknet's run-length masks
 * (darknet_masks.c).
 * Images whose file is missing or cannot be read are left out, since as images without objects they
 * would teach that everything is background.
 */
#include "core/memory.h"
#include "data/labels.h"
#include "data/path.h"

#include <string.h>

dn_status dn_read_label_png(dn_label_reader *reader, dn_dataset_image *image)
{
    uint16_t *labels = NULL; /* (height, width) */
    dn_rle *masks = NULL;
    uint16_t *values = NULL;
    int64_t count = 0;
    DN_TRY(dn_label_png_load(reader->path, &labels, &image->width, &image->height));
    dn_status status =
        dn_rles_from_labels(&masks, &values, &count, labels, image->height, image->width);
    dn_free(labels);
    if (status != DN_OK) return status;
    if (count > 0 && reader->max_class < 0) reader->max_class = 0;
    for (int64_t i = 0; i < count && status == DN_OK; i++)
        status = dn_label_add_mask(reader, &masks[i], 0, false);
    dn_rles_free(masks, count);
    dn_buffer_free(values);
    return status;
}

/* masks folder / name of the image with this ending */
static char *mask_path(dn_builder *builder, const dn_dataset_image *image, const char *ending)
{
    const char *name = image->path + dn_path_folder(image->path);
    const char *dot = strrchr(name, '.');
    char *path = dn_alloc(strlen(name) + strlen(ending) + 1);
    if (!path) return NULL;
    memcpy(path, name, dot ? (size_t)(dot - name) : strlen(name));
    strcat(path, ending);
    char *joined = dn_path_join(&builder->dataset->arena, builder->source->masks_folder, path);
    dn_free(path);
    return joined;
}

static dn_status read_masks(dn_label_reader *reader)
{
    dn_builder *builder = reader->builder;
    int64_t kept_count = 0;
    const char *first = NULL;
    for (int64_t i = 0; i < builder->image_count; i++) {
        dn_dataset_image image = builder->images[i];
        const char *png = mask_path(builder, &image, ".png");
        const char *runs = png ? mask_path(builder, &image, ".txt") : NULL;
        if (!runs) return DN_ERROR_MEMORY;
        const bool use_runs = !dn_path_exists(png) && dn_path_exists(runs);
        image.label_path = use_runs ? runs : png;
        if (!first) first = image.label_path;
        bool kept;
        reader->image = kept_count;
        DN_TRY(
            dn_labels_read(reader, use_runs ? dn_read_run_file : dn_read_label_png, &image, &kept));
        if (kept) builder->images[kept_count++] = image;
    }
    if (kept_count == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of the %lld images has a mask image there that can be read; that "
                       "of the first would be %s",
                       builder->source->masks_folder, (long long)builder->image_count, first);
    builder->image_count = kept_count;
    return DN_OK;
}

dn_status dn_read_mask_folder(dn_builder *builder)
{
    const char *folder = builder->source->masks_folder;
    if (!dn_path_is_folder(folder))
        return dn_fail(DN_ERROR_IO, "%s: there is no such folder of mask images", folder);
    if (builder->images[0].label_path)
        return dn_fail(DN_ERROR_DATA, "%s: the folder holds no images", builder->source->path);
    dn_label_reader reader;
    dn_status status = dn_labels_begin(&reader, builder);
    if (status == DN_OK) status = read_masks(&reader);
    if (status == DN_OK && reader.max_class < 0) reader.max_class = 0;
    return dn_labels_end(&reader, status);
}
