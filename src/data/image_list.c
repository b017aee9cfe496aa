/* Image lists and folders of images; where the label file of an image lies.
 *
 * A list names one image a line, relative to the working directory or else to the list. A folder
 * stands for the images in it (not in its folders), sorted by name.
 * Label paths: darknet-compatible, see dn_label_path in dataset.h.
 */
#include "core/memory.h"
#include "data/dataset.h"
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
    return dn_builder_add_image(builder, &(dn_dataset_image){.path = path,
                                                             .file_name = file_name,
                                                             .label_path = path,
                                                             .id = builder->image_count + 1});
}

/* ---- lists ---- */

static dn_status read_line(dn_builder *builder, const char *line, int32_t number)
{
    const char *list = builder->source->path;
    dn_arena *arena = &builder->dataset->arena;
    char *path = dn_path_resolve(arena, list, line);
    if (!path) return DN_ERROR_MEMORY;
    if (!dn_path_exists(path))
        return dn_builder_fault(builder, list, number,
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

static bool is_image_name(const char *name)
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

dn_status dn_read_image_folder(dn_builder *builder)
{
    const char *folder = builder->source->path;
    dn_arena *arena = &builder->dataset->arena;
    DIR *directory = opendir(folder);
    if (!directory) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", folder, strerror(errno));
    dn_status status = DN_OK;
    for (struct dirent *entry; status == DN_OK && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' || !is_image_name(entry->d_name)) continue;
        char *path = dn_path_join(arena, folder, entry->d_name);
        status =
            add_image(builder, path, path ? path + strlen(path) - strlen(entry->d_name) : path);
    }
    closedir(directory);
    if (status != DN_OK) return status;
    if (builder->image_count == 0)
        return dn_fail(DN_ERROR_DATA, "%s: the folder holds no images", folder);
    qsort(builder->images, (size_t)builder->image_count, sizeof *builder->images, compare_names);
    for (int64_t i = 0; i < builder->image_count; i++) builder->images[i].id = i + 1;
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

dn_status dn_label_path(const char *image_path, int32_t index, char **out)
{
    size_t folder_length = 0;
    *out = NULL;
    const char *folder = find_images_folder(image_path, index, &folder_length);
    if (!folder && index > 0 && !find_images_folder(image_path, index - 1, &folder_length))
        return DN_OK;
    const char *name = image_path + dn_path_folder(image_path);
    const char *dot = strrchr(name, '.');
    const size_t stem = dot ? (size_t)(dot - image_path) : strlen(image_path);
    char *path = dn_alloc(stem + sizeof "labels.txt");
    if (!path) return DN_ERROR_MEMORY;
    if (folder) {
        const size_t before = (size_t)(folder - image_path);
        const size_t behind = before + folder_length;
        memcpy(path, image_path, before);
        memcpy(path + before, "labels", 6);
        memcpy(path + before + 6, image_path + behind, stem - behind);
    } else {
        memcpy(path, image_path, stem);
    }
    strcat(path, ".txt");
    *out = path;
    return DN_OK;
}
