/* Places in one arena for arrays that live at different times. */
#ifndef DN_CORE_PLACEMENT_H
#define DN_CORE_PLACEMENT_H

#include "core/status.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An array that is used from moment `first` to moment `last`. */
typedef struct dn_placed {
    int64_t floats;
    int32_t first, last;
    int32_t order; /* of creation: makes sorting stable */
    int64_t offset;
    float **pointer;
} dn_placed;

typedef struct dn_placement {
    dn_placed *items;
    int32_t count, capacity;
} dn_placement;

/* Room for `capacity` arrays, freed with dn_placement_free. */
dn_status dn_placement_create(dn_placement *placement, int32_t capacity);
void dn_placement_free(dn_placement *placement);

/* *pointer will lead to `floats` floats. */
void dn_placement_add(dn_placement *placement, float **pointer, int64_t floats, int32_t first,
                      int32_t last);

/* Finds all places: *floats is the arena's size. */
dn_status dn_placement_find(dn_placement *placement, int64_t *floats);

/* Sets the pointers; an arena of NULL: all to NULL. */
void dn_placement_point(const dn_placement *placement, float *arena);

#ifdef __cplusplus
}
#endif

#endif
