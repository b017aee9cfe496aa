/* Pasters (mask_device.h) that results of a network had, kept for those to come: the memory of a
 * new one is asked of the driver, and to free one is to wait for all that the device is doing.
 *
 * The network and every paster that was taken hold the pool; the last one frees it, in whatever
 * thread: results may outlive their network.
 */
#ifndef DN_CORE_PASTER_POOL_H
#define DN_CORE_PASTER_POOL_H

#include "core/mask_device.h"

typedef struct dn_paster_pool dn_paster_pool;

dn_status dn_paster_pool_make(const dn_mask_device *device, dn_paster_pool **out);

/* One that is idle, or a new one. */
dn_status dn_paster_pool_take(dn_paster_pool *pool, dn_paster **out);

/* Whatever was asked of it is done; in any thread. */
void dn_paster_pool_give_back(dn_paster_pool *pool, dn_paster *paster);

/* The network's end; NULL is allowed. */
void dn_paster_pool_leave(dn_paster_pool *pool);

#endif
