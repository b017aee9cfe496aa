/* Pasters that are used again. See paster_pool.h. */
#include "core/paster_pool.h"

#include "core/memory.h"

#include <pthread.h>

enum { DN_IDLE_PASTERS = 32 }; /* that are kept, at most */

struct dn_paster_pool {
    const dn_mask_device *device;
    pthread_mutex_t lock;
    int32_t holders, idle_count;
    dn_paster *idle[DN_IDLE_PASTERS];
};

dn_status dn_paster_pool_make(const dn_mask_device *device, dn_paster_pool **out)
{
    dn_paster_pool *pool = dn_alloc(sizeof *pool);
    if (!pool) return DN_ERROR_MEMORY;
    pool->device = device;
    pool->holders = 1;
    pthread_mutex_init(&pool->lock, NULL);
    *out = pool;
    return DN_OK;
}

static void destroy(dn_paster_pool *pool)
{
    for (int32_t i = 0; i < pool->idle_count; i++) pool->device->free(pool->idle[i]);
    pthread_mutex_destroy(&pool->lock);
    dn_free(pool);
}

void dn_paster_pool_leave(dn_paster_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    const bool last = --pool->holders == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last) destroy(pool);
}

dn_status dn_paster_pool_take(dn_paster_pool *pool, dn_paster **out)
{
    dn_paster *paster = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->idle_count > 0) paster = pool->idle[--pool->idle_count];
    pool->holders++;
    pthread_mutex_unlock(&pool->lock);
    const dn_status status = paster ? DN_OK : pool->device->create(&paster);
    if (status == DN_OK)
        *out = paster;
    else
        dn_paster_pool_leave(pool);
    return status;
}

void dn_paster_pool_give_back(dn_paster_pool *pool, dn_paster *paster)
{
    pthread_mutex_lock(&pool->lock);
    const bool kept = pool->idle_count < DN_IDLE_PASTERS;
    if (kept) pool->idle[pool->idle_count++] = paster;
    pthread_mutex_unlock(&pool->lock);
    if (!kept) pool->device->free(paster);
    dn_paster_pool_leave(pool);
}
