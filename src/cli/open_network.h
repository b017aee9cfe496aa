/* Opening a network as Darknet's programs do: layer table, totals, "Loading weights ... Done!". */
#ifndef DN_CLI_OPEN_NETWORK_H
#define DN_CLI_OPEN_NETWORK_H

#include "cli/arguments.h"

/* Options that every command with a network knows. */
typedef struct dn_common_arguments {
    int32_t threads, width, height;
    char device[16];   /* of dn_network_options */
    char devices[512]; /* of dn_train_options: all that -gpus names */
    int32_t gpus;      /* in them */
    dn_precision precision;
    const char *tune; /* dn_network_options.tune */
    const char *calibration;
    bool strict, quiet;
    uint64_t seed;
} dn_common_arguments;

dn_common_arguments dn_take_common(dn_arguments *arguments);

/* Builds the cfg's network for inference and loads the weights where some are named. */
dn_network *dn_open_network(const dn_arguments *arguments, const dn_common_arguments *common,
                            int32_t batch);

/* Classes of the network's heads; ends the program with a sentence where it has none. */
int32_t dn_must_have_head(const dn_network *network, const char *cfg);

/* The table itself, to stderr as Darknet does. */
void dn_print_layers(const dn_network *network);

/* With DARKNET_VERBOSE=1: the steps of the network's plan and their times in the last pass, to
 * stderr. */
void dn_print_plan(const dn_network *network);

/* A dn_network_options.warn that prints to stderr. */
void dn_print_warning(void *context, const char *sentence);

#endif
