/* What chain.c and chain_run.c export; see chain.h and kernels.h. */
#ifndef DN_BLOCKED_CHAIN_KERNELS_H
#define DN_BLOCKED_CHAIN_KERNELS_H

#include "blocked/chain.h"
#include "blocked/isa.h"

const dn_conv_form *DN_ISA_NAME(dn_chain_form)(const dn_conv_problem *problem);
bool DN_ISA_NAME(dn_chain_fits)(const dn_chain *chain);
int64_t DN_ISA_NAME(dn_chain_scratch)(const dn_chain *chain);
int32_t DN_ISA_NAME(dn_chain_tasks)(dn_chain *chain, int32_t threads);
void DN_ISA_NAME(dn_chain_run)(const dn_chain *chain, int32_t task, void *scratch);

#endif
