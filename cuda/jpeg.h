/* JPEG files decoded on the device (dn_device_jpeg of core/backend.h): by nvJPEG in jpeg_nvjpeg.cu
 * or, in builds that have not found it, by nobody: the Makefile picks jpeg_nvjpeg.cu or
 * jpeg_without.cu.
 */
#ifndef DN_CUDA_JPEG_H
#define DN_CUDA_JPEG_H

#include "core/backend.h"

extern "C" const dn_device_jpeg dn_cuda_jpeg;

#endif
