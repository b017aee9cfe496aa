/* Evaluations as tables on standard output. */
#ifndef DN_CLI_METRICS_H
#define DN_CLI_METRICS_H

#include "darknet.h"

/* The twelve lines as pycocotools prints them, F1, and an AP a class if wanted, of each kind that
 * was compared. */
void dn_print_metrics(const dn_evaluation *evaluation, bool per_class);

/* Darknet's report of `map`, of each kind; the kinds are named where there are two. */
void dn_print_darknet_map(const dn_evaluation *evaluation);

#endif
