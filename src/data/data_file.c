/* Darknet's .data files: keys as in Darknet's, and our train_images, train_masks, valid_images,
 * valid_masks. The text is read by core/cfg.h, the values by core/option.h.
 */
#include "core/memory.h"
#include "core/option.h"
#include "data/dataset.h"
#include "data/path.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The public part comes first: a pointer to one is a pointer to the other. */
typedef struct dn_data_file_owner {
    dn_data_file data;
    dn_cfg *cfg;    /* owns the values */
    dn_arena arena; /* owns the resolved paths */
} dn_data_file_owner;

#define DN_PATH(field, doc) DN_TEXT(dn_data_file, field, #field, doc)

static const dn_option options[] = {
    DN_INT(dn_data_file, classes, "classes", 0, 0, DN_CLASSES_MAX, "number of classes"),
    DN_PATH(names, "file of class names, one a line"),
    DN_PATH(train, "COCO JSON, image list or folder to train on"),
    DN_PATH(train_images, "folder of the images of a COCO JSON"),
    DN_PATH(train_masks, "folder of instance label PNGs or Darknet's run-length masks"),
    DN_PATH(valid, "COCO JSON, image list or folder to validate on"),
    DN_PATH(valid_images, "folder of the images of a COCO JSON"),
    DN_PATH(valid_masks, "folder of instance label PNGs or Darknet's run-length masks"),
    DN_PATH(backup, "folder for weights"),
    DN_PATH(results, "folder for results"),
    DN_PATH(difficult, "list of label folders of difficult objects"),
    DN_PATH(map, "class index map"),
    DN_PATH(labels, "classifier: file of labels, one of which an image's path holds"),
    DN_PATH(tree, "classifier: class hierarchy"),
    DN_TEXT(dn_data_file, eval, "eval", "form of the results: voc, coco or imagenet"),
    DN_INT(dn_data_file, top, "top", 0, 0, DN_CLASSES_MAX, "classifier: classes shown"),
    DN_INT(dn_data_file, save_weights, "saveweights", 0, 0, INT32_MAX,
           "iterations between kept weights"),
    DN_INT(dn_data_file, save_last, "savelast", 0, 0, INT32_MAX,
           "iterations between _last weights"),
    DN_OPTIONS_END};

static dn_status resolve_paths(dn_data_file_owner *owner)
{
    dn_data_file *data = &owner->data;
    if (!data->backup) data->backup = "backup";
    if (!data->results) data->results = "results";
    const char **const paths[] = {&data->names,       &data->train,  &data->train_images,
                                  &data->train_masks, &data->valid,  &data->valid_images,
                                  &data->valid_masks, &data->backup, &data->results,
                                  &data->difficult,   &data->map,    &data->labels,
                                  &data->tree};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (!*paths[i]) continue;
        *paths[i] = dn_path_resolve(&owner->arena, data->path, *paths[i]);
        if (!*paths[i]) return DN_ERROR_MEMORY;
    }
    return DN_OK;
}

static void warn_of_keys(const dn_data_file_owner *owner, void (*warn)(void *, const char *),
                         void *context)
{
    const dn_cfg_section *section = &owner->cfg->sections[0];
    for (int32_t i = 0; i < section->entry_count; i++) {
        const dn_cfg_entry *entry = &section->entries[i];
        if (entry->used && !entry->repeated) continue;
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s:%d: %s: '%s = %s'", owner->data.path,
                 (int)entry->line, entry->repeated ? "repeated key, ignored" : "Unused field",
                 entry->key, entry->value);
        warn(context, sentence);
    }
}

static dn_status read_data_file(const char *path, dn_data_file_owner *owner)
{
    DN_TRY(dn_cfg_read(path, true, &owner->cfg));
    if (owner->cfg->section_count > 1)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: a .data file has no [sections]; is it a .cfg?",
                       path, (int)owner->cfg->sections[1].line);
    DN_TRY(dn_options_parse(options, owner->cfg, &owner->cfg->sections[0], &owner->data));
    owner->data.path = owner->cfg->name;
    return resolve_paths(owner);
}

dn_status dn_data_file_read(const char *path, void (*warn)(void *context, const char *sentence),
                            void *context, dn_data_file **out)
{
    dn_data_file_owner *owner = dn_alloc(sizeof *owner);
    if (!owner) return DN_ERROR_MEMORY;
    const dn_status status = read_data_file(path, owner);
    if (status != DN_OK) {
        dn_data_file_free(&owner->data);
        return status;
    }
    if (warn) warn_of_keys(owner, warn, context);
    *out = &owner->data;
    return DN_OK;
}

void dn_data_file_free(dn_data_file *data)
{
    if (!data) return;
    dn_data_file_owner *owner = (dn_data_file_owner *)data;
    dn_options_free(options, data);
    dn_cfg_free(owner->cfg);
    dn_arena_free(&owner->arena);
    dn_free(owner);
}

/* ---- sources ---- */

static int32_t line_of_key(const dn_data_file *data, const char *key)
{
    const dn_data_file_owner *owner = (const dn_data_file_owner *)data;
    const dn_cfg_entry *entry = dn_cfg_find(&owner->cfg->sections[0], key);
    return entry ? entry->line : 0;
}

static bool is_about_coco(const char *path)
{
    for (; *path; path++)
        if (strncasecmp(path, "coco", 4) == 0 || strncasecmp(path, "instances_", 10) == 0)
            return true;
    return false;
}

/* Fails where the path of a key is not there; says what belongs there. */
static dn_status check_path(const dn_data_file *data, const char *key, const char *path,
                            const char *wanted)
{
    if (!path || dn_path_exists(path)) return DN_OK;
    return dn_fail(
        DN_ERROR_IO, "%s:%d: %s=%s is not there (from the working directory or beside %s); %s%s",
        data->path, (int)line_of_key(data, key), key, path, data->path,
        is_about_coco(path) ? "docs/coco.md says how to get COCO and where to put it; or give "
                            : "give ",
        wanted);
}

dn_status dn_data_file_class_source(const dn_data_file *data, dn_data_part part,
                                    dn_dataset_source *out)
{
    static const char wanted[] =
        "a file of labels, one a line, of which each image's path holds one";
    const bool train = part == DN_DATA_TRAIN;
    const char *key = train ? "train" : "valid";
    const dn_dataset_source source = {.path = train ? data->train : data->valid,
                                      .labels = data->labels,
                                      .classes = data->classes};
    if (!source.path)
        return dn_fail(DN_ERROR_CONFIG, "%s: has no %s=; give an image list or a folder of images",
                       data->path, key);
    if (!source.labels)
        return dn_fail(DN_ERROR_CONFIG, "%s: has no labels=; give %s", data->path, wanted);
    DN_TRY(check_path(data, key, source.path, "an image list or a folder of images"));
    DN_TRY(check_path(data, "labels", source.labels, wanted));
    *out = source;
    return DN_OK;
}

dn_status dn_data_file_source(const dn_data_file *data, dn_data_part part, dn_dataset_source *out)
{
    static const char *const keys[][3] = {{"train", "train_images", "train_masks"},
                                          {"valid", "valid_images", "valid_masks"}};
    static const char wanted[] =
        "the path of a COCO JSON, of an image list or of a folder of images";
    const bool train = part == DN_DATA_TRAIN;
    const dn_dataset_source source = {.path = train ? data->train : data->valid,
                                      .images_folder =
                                          train ? data->train_images : data->valid_images,
                                      .masks_folder = train ? data->train_masks : data->valid_masks,
                                      .names = data->names,
                                      .classes = data->classes};
    if (!source.path)
        return dn_fail(DN_ERROR_CONFIG, "%s: has no %s=; give %s", data->path, keys[part][0],
                       wanted);
    DN_TRY(check_path(data, keys[part][0], source.path, wanted));
    DN_TRY(
        check_path(data, keys[part][1], source.images_folder, "the folder of the JSON's images"));
    DN_TRY(check_path(data, keys[part][2], source.masks_folder,
                      "the folder of the instance label PNGs"));
    DN_TRY(check_path(data, "names", source.names, "a file of class names, one a line"));
    *out = source;
    return DN_OK;
}
