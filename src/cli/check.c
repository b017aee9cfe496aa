/* `darknet segmenter check [data|cfg|json|list|folder...]`: what is wrong in data sets.
 *
 * One line a finding, `file:line: what`, then a table of how many there are of each kind. The sets
 * are those of a data file, or the files and folders named, which are compared with each other.
 * Of what is only information the first twenty of a kind are shown; the JSON holds all. Exit code
 * 0: clean; 1: findings (information does not count).
 */
#include "data/check.h"
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/open_network.h"
#include "cli/output.h"
#include "core/json_text.h"
#include "math/threads.h"

#include <stdio.h>
#include <unistd.h>

enum { DN_CHECK_SETS = 64, DN_NOTES_SHOWN = 20 };

static const struct {
    const char *word, *meaning;
    bool information;
} kinds[] = {
#define X(name, word, information, meaning) {word, meaning, information},
    DN_FINDINGS(X)
#undef X
};

typedef struct dn_check_run {
    int64_t counts[DN_FINDING_KINDS], total;
    FILE *json; /* or NULL */
    bool terminal;
} dn_check_run;

static void write_finding(dn_check_run *run, const dn_finding *finding)
{
    const bool first = run->total++ == 0;
    if (!run->json) return;
    fprintf(run->json, "%s\n {\"kind\":\"%s\",\"information\":%s,\"file\":", first ? "" : ",",
            kinds[finding->kind].word, kinds[finding->kind].information ? "true" : "false");
    dn_json_text(run->json, finding->path);
    fprintf(run->json, ",\"line\":%d,\"text\":", (int)finding->line);
    dn_json_text(run->json, finding->text);
    fputc('}', run->json);
}

static void print_finding(void *context, const dn_finding *finding)
{
    dn_check_run *run = context;
    write_finding(run, finding);
    if (run->counts[finding->kind]++ >= DN_NOTES_SHOWN && kinds[finding->kind].information) return;
    if (run->terminal) fprintf(stderr, "\r\033[K");
    printf("%s:", finding->path);
    if (finding->line > 0) printf("%d:", (int)finding->line);
    printf(" %s\n", finding->text);
}

static void print_progress(void *context, int64_t done, int64_t images)
{
    const dn_check_run *run = context;
    if (run->terminal)
        fprintf(stderr, "\r\033[K%lld of %lld images", (long long)done, (long long)images);
}

/* The sets to check; returns how many. */
static int32_t take_sources(dn_arguments *arguments, dn_dataset_source *sources,
                            dn_data_file **data)
{
    const dn_dataset_source given = {
        .names = dn_take_text(arguments, "-names", NULL),
        .images_folder = dn_take_text(arguments, "-images", NULL),
        .masks_folder = dn_take_text(arguments, "-masks", NULL),
        .classes = (int32_t)dn_take_int(arguments, "-classes", 0, 1, DN_CLASSES_MAX)};
    int32_t count = 0;
    dn_take_files(arguments);
    if (arguments->data || arguments->cfg || arguments->count == 0) {
        *data = dn_open_data_file(arguments);
        if ((*data)->train) dn_must(dn_data_file_source(*data, DN_DATA_TRAIN, &sources[count++]));
        if ((*data)->valid) dn_must(dn_data_file_source(*data, DN_DATA_VALID, &sources[count++]));
        if (count == 0) dn_die("%s: has neither train= nor valid=", (*data)->path);
        return count;
    }
    while (arguments->count > 0 && count < DN_CHECK_SETS) {
        sources[count] = given;
        sources[count++].path = dn_take_operand(arguments, "a data set");
    }
    if (arguments->count > 0) dn_die("more than %d data sets", DN_CHECK_SETS);
    return count;
}

static void print_set(const dn_dataset_source *source, const dn_check_totals *totals)
{
    printf("%s: %lld images, %lld objects: %lld polygons, %lld run-length masks, %lld boxes",
           source->path, (long long)totals->images, (long long)totals->objects,
           (long long)totals->polygons, (long long)totals->runs, (long long)totals->boxes);
    if (totals->crowds > 0) printf(", %lld of them crowds", (long long)totals->crowds);
    printf("\n");
}

/* Prints the table; returns the findings that are no information. */
static int64_t print_table(const dn_check_run *run)
{
    int64_t findings = 0, notes = 0;
    for (int i = 0; i < DN_FINDING_KINDS; i++) {
        if (run->counts[i] == 0) continue;
        *(kinds[i].information ? &notes : &findings) += run->counts[i];
        printf("%10lld  %-10s %s%s\n", (long long)run->counts[i], kinds[i].word, kinds[i].meaning,
               kinds[i].information ? " (information)" : "");
    }
    if (findings == 0)
        printf("clean");
    else
        printf("%lld finding%s", (long long)findings, findings == 1 ? "" : "s");
    if (notes > 0) printf(", %lld for information", (long long)notes);
    printf("\n");
    return findings;
}

int dn_command_check(dn_arguments *arguments)
{
    dn_check_run run = {.terminal = isatty(STDERR_FILENO) == 1};
    dn_dataset_source sources[DN_CHECK_SETS] = {0};
    dn_check_totals totals[DN_CHECK_SETS];
    dn_data_file *data = NULL;
    const dn_common_arguments common = dn_take_common(arguments);
    const char *json = dn_take_text(arguments, "-json", NULL);
    const int32_t count = take_sources(arguments, sources, &data);
    if (json) run.json = dn_open_output(json);
    if (run.json) fputc('[', run.json);

    const dn_finding_sink sink = {print_finding, &run};
    const dn_check_options options = {.threads =
                                          common.threads > 0 ? common.threads : dn_thread_limit(),
                                      .sink = &sink,
                                      .context = &run,
                                      .progress = print_progress};
    dn_must(dn_check(sources, count, &options, totals));
    if (run.terminal) fprintf(stderr, "\r\033[K");
    int64_t images = 0;
    for (int32_t i = 0; i < count; i++) {
        print_set(&sources[i], &totals[i]);
        images += totals[i].images;
    }
    if (images > 0 && run.counts[DN_FINDING_IMAGE] >= images)
        printf("no image can be read: is -images, their folder, right?\n");
    const int64_t findings = print_table(&run);
    if (run.json) {
        fprintf(run.json, "\n]\n");
        dn_close_output(run.json, json);
    }
    dn_data_file_free(data);
    return findings > 0;
}
