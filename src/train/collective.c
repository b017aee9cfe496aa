/* What holds whichever way ranks talk: see collective.h. */
#include "train/collective.h"

static bool talks(const dn_collective *peers)
{
    return peers->size > 1 && !peers->ended;
}

dn_collective dn_collective_alone(void)
{
    return (dn_collective){.size = 1};
}

dn_status dn_collective_agree(dn_collective *peers, dn_status status)
{
    if (!talks(peers)) return status;
    const dn_status agreed = peers->way->agree(peers, status);
    peers->ended = agreed != DN_OK;
    return agreed;
}

bool dn_collective_any(dn_collective *peers, bool value)
{
    double those = value;
    dn_collective_sum(peers, &those, 1);
    return those > 0;
}

void dn_collective_share(dn_collective *peers, void *bytes, size_t size)
{
    if (talks(peers)) peers->way->share(peers, bytes, size);
}

void dn_collective_sum(dn_collective *peers, double *values, int32_t count)
{
    if (talks(peers)) peers->way->sum(peers, values, count);
}

dn_status dn_collective_share_block(dn_collective *peers, const dn_backend *backend, float *block,
                                    int64_t count)
{
    return talks(peers) ? peers->way->share_block(peers, backend, block, count) : DN_OK;
}

dn_status dn_collective_sum_block(dn_collective *peers, const dn_backend *backend, float *block,
                                  int64_t count)
{
    return talks(peers) ? peers->way->sum_block(peers, backend, block, count, false) : DN_OK;
}

dn_status dn_collective_mean_block(dn_collective *peers, const dn_backend *backend, float *block,
                                   int64_t count)
{
    return talks(peers) ? peers->way->sum_block(peers, backend, block, count, true) : DN_OK;
}
