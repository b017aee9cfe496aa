/* Evaluations as tables: see metrics.h. Scripts read both forms, so every space counts. */
#include "cli/metrics.h"

#include <stdio.h>

static const char *const kinds[DN_KINDS] = {"boxes", "masks"};

/* ---- COCO's ---- */

static void print_numbers(const dn_metrics *metrics, int32_t max_detections)
{
    static const char *const ious[] = {"0.50:0.95", "0.50", "0.75"};
    static const char *const areas[] = {"all", "small", "medium", "large"};
    for (int32_t i = 0; i < DN_NUMBERS; i++) {
        const bool recall = i >= DN_AR1;
        const char *iou = !recall && i <= DN_AP75 ? ious[i] : ious[0];
        const int32_t first_sized = recall ? DN_AR_SMALL : DN_AP_SMALL;
        const char *area = i >= first_sized ? areas[i - first_sized + 1] : areas[0];
        const int32_t most = i == DN_AR1 ? 1 : i == DN_AR10 ? 10 : max_detections;
        printf(" %-18s %s @[ IoU=%-9s | area=%6s | maxDets=%3d ] = %0.3f\n",
               recall ? "Average Recall" : "Average Precision", recall ? "(AR)" : "(AP)", iou, area,
               (int)most, metrics->numbers[i]);
    }
}

static void print_f1(const char *iou, const dn_f1 *f1, const dn_f1 *best)
{
    printf(" F1 @[ IoU=%s | score>=%.4g ] = %.3f (precision %.3f, recall %.3f, TP %lld, FP %lld, "
           "FN %lld); best %.3f @[ score>=%.4g ]\n",
           iou, f1->threshold, f1->f1, f1->precision, f1->recall, (long long)f1->true_positives,
           (long long)f1->false_positives, (long long)f1->false_negatives, best->f1,
           best->threshold);
}

static void print_classes(const dn_evaluation *evaluation, dn_kind kind)
{
    const dn_evaluation_info *info = dn_evaluation_get(evaluation);
    printf("%-24s %8s %7s %7s %7s %7s\n", "class", "objects", "AP", "AP50", "AP75", "AR");
    for (int32_t c = 0; c < info->class_count; c++) {
        const dn_metrics *metrics = dn_evaluation_metrics(evaluation, kind, c);
        printf("%-24s %8lld %7.3f %7.3f %7.3f %7.3f\n", info->names[c], (long long)metrics->truths,
               metrics->numbers[DN_AP], metrics->numbers[DN_AP50], metrics->numbers[DN_AP75],
               metrics->numbers[DN_AR]);
    }
}

void dn_print_metrics(const dn_evaluation *evaluation, bool per_class)
{
    const dn_evaluation_info *info = dn_evaluation_get(evaluation);
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        const dn_metrics *all = dn_evaluation_metrics(evaluation, (dn_kind)kind, -1);
        if (!all) continue;
        printf("%s:\n", kinds[kind]);
        print_numbers(all, info->max_detections);
        print_f1("0.50", &all->f1[0], &all->best_f1[0]);
        print_f1("0.75", &all->f1[1], &all->best_f1[1]);
        if (per_class) print_classes(evaluation, (dn_kind)kind);
    }
}

/* ---- Darknet's ---- */

static void print_darknet_kind(const dn_evaluation *evaluation, dn_kind kind)
{
    const dn_evaluation_info *info = dn_evaluation_get(evaluation);
    const dn_metrics *all = dn_evaluation_metrics(evaluation, kind, -1);
    const dn_f1 *counts = &all->darknet.counts;
    printf(" detections_count = %lld, unique_truth_count = %lld  \n", (long long)all->detections,
           (long long)all->truths);
    for (int32_t c = 0; c < info->class_count; c++) {
        const dn_darknet_map *map = &dn_evaluation_metrics(evaluation, kind, c)->darknet;
        printf("class_id = %d, name = %s, ap = %2.2f%%   \t (TP = %lld, FP = %lld) \n", (int)c,
               info->names[c], 100 * map->ap, (long long)map->counts.true_positives,
               (long long)map->counts.false_positives);
    }
    printf("\n for conf_thresh = %0.2f, precision = %1.2f, recall = %1.2f, F1-score = %1.2f \n",
           counts->threshold, counts->precision, counts->recall, counts->f1);
    printf(" for conf_thresh = %0.2f, TP = %lld, FP = %lld, FN = %lld, average IoU = %2.2f %% \n",
           counts->threshold, (long long)counts->true_positives, (long long)counts->false_positives,
           (long long)counts->false_negatives, 100 * all->darknet.average_iou);
    printf("\n IoU threshold = %2.0f %%, used ", 100 * info->iou_threshold);
    if (info->map_points > 0)
        printf("%d Recall-points \n", (int)info->map_points);
    else
        printf("Area-Under-Curve for each unique Recall \n");
    printf(" mean average precision (mAP@%0.2f) = %f, or %2.2f %% \n", info->iou_threshold,
           all->darknet.ap, 100 * all->darknet.ap);
}

void dn_print_darknet_map(const dn_evaluation *evaluation)
{
    const bool both = dn_evaluation_metrics(evaluation, DN_MASKS, -1) != NULL;
    printf(" calculation mAP (mean average precision)...\n");
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        if (!dn_evaluation_metrics(evaluation, (dn_kind)kind, -1)) continue;
        if (both) printf("\n %s:\n", kinds[kind]);
        print_darknet_kind(evaluation, (dn_kind)kind);
    }
}
