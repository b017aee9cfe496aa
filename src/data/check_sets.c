/* `check`: images that are there twice, and label files without an image. See check.h.
 *
 * Images are equal where their files are, byte by byte; a hash finds the candidates. Files of label
 * folders are orphans where no image of the set has them, and none lies where one could: what does
 * not look like a label (a list of images, classes.txt) is left alone.
 */
#include "core/cfg.h"
#include "core/memory.h"
#include "core/number.h"
#include "data/check.h"
#include "data/path.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DN_CHECK_FILE_LIMIT = 1 << 30, DN_CHECK_HEAD = 4096 };

/* ---- twice ---- */

static void report(const dn_finding_sink *sink, dn_finding_kind kind, const char *path,
                   const char *format, const char *other)
{
    char text[512];
    snprintf(text, sizeof text, format, other);
    sink->report(sink->context, &(dn_finding){.kind = kind, .path = path, .text = text});
}

static const char *name_of(const dn_checked_image *image)
{
    return image->path + dn_path_folder(image->path);
}

static int compare_order(const dn_checked_image *a, const dn_checked_image *b)
{
    if (a->set != b->set) return a->set < b->set ? -1 : 1;
    return strcmp(a->path, b->path);
}

static int compare_bytes(const void *left, const void *right)
{
    const dn_checked_image *a = left, *b = right;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return compare_order(a, b);
}

static int compare_names(const void *left, const void *right)
{
    const dn_checked_image *a = left, *b = right;
    const int order = strcmp(name_of(a), name_of(b));
    return order ? order : compare_order(a, b);
}

/* Files of one hash and size. */
static dn_status same_bytes(const dn_checked_image *a, const dn_checked_image *b, bool *same)
{
    char *first = NULL, *second = NULL;
    size_t first_size = 0, second_size = 0;
    *same = true;
    if (strcmp(a->path, b->path) == 0) return DN_OK;
    dn_status status = dn_read_file(a->path, DN_CHECK_FILE_LIMIT, &first, &first_size);
    if (status == DN_OK) status = dn_read_file(b->path, DN_CHECK_FILE_LIMIT, &second, &second_size);
    if (status == DN_OK)
        *same = first_size == second_size && memcmp(first, second, first_size) == 0;
    dn_free(first);
    dn_free(second);
    return status;
}

dn_status dn_check_repeated(dn_checked_image *images, int64_t count, const dn_finding_sink *sink)
{
    int64_t read = 0;
    for (int64_t i = 0; i < count; i++)
        if (images[i].path) images[read++] = images[i];
    if (read == 0) return DN_OK;
    qsort(images, (size_t)read, sizeof *images, compare_bytes);
    for (int64_t i = 1, first = 0; i < read; i++) {
        bool same = false;
        if (images[i].hash == images[first].hash && images[i].size == images[first].size)
            DN_TRY(same_bytes(&images[first], &images[i], &same));
        if (!same) {
            first = i;
        } else if (images[i].set == images[first].set) {
            report(sink, DN_FINDING_REPEATED, images[i].path, "is the same image as %s",
                   images[first].path);
        } else {
            report(sink, DN_FINDING_SPLIT, images[i].path, "is the same image as %s of another set",
                   images[first].path);
        }
    }
    qsort(images, (size_t)read, sizeof *images, compare_names);
    for (int64_t i = 1; i < read; i++) {
        const dn_checked_image *a = &images[i - 1], *b = &images[i];
        if (a->set != b->set && a->hash != b->hash && strcmp(name_of(a), name_of(b)) == 0)
            report(sink, DN_FINDING_NAME, b->path, "has the name of %s of another set", a->path);
    }
    return DN_OK;
}

/* ---- orphans ---- */

/* A folder of labels and the folder of images that it belongs to, both with their last slash. */
typedef struct dn_label_folder {
    const char *labels, *images;
    size_t labels_length, images_length;
} dn_label_folder;

static int compare_folders(const void *left, const void *right)
{
    const dn_label_folder *a = left, *b = right;
    const size_t length = a->labels_length < b->labels_length ? a->labels_length : b->labels_length;
    const int order = memcmp(a->labels, b->labels, length);
    if (order) return order;
    if (a->labels_length != b->labels_length) return a->labels_length < b->labels_length ? -1 : 1;
    const size_t images_length =
        a->images_length < b->images_length ? a->images_length : b->images_length;
    const int images_order = memcmp(a->images, b->images, images_length);
    if (images_order) return images_order;
    return (a->images_length > b->images_length) - (a->images_length < b->images_length);
}

static bool has_ending(const char *name, const char *ending)
{
    const char *dot = strrchr(name, '.');
    return dot && strcasecmp(dot, ending) == 0;
}

/* Does the beginning of a file look like labels: rows with a class, or LabelMe's shapes? */
static bool looks_like_labels(const char *path)
{
    char head[DN_CHECK_HEAD + 1];
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    const size_t length = fread(head, 1, DN_CHECK_HEAD, file);
    fclose(file);
    head[length] = '\0';
    if (has_ending(path, ".json")) return strstr(head, "\"shapes\"") != NULL;
    const char *word = head + strspn(head, " \t\r\n");
    const size_t word_length = strcspn(word, " \t\r\n");
    int64_t value;
    return word_length == 0 || (dn_read_integer(word, word_length, &value) &&
                                word[word_length] != '\0' && word[word_length] != '\n');
}

/* Is there an image of the file's name in the folder? */
static bool has_image(const dn_label_folder *folder, const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".JPG",  ".JPEG", ".PNG",
                                          ".bmp", ".ppm",  ".tif", ".tiff", ".webp"};
    char path[4096];
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const int length = snprintf(path, sizeof path, "%.*s%.*s%s", (int)folder->images_length,
                                    folder->images, (int)(dot - name), name, endings[i]);
        if (length > 0 && length < (int)sizeof path && dn_path_exists(path)) return true;
    }
    return false;
}

/* Looks at one folder of labels, with the `count` folders of images that it belongs to. */
static void check_folder(const dn_label_folder *folders, size_t count, bool pngs,
                         const dn_finding_sink *sink)
{
    char folder[4096], path[8192];
    snprintf(folder, sizeof folder, "%.*s", (int)folders->labels_length, folders->labels);
    DIR *directory = opendir(folder[0] ? folder : ".");
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *name = entry->d_name;
        const bool label = has_ending(name, ".txt") || has_ending(name, ".json");
        if (name[0] == '.' || !(label || (pngs && has_ending(name, ".png")))) continue;
        bool found = false;
        for (size_t i = 0; i < count && !found; i++) found = has_image(&folders[i], name);
        snprintf(path, sizeof path, "%s%s", folder, name);
        if (found || (label && !looks_like_labels(path))) continue;
        char images[4096];
        snprintf(images, sizeof images, "%.*s", (int)folders->images_length, folders->images);
        report(sink, DN_FINDING_ORPHAN, path, "has no image in %s", images[0] ? images : "./");
    }
    closedir(directory);
}

static bool same_labels(const dn_label_folder *a, const dn_label_folder *b)
{
    return a->labels_length == b->labels_length &&
           memcmp(a->labels, b->labels, a->labels_length) == 0;
}

dn_status dn_check_orphans(const dn_dataset *dataset, const dn_dataset_source *source,
                           const dn_finding_sink *sink)
{
    const dn_dataset_view *view = dn_dataset_get(dataset);
    const size_t count = (size_t)view->image_count;
    if (count == 0 || strcmp(view->images[0].label_path, source->path) == 0)
        return DN_OK; /* COCO */
    dn_label_folder *folders = dn_alloc(count * sizeof *folders);
    if (!folders) return DN_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *label = view->images[i].label_path, *image = view->images[i].path;
        folders[i] = (dn_label_folder){label, image, dn_path_folder(label), dn_path_folder(image)};
    }
    qsort(folders, count, sizeof *folders, compare_folders);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++)
        if (compare_folders(&folders[i], &folders[kept - 1]) != 0) folders[kept++] = folders[i];
    for (size_t i = 0, end; i < kept; i = end) {
        for (end = i + 1; end < kept && same_labels(&folders[i], &folders[end]);) end++;
        check_folder(&folders[i], end - i, source->masks_folder != NULL, sink);
    }
    dn_free(folders);
    return DN_OK;
}
