/* The devices of a training, as one text names them: see dn_train_options.device. */
#ifndef DN_TRAIN_DEVICES_H
#define DN_TRAIN_DEVICES_H

#include "core/status.h"

enum { DN_DEVICES = 64, DN_DEVICE_NAME = 16 };

typedef struct dn_devices {
    int32_t count;
    int32_t numbers[DN_DEVICES];
    char names[DN_DEVICES][DN_DEVICE_NAME]; /* as of dn_network_options */
} dn_devices;

/* "cuda:0,1", "cuda:0,cuda:1", "cpu,cpu": several, of one kind, each GPU once. One device gives a
 * count of 1; it has a name only where it is such a one, not of "auto", NULL or what cannot be
 * read. Whether they are there is not looked at. */
dn_status dn_devices_read(const char *list, dn_devices *devices);

#endif
