/* Paths in data files, lists and JSON: what they are relative to, and what they may name. */
#ifndef DN_DATA_PATH_H
#define DN_DATA_PATH_H

#include "data/dataset.h"

/* Bytes of the folder part of a path, with its last slash; 0: none. */
size_t dn_path_folder(const char *path);

/* Absolute, or with a part "..", by the rules of POSIX and Windows alike. */
bool dn_path_leaves_folder(const char *path);

bool dn_path_exists(const char *path);
bool dn_path_is_folder(const char *path);

/* folder/name; the folder as it is written, with a slash where it has none. NULL as dn_alloc. */
char *dn_path_join(dn_arena *arena, const char *folder, const char *name);

/* `name` in the folder of the file `file`. NULL as dn_alloc. */
char *dn_path_beside(dn_arena *arena, const char *file, const char *name);

/* `path` as found in the file `file`: itself where it is absolute or exists from the working
 * directory, else beside the file where that exists, else itself. NULL as dn_alloc. */
char *dn_path_resolve(dn_arena *arena, const char *file, const char *path);

#endif
