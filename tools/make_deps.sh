#!/bin/sh
# Fills a prefix with what `make DEPS=<prefix>` needs beside a compiler: headers and static libraries
# of libjpeg, libpng, zlib and yajl, copied from this machine's development packages. It is small,
# may be moved, and serves machines without those packages that have the same processor and a C
# library as old as this one's or younger.
#
# usage: [CC=...] tools/make_deps.sh <prefix>
set -eu

prefix=${1:?usage: tools/make_deps.sh <prefix>}
compiler=${CC:-cc}
mkdir -p "$prefix/include/yajl" "$prefix/lib"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Distributions compile static libraries for programs (-fPIE), which a shared library takes but for
# one thing: their access to the C library's variable stderr. They get a variable of their own.
cat >"$scratch/stderr.c" <<END
#include <stdio.h>
FILE *deps_stderr;
__attribute__((constructor)) static void set(void) { deps_stderr = stderr; }
END
$compiler -O2 -fPIC -fvisibility=hidden -c -o "$scratch/deps_stderr.o" "$scratch/stderr.c"

# The archive under our name for it, whichever the distribution gave it.
archive() { # archive name file...
    name=$1
    shift
    for file in "$@"; do
        path=$($compiler -print-file-name="$file")
        [ -f "$path" ] || continue
        cp -L "$path" "$prefix/lib/lib$name.a"
        objcopy --strip-debug --redefine-sym stderr=deps_stderr "$prefix/lib/lib$name.a"
        ar r "$prefix/lib/lib$name.a" "$scratch/deps_stderr.o" 2>/dev/null
        return
    done
    echo "missing: $1, the static library of $name: apt-get install libjpeg-dev libpng-dev libyajl-dev" >&2
    exit 1
}
archive yajl libyajl_s.a libyajl.a
archive jpeg libjpeg.a
archive png libpng.a libpng16.a
archive z libz.a

# The headers of theirs that the compiler reads.
cat >"$scratch/all.c" <<END
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <png.h>
#include <zlib.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>
#include <yajl/yajl_tree.h>
END
$compiler -M "$scratch/all.c" >"$scratch/read"
for path in $(tr -d '\\' <"$scratch/read"); do
    case $path in
    */yajl/yajl_*.h) cp -L "$path" "$prefix/include/yajl/" ;;
    */jpeglib.h | */jconfig.h | */jmorecfg.h | */jerror.h | */png*.h | */zlib.h | */zconf.h)
        cp -L "$path" "$prefix/include/" ;;
    esac
done
echo "$prefix: $(du -sk "$prefix" | cut -f1) KiB; use it with make DEPS=$prefix"
