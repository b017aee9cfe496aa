#!/bin/sh
# Looks for what the build needs and says, for each thing that is missing, which package holds it
# and the line that installs it. With --install, root on Debian or Ubuntu installs it at once.
#
# usage: [CC=...] [NVCC=...] tools/needs.sh [--install] what...
# what:  jpeg png yajl openmp venv nvcc cudnn
# Libraries are looked for by compiling and linking a line, so the compiler's own paths count.
set -u

compiler=${CC:-cc}
nvcc=${NVCC:-nvcc}
python=${PYTHON:-python3}
install=0
packages=
failed=0

links() { # links "headers" "expression" flags...
    headers=$1 expression=$2
    shift 2
    for header in $headers; do echo "#include <$header>"; done >"$scratch/probe.c"
    echo "int main(void) { return ($expression) == 0; }" >>"$scratch/probe.c"
    # shellcheck disable=SC2086
    $compiler ${CPPFLAGS:-} ${CFLAGS:-} -o "$scratch/probe" "$scratch/probe.c" "$@" \
        ${LDFLAGS:-} >/dev/null 2>&1
}

missing() { # missing "sentence" [package]
    echo "missing: $1" >&2
    failed=1
    [ $# -lt 2 ] || packages="$packages $2"
}

cuda_version() { # the major number; without nvcc that of the toolkit we test with
    version=$($nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
    echo "${version:-13}"
}

has_cudnn() { # where nvcc looks, or in the wheel of that name
    echo '#include <cudnn.h>' >"$scratch/probe.cu"
    $nvcc -E "$scratch/probe.cu" >/dev/null 2>&1 && return
    $python -c 'import sysconfig, pathlib, sys
folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
paths = [pathlib.Path(folder, "nvidia/cudnn/include/cudnn.h") for folder in folders]
sys.exit(not any(path.is_file() for path in paths))'
}

check() {
    case $1 in
    jpeg) links "stdio.h jpeglib.h" "jpeg_std_error(0) != 0" -ljpeg ||
        missing "libjpeg, which reads and writes JPEG images" libjpeg-dev ;;
    png) links "png.h" "png_access_version_number()" -lpng ||
        missing "libpng, which reads and writes PNG images" libpng-dev ;;
    yajl) links "yajl/yajl_parse.h" "yajl_alloc(0, 0, 0) != 0" -lyajl ||
        missing "yajl, which reads COCO's JSON files" libyajl-dev ;;
    openmp) links "omp.h" "omp_get_max_threads()" -fopenmp ||
        missing "OpenMP for $compiler (or: make OPENMP=0)" libgomp1 ;;
    venv)
        $python -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
            missing "$python of version 3.10 or newer (or: make PYTHON=python3.12 ...)" python3
        $python -c 'import venv, ensurepip' 2>/dev/null ||
            missing "$python's venv module, which makes the Python environment" python3-venv ;;
    nvcc) command -v "$nvcc" >/dev/null ||
        missing "GPU=1 needs nvcc, CUDA's compiler: install NVIDIA's CUDA toolkit (Debian, Ubuntu: \
apt-get install nvidia-cuda-toolkit), or say where it is (make GPU=1 \
NVCC=/usr/local/cuda/bin/nvcc), or build without GPU=1" ;;
    cudnn) has_cudnn || missing "CUDNN=1 needs cuDNN's header cudnn.h: $python -m pip install \
nvidia-cudnn-cu$(cuda_version), or with NVIDIA's package repository apt-get install \
libcudnn9-dev-cuda-$(cuda_version), or build without CUDNN=1" ;;
    *) echo "tools/needs.sh: $1: not one of jpeg png yajl openmp venv nvcc cudnn" >&2
        exit 2 ;;
    esac
}

check_all() {
    packages=
    failed=0
    for what in "$@"; do check "$what"; done
}

if [ "${1:-}" = --install ]; then
    install=1
    shift
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
if ! command -v "${compiler%% *}" >/dev/null; then
    echo "missing: a C compiler ($compiler): apt-get install gcc" >&2
    exit 1
fi

check_all "$@"
[ $failed -eq 0 ] && exit 0
if [ -n "$packages" ] && [ $install -eq 1 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null
then
    echo "installing:$packages" >&2
    # shellcheck disable=SC2086
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages >/dev/null || exit 1
    check_all "$@"
    [ $failed -eq 0 ] && exit 0
fi
if [ -n "$packages" ]; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo='sudo '
    echo "To install it (Debian, Ubuntu): ${sudo}apt-get update && ${sudo}apt-get install -y$packages" >&2
fi
exit 1
