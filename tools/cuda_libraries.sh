#!/bin/sh
# Where cuBLAS, cuDNN, NCCL or nvJPEG is: prints what nvcc and the linker need for it, on one line, and exits 1
# where there is none. The Makefile and tools/needs.sh ask.
#
# usage: [NVCC=...] [PYTHON=...] [CUDNN_HOME=...] tools/cuda_libraries.sh cublas|cudnn|nccl|nvjpeg
#
# Header and library of one installation are taken together, from the first of
#   1. $CUDNN_HOME (include/, lib/, lib64/);
#   2. the toolkit that nvcc belongs to;
#   3. the system's folders;
#   4. the wheels nvidia-cublas, nvidia-cudnn-cu13, ... beside the packages of $PYTHON: folders
#      nvidia/*/ with include/ and lib/, whose libraries have a version and no plain .so.
# Libraries are named by their files, with a run path, so that the result runs as it was linked.
# The header's folder comes behind nvcc's own ones (-isystem): wheels may hold another runtime's.
set -u

nvcc=${NVCC:-nvcc}
python=${PYTHON:-python3}

case ${1:-} in
cublas) header=cublas_v2.h ;;
cudnn) header=cudnn.h ;;
nccl) header=nccl.h ;;
nvjpeg) header=nvjpeg.h ;;
*) echo "usage: tools/cuda_libraries.sh cublas|cudnn|nccl|nvjpeg" >&2 && exit 2 ;;
esac

take() { # take "include folder" "library folder"...: prints and exits where both are there
    include=$1
    shift
    [ -f "$include/$header" ] || return 0
    for folder in "$@"; do
        for file in $files; do
            [ -f "$folder/$file" ] || continue
            case $include in
            "$toolkit"/* | /usr/include) words= ;;
            *) words="-isystem=$include " ;;
            esac
            words=$words$folder/$file
            case $folder in
            /usr/lib | /usr/lib64 | /usr/lib/*-gnu) ;;
            *) words="$words -Wl,-rpath,$folder" ;;
            esac
            echo "$words"
            exit 0
        done
    done
}

run=$($nvcc -dryrun none.cu 2>&1) || run=
toolkit=$(echo "$run" | sed -n 's/^#\$ TOP=//p')
toolkit=$(cd "${toolkit:-/nowhere}" 2>/dev/null && pwd -P) || toolkit=/nowhere
major=$(echo "$run" | sed -n 's/.*__CUDACC_VER_MAJOR__=\([0-9]*\).*/\1/p' | head -n 1)
machine=$(uname -m)
case $1 in
cublas) files="libcublas.so.${major:-13} libcublas.so" ;;
cudnn) files="libcudnn.so.9 libcudnn.so.8 libcudnn.so" ;;
nccl) files="libnccl.so.2" ;;
nvjpeg) files="libnvjpeg.so.${major:-13} libnvjpeg.so" ;;
esac

[ -z "${CUDNN_HOME:-}" ] || take "$CUDNN_HOME/include" "$CUDNN_HOME/lib" "$CUDNN_HOME/lib64"
for folder in "$toolkit/include" "$toolkit/targets/$machine-linux/include"; do
    take "$folder" "$toolkit/lib64" "$toolkit/lib" "$toolkit/targets/$machine-linux/lib"
done
for folder in /usr/include "/usr/include/$machine-linux-gnu" /usr/local/include; do
    take "$folder" "/usr/lib/$machine-linux-gnu" /usr/lib64 /usr/lib /usr/local/lib
done
sites=$($python -c 'import site
print(*site.getsitepackages(), site.getusersitepackages(), sep="\n")' 2>/dev/null)
for site in $sites; do
    for wheel in "$site"/nvidia/*; do take "$wheel/include" "$wheel/lib"; done
done
exit 1
