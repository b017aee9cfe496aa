/* Label files of single images: classes, and what happens to files that cannot be read. See
 * labels.h.
 *
 * Labels call their class by number (rows, run-length masks) or by name (LabelMe). Names are those
 * of the source's list; without one they are numbered in alphabetical order, once all files are
 * read.
 */
#include "core/memory.h"
#include "core/number.h"
#include "data/labels.h"
#include "data/path.h"

#include <stdio.h>
#include <string.h>

/* ---- classes ---- */

/* Index of the first entry that is not before `name`. */
static int64_t find_place(const dn_class_table *table, const char *name)
{
    int64_t low = 0, high = table->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (strcmp(table->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static dn_status insert(dn_class_table *table, int64_t place, const char *name, int32_t class_id)
{
    dn_class_entry *entries =
        dn_grown(table->entries, table->count, &table->capacity, sizeof *entries);
    if (!entries) return DN_ERROR_MEMORY;
    table->entries = entries;
    memmove(entries + place + 1, entries + place, (size_t)(table->count - place) * sizeof *entries);
    entries[place] = (dn_class_entry){name, class_id};
    table->count++;
    return DN_OK;
}

dn_status dn_label_class_named(dn_label_reader *reader, const char *name, int32_t *out)
{
    dn_class_table *table = &reader->classes;
    const int64_t place = find_place(table, name);
    *out = -1;
    if (place < table->count && strcmp(table->entries[place].name, name) == 0) {
        *out = table->entries[place].class_id;
        return DN_OK;
    }
    if (!table->open)
        return DN_LABEL_FAULT(reader, DN_FINDING_CLASS, "class \"%.60s\" is none of the %d names",
                              name, (int)reader->class_limit);
    if (table->count >= reader->class_limit)
        return DN_LABEL_FAULT(reader, DN_FINDING_CLASS,
                              "class \"%.60s\" is one more than the %d allowed", name,
                              (int)reader->class_limit);
    const char *copy = dn_arena_join(&reader->builder->dataset->arena, name, "");
    if (!copy) return DN_ERROR_MEMORY;
    *out = (int32_t)table->count;
    return insert(table, place, copy, *out);
}

dn_status dn_label_class_numbered(dn_label_reader *reader, const char *word, int32_t *out)
{
    int64_t value;
    *out = -1;
    if (!dn_read_integer(word, strlen(word), &value))
        return DN_LABEL_FAULT(reader, DN_FINDING_CLASS, "the class '%.40s' is not a whole number",
                              word);
    if (value < 0 || value >= reader->class_limit)
        return DN_LABEL_FAULT(reader, DN_FINDING_CLASS, "class %lld is out of range 0..%d",
                              (long long)value, (int)reader->class_limit - 1);
    *out = (int32_t)value;
    return DN_OK;
}

/* Classes found by name get their numbers in alphabetical order. */
static dn_status number_found_names(dn_label_reader *reader)
{
    dn_builder *builder = reader->builder;
    const dn_class_table *table = &reader->classes;
    if (reader->max_class >= 0)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: some of its label files call classes by name, others by number; a file "
                       "of class names is needed to join them",
                       builder->source->path);
    const char **names =
        dn_arena_take(&builder->dataset->arena, (size_t)table->count * sizeof *names);
    int32_t *ranks = dn_alloc((size_t)table->count * sizeof *ranks);
    if (!names || !ranks) {
        dn_free(ranks);
        return DN_ERROR_MEMORY;
    }
    for (int32_t i = 0; i < table->count; i++) {
        names[i] = table->entries[i].name;
        ranks[table->entries[i].class_id] = i;
    }
    for (int64_t i = 0; i < builder->object_count; i++)
        builder->objects[i].class_id = ranks[builder->objects[i].class_id];
    dn_free(ranks);
    builder->names = (dn_names){names, (int32_t)table->count};
    return DN_OK;
}

/* ---- one file ---- */

dn_status dn_label_add_mask(dn_label_reader *reader, const dn_rle *mask, int32_t class_id,
                            bool crowd)
{
    dn_builder *builder = reader->builder;
    int32_t box[4];
    dn_rle_bounds(mask, box);
    if (box[2] == 0)
        return DN_LABEL_FAULT(reader, DN_FINDING_AREA, "class %d: its mask is empty",
                              (int)class_id);
    dn_dataset_object object = {.bbox = {box[0], box[1], box[2], box[3]},
                                .area = (double)dn_rle_area(mask),
                                .id = builder->object_count + 1,
                                .class_id = class_id,
                                .line = reader->line,
                                .crowd = crowd};
    DN_TRY(dn_builder_keep_rle(builder, mask, &object));
    return dn_builder_add_object(builder, &object, reader->image);
}

dn_status dn_labels_read(dn_label_reader *reader, dn_read_labels read, dn_dataset_image *image,
                         bool *kept)
{
    reader->path = image->label_path;
    reader->line = 0;
    const int64_t objects = reader->builder->object_count;
    const dn_status status = read(reader, image);
    *kept = status == DN_OK;
    if (status == DN_OK || status == DN_ERROR_MEMORY || reader->builder->source->strict)
        return status;
    reader->builder->object_count = objects;
    char reason[256];
    snprintf(reason, sizeof reason, "%s", dn_error_message());
    const bool missing = !dn_path_exists(image->label_path);
    return dn_builder_fault(reader->builder, missing ? DN_FINDING_UNLABELLED : DN_FINDING_FORMAT,
                            image->path, 0, "left out, because of %s", reason);
}

/* ---- begin and end ---- */

dn_status dn_labels_begin(dn_label_reader *reader, dn_builder *builder)
{
    const dn_names *names = &builder->names;
    const int32_t given = names->count ? names->count : builder->source->classes;
    *reader = (dn_label_reader){
        .builder = builder, .class_limit = given ? given : DN_CLASSES_MAX, .max_class = -1};
    reader->classes.open = names->count == 0;
    for (int32_t i = 0; i < names->count; i++)
        DN_TRY(insert(&reader->classes, find_place(&reader->classes, names->items[i]),
                      names->items[i], i));
    return DN_OK;
}

static dn_status finish(dn_label_reader *reader)
{
    const dn_class_table *table = &reader->classes;
    const int32_t given = reader->builder->source->classes;
    if (table->open && table->count > 0) DN_TRY(number_found_names(reader));
    return dn_builder_number_classes(reader->builder, given ? given : reader->max_class + 1);
}

dn_status dn_labels_end(dn_label_reader *reader, dn_status status)
{
    if (status == DN_OK) status = finish(reader);
    dn_free(reader->classes.entries);
    dn_free(reader->runs);
    dn_points_free(&reader->points);
    return status;
}
