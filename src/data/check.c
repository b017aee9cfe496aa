/* `check`: data sets one after the other, their images on all threads. See check.h. */
#include "data/check.h"

#include "core/memory.h"
#include "math/threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DN_TEXT_SIZE = 512 };

/* ---- lists of findings ---- */

dn_status dn_finding_add(dn_finding_list *list, dn_finding_kind kind, const char *path,
                         int32_t line, const char *format, ...)
{
    char text[DN_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dn_finding *items = dn_grown(list->items, list->count, &list->capacity, sizeof *items);
    if (!items) return DN_ERROR_MEMORY;
    list->items = items;
    const char *kept = dn_strdup(text);
    if (!kept) return DN_ERROR_MEMORY;
    items[list->count++] = (dn_finding){kind, path, line, kept};
    return DN_OK;
}

void dn_finding_list_free(dn_finding_list *list)
{
    for (int64_t i = 0; i < list->count; i++) dn_free((void *)list->items[i].text);
    dn_free(list->items);
    *list = (dn_finding_list){0};
}

/* ---- one data set ---- */

typedef struct dn_set_check {
    const dn_dataset *dataset;
    const dn_check_options *options;
    dn_checked_image *images;  /* (image_count), of this set */
    dn_finding_list *findings; /* (image_count) */
    int64_t done;
    bool out_of_memory;
} dn_set_check;

static dn_status check_one(dn_set_check *check, int64_t image)
{
    dn_finding_list *findings = &check->findings[image];
    dn_checked_image *file = &check->images[image];
    DN_TRY(dn_check_image(check->dataset, image, file, findings));
    return file->path ? dn_check_objects(check->dataset, image, file, findings) : DN_OK;
}

static void check_images(dn_set_check *check)
{
    const int64_t count = dn_dataset_get(check->dataset)->image_count;
    const dn_check_options *options = check->options;
#pragma omp parallel for num_threads(options->threads) schedule(dynamic)
    for (int64_t i = 0; i < count; i++) {
        if (check_one(check, i) != DN_OK) {
#pragma omp atomic write
            check->out_of_memory = true;
        }
        int64_t done;
#pragma omp atomic capture
        done = ++check->done;
        if (options->progress && dn_thread_number() == 0)
            options->progress(options->context, done, count);
    }
}

static void count_objects(const dn_dataset_view *view, dn_check_totals *totals)
{
    *totals = (dn_check_totals){.images = view->image_count, .objects = view->object_count};
    for (int64_t i = 0; i < view->object_count; i++) {
        const dn_dataset_object *object = &view->objects[i];
        totals->polygons += object->kind == DN_OBJECT_POLYGONS;
        totals->runs += object->kind == DN_OBJECT_RLE;
        totals->boxes += object->kind == DN_OBJECT_BOX;
        totals->crowds += object->crowd;
    }
}

static dn_status check_set(const dn_dataset *dataset, const dn_check_options *options,
                           dn_checked_image *images)
{
    const int64_t count = dn_dataset_get(dataset)->image_count;
    dn_set_check check = {.dataset = dataset, .options = options, .images = images};
    check.findings = dn_alloc((size_t)count * sizeof *check.findings);
    if (!check.findings) return DN_ERROR_MEMORY;
    check_images(&check);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < check.findings[i].count; k++)
            options->sink->report(options->sink->context, &check.findings[i].items[k]);
        dn_finding_list_free(&check.findings[i]);
    }
    dn_free(check.findings);
    /* The message was another thread's. */
    return check.out_of_memory ? dn_fail(DN_ERROR_MEMORY, "check: out of memory") : DN_OK;
}

/* ---- all of them ---- */

/* A file that does not follow its format ends its set, not the check. */
static dn_status load(const dn_dataset_source *source, const dn_finding_sink *sink,
                      dn_dataset **out)
{
    dn_dataset_source lenient = *source;
    lenient.strict = false;
    *out = NULL;
    const dn_status status = dn_dataset_load_reporting(&lenient, sink, out);
    if (status != DN_ERROR_DATA) return status;
    char text[DN_TEXT_SIZE];
    snprintf(text, sizeof text, "%s", dn_error_message());
    dn_finding finding = {.kind = DN_FINDING_FORMAT, .path = source->path, .text = text};
    const size_t length = strlen(source->path);
    if (strncmp(text, source->path, length) == 0 && text[length] == ':') {
        char *end = text + length + 1; /* "path:line: text" or "path: text" */
        finding.line = (int32_t)strtol(end, &end, 10);
        finding.text = end + strspn(end, ": ");
    }
    sink->report(sink->context, &finding);
    return DN_OK;
}

/* The images of all sets behind each other; the sets stay, since texts belong to them. */
typedef struct dn_all_images {
    dn_dataset **datasets; /* (sets); NULL: could not be loaded */
    dn_checked_image *images;
    int64_t count;
} dn_all_images;

static dn_status add_set(dn_all_images *all, const dn_dataset_source *source, int32_t set,
                         const dn_check_options *options, dn_check_totals *totals)
{
    *totals = (dn_check_totals){0};
    DN_TRY(load(source, options->sink, &all->datasets[set]));
    const dn_dataset *dataset = all->datasets[set];
    if (!dataset) return DN_OK;
    const dn_dataset_view *view = dn_dataset_get(dataset);
    count_objects(view, totals);
    const size_t old = (size_t)all->count * sizeof *all->images;
    const size_t added = (size_t)view->image_count * sizeof *all->images;
    dn_checked_image *images = dn_realloc(all->images, old, old + added);
    if (!images) return DN_ERROR_MEMORY;
    all->images = images;
    memset(images + all->count, 0, added);
    for (int64_t i = 0; i < view->image_count; i++) images[all->count + i].set = set;
    DN_TRY(check_set(dataset, options, images + all->count));
    all->count += view->image_count;
    return dn_check_orphans(dataset, source, options->sink);
}

dn_status dn_check(const dn_dataset_source *sources, int32_t count, const dn_check_options *options,
                   dn_check_totals *totals)
{
    dn_all_images all = {.datasets = dn_alloc((size_t)count * sizeof *all.datasets)};
    if (!all.datasets) return DN_ERROR_MEMORY;
    dn_status status = DN_OK;
    for (int32_t i = 0; i < count && status == DN_OK; i++)
        status = add_set(&all, &sources[i], i, options, &totals[i]);
    if (status == DN_OK) status = dn_check_repeated(all.images, all.count, options->sink);
    for (int32_t i = 0; i < count; i++) dn_dataset_free(all.datasets[i]);
    dn_free(all.datasets);
    dn_free(all.images);
    return status;
}
