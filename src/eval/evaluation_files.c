/* An evaluation as files: figures as JSON, curves and confusion as CSV. See darknet.h. */
#include "core/json_text.h"
#include "core/memory.h"
#include "core/new_file.h"
#include "eval/evaluator.h"

#include <errno.h>
#include <string.h>

/* ---- JSON ---- */

static void number(FILE *file, const char *name, double value)
{
    fprintf(file, "\"%s\": ", name);
    dn_json_number(file, value);
}

static void write_f1(FILE *file, const char *name, const dn_f1 *f1)
{
    fprintf(file, "\"%s\": {", name);
    number(file, "threshold", f1->threshold);
    fprintf(file, ", \"TP\": %lld, \"FP\": %lld, \"FN\": %lld, ", (long long)f1->true_positives,
            (long long)f1->false_positives, (long long)f1->false_negatives);
    number(file, "precision", f1->precision);
    fputs(", ", file);
    number(file, "recall", f1->recall);
    fputs(", ", file);
    number(file, "F1", f1->f1);
    fputs("}", file);
}

static void write_metrics(FILE *file, const dn_metrics *metrics)
{
    static const char *const f1_names[DN_F1_IOUS] = {"F1_50", "F1_75"};
    static const char *const best_names[DN_F1_IOUS] = {"best_F1_50", "best_F1_75"};
    for (int32_t i = 0; i < DN_NUMBERS; i++) {
        number(file, dn_number_names[i], metrics->numbers[i]);
        fputs(", ", file);
    }
    fprintf(file, "\"truths\": %lld, \"detections\": %lld", (long long)metrics->truths,
            (long long)metrics->detections);
    for (int32_t i = 0; i < DN_F1_IOUS; i++) {
        fputs(", ", file);
        write_f1(file, f1_names[i], &metrics->f1[i]);
        fputs(", ", file);
        write_f1(file, best_names[i], &metrics->best_f1[i]);
    }
    fputs(", \"darknet\": {", file);
    number(file, "AP", metrics->darknet.ap);
    fputs(", ", file);
    number(file, "average_iou", metrics->darknet.average_iou);
    fputs(", ", file);
    write_f1(file, "counts", &metrics->darknet.counts);
    fputs("}", file);
}

static void write_kind(FILE *file, const dn_evaluation *evaluation, dn_kind kind)
{
    const int32_t classes = evaluation->info.class_count;
    fprintf(file, ",\n \"%s\": {", dn_kind_names[kind]);
    write_metrics(file, &evaluation->metrics[kind][classes]);
    fputs(", \"classes\": [", file);
    for (int32_t c = 0; c < classes; c++) {
        fputs(c > 0 ? ",\n  {\"name\": " : "\n  {\"name\": ", file);
        dn_json_text(file, evaluation->names[c]);
        fputs(", ", file);
        write_metrics(file, &evaluation->metrics[kind][c]);
        fputs("}", file);
    }
    fputs("]}", file);
}

static void write_json(FILE *file, const dn_evaluation *evaluation)
{
    const dn_evaluation_info *info = &evaluation->info;
    fprintf(file, "{\"images\": %lld, \"skipped\": %lld, \"max_detections\": %d, ",
            (long long)info->images, (long long)info->skipped, (int)info->max_detections);
    number(file, "score_threshold", info->score_threshold);
    fputs(", ", file);
    number(file, "iou_threshold", info->iou_threshold);
    fprintf(file, ", \"map_points\": %d", (int)info->map_points);
    for (int32_t kind = 0; kind < DN_KINDS; kind++)
        if (evaluation->metrics[kind]) write_kind(file, evaluation, (dn_kind)kind);
    fputs("}\n", file);
}

/* ---- CSV ---- */

/* A field; in quotes where it holds what separates fields. */
static void field(FILE *file, const char *text)
{
    const bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) fputc('"', file);
    for (; *text; text++) {
        if (*text == '"') fputc('"', file);
        fputc(*text, file);
    }
    if (quoted) fputc('"', file);
}

/* Classes without truths have no curve. */
static void write_curves(FILE *file, const dn_evaluation *evaluation)
{
    fputs("kind,class,iou,recall,precision\n", file);
    for (int32_t kind = 0; kind < DN_KINDS; kind++)
        for (int32_t c = 0; evaluation->metrics[kind] && c < evaluation->info.class_count; c++) {
            if (evaluation->metrics[kind][c].truths == 0) continue;
            const double *precision = dn_evaluation_precision(evaluation, (dn_kind)kind, c);
            for (int32_t i = 0; i < DN_IOUS * DN_RECALLS; i++) {
                fprintf(file, "%s,", dn_kind_names[kind]);
                field(file, evaluation->names[c]);
                fprintf(file, ",%.2f,%.2f,", dn_eval_iou(i / DN_RECALLS),
                        dn_eval_recall(i % DN_RECALLS));
                dn_json_number(file, precision[i]);
                fputc('\n', file);
            }
        }
}

static void confused(FILE *file, const dn_evaluation *evaluation, int32_t class_id)
{
    const bool none = class_id == evaluation->info.class_count;
    field(file, none ? "background" : evaluation->names[class_id]);
    fputc(',', file);
}

/* Cells that are 0 are left out but for the diagonal, which names all classes in their order. */
static void write_confusion(FILE *file, const dn_evaluation *evaluation)
{
    const int32_t side = evaluation->info.class_count + 1;
    fputs("kind,truth,detection,count\n", file);
    for (int32_t kind = 0; kind < DN_KINDS; kind++)
        for (int64_t i = 0; evaluation->confusion[kind] && i < (int64_t)side * side; i++) {
            const int64_t count = evaluation->confusion[kind][i];
            if (count == 0 && i / side != i % side) continue;
            fprintf(file, "%s,", dn_kind_names[kind]);
            confused(file, evaluation, (int32_t)(i / side));
            confused(file, evaluation, (int32_t)(i % side));
            fprintf(file, "%lld\n", (long long)count);
        }
}

/* ---- the three files ---- */

static dn_status save(const dn_evaluation *evaluation, const char *stem, const char *end,
                      void (*write)(FILE *file, const dn_evaluation *evaluation))
{
    const size_t size = strlen(stem) + strlen(end) + 1;
    char *path = dn_alloc(size);
    if (!path) return DN_ERROR_MEMORY;
    snprintf(path, size, "%s%s", stem, end);
    dn_new_file file;
    dn_status status = dn_new_file_open(&file, path, DN_FILE_QUICK);
    if (status == DN_OK) {
        errno = 0;
        write(file.stream, evaluation);
        status = dn_new_file_close(&file, ferror(file.stream) ? dn_new_file_fail(&file) : DN_OK);
    }
    dn_free(path);
    return status;
}

dn_status dn_evaluation_save(const dn_evaluation *evaluation, const char *stem)
{
    DN_TRY(save(evaluation, stem, "_metrics.json", write_json));
    DN_TRY(save(evaluation, stem, "_pr.csv", write_curves));
    return save(evaluation, stem, "_confusion.csv", write_confusion);
}
