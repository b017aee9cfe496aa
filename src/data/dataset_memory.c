/* Data sets: blocks, growing arrays, points and class names. See dataset.h. */
#include "core/memory.h"
#include "data/dataset.h"
#include "data/text_file.h"

#include <math.h>
#include <string.h>

enum {
    DN_ARENA_BLOCK = 1 << 18,
    DN_ARENA_ALIGNMENT = 8,
    DN_ARENA_HEADER = 64, /* keeps dn_alloc's alignment */
    DN_FIRST_CAPACITY = 64,
};

/* ---- blocks ---- */

void *dn_arena_take(dn_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) bytes = SIZE_MAX / 2; /* which dn_alloc refuses */
    bytes = (bytes + DN_ARENA_ALIGNMENT - 1) / DN_ARENA_ALIGNMENT * DN_ARENA_ALIGNMENT;
    dn_arena_block *block = arena->first;
    if (!block || bytes > block->size - block->used) {
        /* A large item gets a block of its own, behind the one being filled. */
        const bool large = block && bytes > DN_ARENA_BLOCK / 8;
        const size_t size = large || bytes > DN_ARENA_BLOCK ? bytes : DN_ARENA_BLOCK;
        block = dn_alloc(DN_ARENA_HEADER + size);
        if (!block) return NULL;
        block->size = size;
        dn_arena_block **place = large ? &arena->first->next : &arena->first;
        block->next = *place;
        *place = block;
    }
    char *start = (char *)block + DN_ARENA_HEADER + block->used;
    block->used += bytes;
    return start;
}

void dn_arena_free(dn_arena *arena)
{
    while (arena->first) {
        dn_arena_block *next = arena->first->next;
        dn_free(arena->first);
        arena->first = next;
    }
}

char *dn_arena_join(dn_arena *arena, const char *first, const char *second)
{
    const size_t first_length = strlen(first), second_length = strlen(second);
    char *text = dn_arena_take(arena, first_length + second_length + 1);
    if (!text) return NULL;
    memcpy(text, first, first_length);
    memcpy(text + first_length, second, second_length + 1);
    return text;
}

void *dn_grown(void *items, int64_t count, int64_t *capacity, size_t item_size)
{
    if (count < *capacity) return items;
    const int64_t wanted = *capacity ? 2 * *capacity : DN_FIRST_CAPACITY;
    void *grown = dn_realloc(items, (size_t)count * item_size, (size_t)wanted * item_size);
    if (grown) *capacity = wanted;
    return grown;
}

/* ---- points ---- */

void dn_points_clear(dn_points *points)
{
    points->count = 0;
    points->part_count = 0;
}

dn_status dn_points_add(dn_points *points, double coordinate)
{
    double *xy = dn_grown(points->xy, points->count, &points->capacity, sizeof *xy);
    if (!xy) return DN_ERROR_MEMORY;
    points->xy = xy;
    xy[points->count++] = coordinate;
    return DN_OK;
}

dn_status dn_points_end_part(dn_points *points)
{
    int64_t *ends =
        dn_grown(points->part_ends, points->part_count, &points->part_capacity, sizeof *ends);
    if (!ends) return DN_ERROR_MEMORY;
    points->part_ends = ends;
    ends[points->part_count++] = points->count;
    return DN_OK;
}

void dn_points_free(dn_points *points)
{
    dn_free(points->xy);
    dn_free(points->part_ends);
    *points = (dn_points){0};
}

void dn_points_bounds(const dn_points *points, double bbox[4])
{
    double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
    for (int64_t i = 0; i < points->count; i++) {
        if (points->xy[i] < low[i % 2]) low[i % 2] = points->xy[i];
        if (points->xy[i] > high[i % 2]) high[i % 2] = points->xy[i];
    }
    bbox[0] = low[0];
    bbox[1] = low[1];
    bbox[2] = high[0] - low[0];
    bbox[3] = high[1] - low[1];
}

/* Sum over the parts of |sum of x y' - x' y| / 2, (x', y') the point after (x, y). */
double dn_points_area(const dn_points *points)
{
    double area = 0.0;
    int64_t start = 0;
    for (int64_t part = 0; part < points->part_count; part++) {
        const int64_t end = points->part_ends[part];
        double twice = 0.0;
        for (int64_t i = start; i < end; i += 2) {
            const int64_t next = i + 2 < end ? i + 2 : start;
            twice += points->xy[i] * points->xy[next + 1] - points->xy[next] * points->xy[i + 1];
        }
        area += fabs(twice) / 2.0;
        start = end;
    }
    return area;
}

/* ---- names ---- */

static dn_status read_names(dn_text_file *file, const char *path, dn_arena *arena, dn_names *out)
{
    int64_t capacity = 0;
    int32_t blank_line = 0;
    for (char *line; (line = dn_text_line(file));) {
        if (*line == '\0') {
            if (blank_line == 0) blank_line = file->line;
            continue;
        }
        if (blank_line)
            return dn_fail(DN_ERROR_CONFIG, "%s:%d: a blank line among the class names", path,
                           blank_line);
        if (out->count == DN_CLASSES_MAX)
            return dn_fail(DN_ERROR_CONFIG, "%s:%d: more than %d class names", path, file->line,
                           DN_CLASSES_MAX);
        const char **items = dn_grown(out->items, out->count, &capacity, sizeof *items);
        if (!items) return DN_ERROR_MEMORY;
        out->items = items;
        items[out->count] = dn_arena_join(arena, line, "");
        if (!items[out->count]) return DN_ERROR_MEMORY;
        out->count++;
    }
    if (out->count == 0) return dn_fail(DN_ERROR_CONFIG, "%s: holds no class names", path);
    return DN_OK;
}

dn_status dn_names_read(const char *path, dn_arena *arena, dn_names *out)
{
    dn_text_file file;
    DN_TRY(dn_text_open(path, &file));
    dn_names names = {0};
    dn_status status = read_names(&file, path, arena, &names);
    dn_text_close(&file);
    const size_t bytes = (size_t)names.count * sizeof *names.items;
    if (status == DN_OK) {
        const char **items = dn_arena_take(arena, bytes);
        if (items)
            *out = (dn_names){memcpy(items, names.items, bytes), names.count};
        else
            status = DN_ERROR_MEMORY;
    }
    dn_free(names.items);
    return status;
}
