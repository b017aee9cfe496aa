/* From the command line to data sets: see data_sets.h. */
#include "cli/data_sets.h"

#include "cli/open_network.h"
#include "core/cfg.h"
#include "data/path.h"
#include "train/parallel.h"

#include <stdio.h>
#include <string.h>

dn_data_file *dn_open_data_file(const dn_arguments *arguments)
{
    dn_data_file *data = NULL;
    dn_cfg *cfg = NULL;
    dn_arena arena = {0};
    const char *path = arguments->data;
    if (!path && arguments->cfg) {
        dn_must(dn_cfg_read(arguments->cfg, false, &cfg));
        const dn_cfg_entry *entry =
            cfg->section_count > 0 ? dn_cfg_find(&cfg->sections[0], "data") : NULL;
        if (entry) path = dn_path_resolve(&arena, arguments->cfg, entry->value);
        if (entry && !path) dn_must(DN_ERROR_MEMORY);
    }
    if (!path) dn_die("a .data file is missing, and the cfg's [net] names none (data=)");
    dn_must(dn_data_file_read(path, dn_print_warning, NULL, &data));
    dn_arena_free(&arena);
    dn_cfg_free(cfg);
    return data;
}

static void print_faults(const dn_dataset_view *view)
{
    const int64_t kept = view->fault_count < DN_FAULTS_KEPT ? view->fault_count : DN_FAULTS_KEPT;
    for (int64_t i = 0; i < kept; i++) fprintf(stderr, "skipped: %s\n", view->faults[i]);
    if (view->fault_count > kept)
        fprintf(stderr, "skipped: %lld more\n", (long long)(view->fault_count - kept));
}

dn_dataset *dn_open_data_set(const dn_data_file *data, dn_data_part part, bool strict)
{
    dn_dataset_source source;
    dn_dataset *dataset = NULL;
    dn_must(dn_data_file_source(data, part, &source));
    source.strict = strict;
    dn_status status = dn_dataset_load(&source, &dataset);
    if (status != DN_OK && part == DN_DATA_VALID && !strict) {
        char why[1024];
        snprintf(why, sizeof why, "%s", dn_error_message());
        source.images_only = true;
        status = dn_dataset_load(&source, &dataset);
        if (status == DN_OK) fprintf(stderr, "%s; only results are written\n", why);
    }
    dn_must(status);
    const dn_dataset_view *view = dn_dataset_get(dataset);
    if (!dn_parallel_leads()) return dataset;
    fprintf(stderr, "%s: %lld images, %lld objects, %d classes\n", source.path,
            (long long)view->image_count, (long long)view->object_count, view->class_count);
    print_faults(view);
    return dataset;
}

bool dn_is_coco(const dn_data_file *data, const dn_dataset_view *view)
{
    return view->image_count > 0 && strcmp(view->images[0].label_path, data->valid) == 0;
}

dn_dataset *dn_open_class_set(const dn_data_file *data, dn_data_part part, bool strict)
{
    dn_dataset_source source;
    dn_dataset *dataset = NULL;
    dn_must(dn_data_file_class_source(data, part, &source));
    source.strict = strict;
    dn_must(dn_dataset_load(&source, &dataset));
    const dn_dataset_view *view = dn_dataset_get(dataset);
    if (!dn_parallel_leads()) return dataset;
    fprintf(stderr, "%s: %lld images, %d classes\n", source.path, (long long)view->image_count,
            view->class_count);
    print_faults(view);
    return dataset;
}
