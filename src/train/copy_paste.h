/* Copy-paste: objects of one image, with their masks, laid over another (Ghiasi et al. 2021). */
#ifndef DN_TRAIN_COPY_PASTE_H
#define DN_TRAIN_COPY_PASTE_H

#include "core/rng.h"
#include "train/scene.h"

/* Pastes some of the objects of `from` that have a mask into `scene`: both zoomed, moved, and
 * (with `flip`) mirrored at random. */
dn_status dn_copy_paste(dn_scene *scene, const dn_scene *from, bool flip, dn_rng *rng);

#endif
