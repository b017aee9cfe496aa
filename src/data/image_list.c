/* Image lists and folders of images; where the label file of an image lies.
 *
 * A list names one image a line, relative to the working directory or else to the list. A folder
 * stands for the images in it (not in its folders), sorted by name.
 * Label paths: darknet-compatible, see dn_label_path in labels.h.
 */
#include "core/memory.h"
#include "data/labels.h"
#include "data/path.h"
#include "data/text_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static dn_status add_image(dn_builder *builder, const char *path, const char *file_name)
{
    if (!path || !file_name) return DN_ERROR_MEMORY;
    return dn_builder_add_image(
        builder,
        &(dn_dataset_image){.path = path, .file_name = file_name, .id = builder->image_count + 1});
}

/* ---- lists ---- */

static dn_status read_line(dn_builder *builder, const char *line, int32_t number)
{
    const char *list = builder->source->path;
    dn_arena *arena = &builder->dataset->arena;
    char *path = dn_path_resolve(arena, list, line);
    if (!path) return DN_ERROR_MEMORY;
    if (!dn_path_exists(path))
        return dn_builder_fault(builder, DN_FINDING_IMAGE, list, number,
                                "there is no image %s (from the working directory or the list's "
                                "folder); left out",
                                line);
    return add_image(builder, path, dn_arena_join(arena, line, ""));
}

dn_status dn_read_image_list(dn_builder *builder)
{
    dn_text_file file;
    const char *list = builder->source->path;
    DN_TRY(dn_text_open(list, &file));
    dn_status status = DN_OK;
    char *first = NULL;
    for (char *line; status == DN_OK && (line = dn_text_line(&file));) {
        if (*line == '\0') continue;
        if (!first) first = line;
        status = read_line(builder, line, file.line);
    }
    if (status == DN_OK && !first) status = dn_fail(DN_ERROR_DATA, "%s: names no images", list);
    if (status == DN_OK && builder->image_count == 0)
        status = dn_fail(DN_ERROR_DATA,
                         "%s: none of its images exists, from the working directory or the list's "
                         "folder; the first is %s",
                         list, first);
    dn_text_close(&file);
    return status;
}

/* ---- folders ---- */

bool dn_is_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png",  ".bmp",
                                          ".ppm", ".tif",  ".tiff", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof endings[0]; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

static int compare_names(const void *left, const void *right)
{
    const dn_dataset_image *a = left, *b = right;
    return strcmp(a->file_name, b->file_name);
}

static bool is_json_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && strcasecmp(dot, ".json") == 0;
}

/* Adds the files of the folder whose names are wanted. */
static dn_status add_files(dn_builder *builder, bool (*wanted)(const char *name))
{
    const char *folder = builder->source->path;
    DIR *directory = opendir(folder);
    if (!directory) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", folder, strerror(errno));
    dn_status status = DN_OK;
    for (struct dirent *entry; status == DN_OK && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' || !wanted(entry->d_name)) continue;
        char *path = dn_path_join(&builder->dataset->arena, folder, entry->d_name);
        status =
            add_image(builder, path, path ? path + strlen(path) - strlen(entry->d_name) : path);
    }
    closedir(directory);
    return status;
}

dn_status dn_read_image_folder(dn_builder *builder)
{
    DN_TRY(add_files(builder, dn_is_image_name));
    const bool labels_only = builder->image_count == 0;
    if (labels_only) DN_TRY(add_files(builder, is_json_name));
    if (builder->image_count == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: the folder holds no images (those in folders within it do not count)",
                       builder->source->path);
    dn_dataset_image *images = builder->images;
    qsort(images, (size_t)builder->image_count, sizeof *images, compare_names);
    for (int64_t i = 0; i < builder->image_count; i++) {
        images[i].id = i + 1;
        if (labels_only) images[i].label_path = images[i].path;
    }
    return DN_OK;
}

/* ---- label paths ---- */

/* The `index`-th "images" or "JPEGImages" among the folders of the path, from the end; NULL: there
 * are fewer. */
static const char *find_images_folder(const char *path, int32_t index, size_t *length)
{
    size_t end = dn_path_folder(path); /* behind the slash of the folder looked at */
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && path[start - 1] != '/') start--;
        *length = end - 1 - start;
        const char *part = path + start;
        const bool match = (*length == 6 && memcmp(part, "images", 6) == 0) ||
                           (*length == 10 && memcmp(part, "JPEGImages", 10) == 0);
        if (match && index-- == 0) return part;
        end = start;
    }
    return NULL;
}

dn_status dn_label_path(const char *image_path, const char *folder, bool beside, const char *ending,
                        int32_t index, char **out)
{
    size_t old_length = 0;
    *out = NULL;
    const char *old = find_images_folder(image_path, index, &old_length);
    if (!old && !beside) return DN_OK;
    if (!old && index > 0 && !find_images_folder(image_path, index - 1, &old_length)) return DN_OK;
    const char *name = image_path + dn_path_folder(image_path);
    const char *dot = strrchr(name, '.');
    const size_t stem = dot ? (size_t)(dot - image_path) : strlen(image_path);
    char *path = dn_alloc(stem + strlen(folder) + strlen(ending) + 1);
    if (!path) return DN_ERROR_MEMORY;
    if (old) {
        const size_t before = (size_t)(old - image_path), behind = before + old_length;
        memcpy(path, image_path, before);
        strcat(path, folder);
        memcpy(path + strlen(path), image_path + behind, stem - behind);
    } else {
        memcpy(path, image_path, stem);
    }
    strcat(path, ending);
    *out = path;
    return DN_OK;
}
