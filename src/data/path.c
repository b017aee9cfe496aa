/* Paths: see path.h. */
#include "data/path.h"

#include <string.h>
#include <sys/stat.h>

size_t dn_path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static bool is_absolute(const char *path)
{
    const char first = path[0];
    const bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
    return first == '/' || first == '\\' || (letter && path[1] == ':');
}

bool dn_path_leaves_folder(const char *path)
{
    if (is_absolute(path)) return true;
    for (const char *part = path;;) {
        const size_t length = strcspn(part, "/\\");
        if (length == 2 && part[0] == '.' && part[1] == '.') return true;
        if (part[length] == '\0') return false;
        part += length + 1;
    }
}

bool dn_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool dn_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *dn_path_join(dn_arena *arena, const char *folder, const char *name)
{
    const size_t folder_length = strlen(folder), name_length = strlen(name);
    const bool slash = folder_length > 0 && folder[folder_length - 1] != '/';
    char *path = dn_arena_take(arena, folder_length + slash + name_length + 1);
    if (!path) return NULL;
    memcpy(path, folder, folder_length);
    if (slash) path[folder_length] = '/';
    memcpy(path + folder_length + slash, name, name_length + 1);
    return path;
}

char *dn_path_beside(dn_arena *arena, const char *file, const char *name)
{
    const size_t folder_length = dn_path_folder(file), length = strlen(name);
    char *path = dn_arena_take(arena, folder_length + length + 1);
    if (!path) return NULL;
    memcpy(path, file, folder_length);
    memcpy(path + folder_length, name, length + 1);
    return path;
}

char *dn_path_resolve(dn_arena *arena, const char *file, const char *path)
{
    if (!is_absolute(path) && !dn_path_exists(path)) {
        char *beside = dn_path_beside(arena, file, path);
        if (!beside || dn_path_exists(beside)) return beside;
    }
    return dn_arena_join(arena, path, "");
}
