/* Copy-paste: objects of one image, with their masks, laid over another (Ghiasi et al. 2021). */
#ifndef DN_TRAIN_COPY_PASTE_H
#define DN_TRAIN_COPY_PASTE_H

#include "core/rng.h"
#include "train/picture.h"

/* Both pictures are whole (shrink 1). Pastes some of the objects of `from` that have a mask into
 * `picture`: both zoomed, moved, and (with `flip`) mirrored at random. */
dn_status dn_copy_paste(dn_picture *picture, const dn_picture *from, bool flip, dn_rng *rng);

#endif
