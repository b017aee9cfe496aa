#!/bin/sh
# Looks for what the build needs and says, for each thing that is missing, which package holds it
# and the line that installs it. With --install, root on Debian or Ubuntu installs it at once.
#
# usage: [CC=...] [NVCC=...] [DEPS=...] tools/needs.sh [--install] what...
# what:  jpeg png yajl openmp venv mpi neon nvcc cublas cudnn nccl nvjpeg
# Libraries are looked for by compiling and linking a line, so the compiler's own paths count; with
# DEPS those of that prefix are (`make deps`), and with cuBLAS, cuDNN, NCCL and nvJPEG cuda_libraries.sh.
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

cuda_version() { # 13.0; without nvcc that of the toolkit we test with
    version=$($nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')
    echo "${version:-13.0}"
}

cuda_major() { cuda_version | cut -d. -f1; }

wheel() { # wheel cublas|nvjpeg: those of CUDA 13 have no number of it in their names
    if [ "$(cuda_major)" -ge 13 ]; then echo "nvidia-$1"; else
        echo "nvidia-$1-cu$(cuda_major)"
    fi
}

has_cuda() { # has_cuda cublas|cudnn|nccl|nvjpeg
    NVCC=$nvcc PYTHON=$python "$(dirname "$0")/cuda_libraries.sh" "$1" >/dev/null
}

library() { # library name...: how they are linked
    for name in "$@"; do
        if [ -n "${DEPS:-}" ]; then echo "-I$DEPS/include $DEPS/lib/lib$name.a"; else echo "-l$name"; fi
    done
}

with_deps() { # what a missing library's sentence ends with where a prefix was to hold it
    [ -z "${DEPS:-}" ] || echo " (not in DEPS=$DEPS, which make deps fills on a machine that has it)"
}

check() {
    case $1 in
    jpeg) links "stdio.h jpeglib.h" "jpeg_std_error(0) != 0" $(library jpeg) ||
        missing "libjpeg, which reads and writes JPEG images$(with_deps)" libjpeg-dev ;;
    png) links "png.h" "png_access_version_number()" $(library png z) -lm ||
        missing "libpng, which reads and writes PNG images$(with_deps)" libpng-dev ;;
    yajl) links "yajl/yajl_parse.h" "yajl_alloc(0, 0, 0) != 0" $(library yajl) ||
        missing "yajl, which reads COCO's JSON files$(with_deps)" libyajl-dev ;;
    openmp) links "omp.h" "omp_get_max_threads()" -fopenmp ||
        missing "OpenMP for $compiler (or: make OPENMP=0)" libgomp1 ;;
    venv)
        $python -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
            missing "$python of version 3.10 or newer (or: make PYTHON=python3.12 ...)" python3
        $python -c 'import venv, ensurepip' 2>/dev/null ||
            missing "$python's venv module, which makes the Python environment" python3-venv ;;
    mpi) command -v mpicc >/dev/null || missing "MPI=1 needs mpicc of Open MPI or MPICH" libopenmpi-dev ;;
    neon) links "stdio.h" "getchar()" -static ||
        missing "$compiler, which compiles for 64-bit Arm" "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
        command -v qemu-aarch64 >/dev/null || missing "qemu-aarch64, which runs programs for Arm" qemu-user ;;
    nvcc) command -v "$nvcc" >/dev/null ||
        missing "GPU=1 needs nvcc, CUDA's compiler: install NVIDIA's CUDA toolkit (Debian, Ubuntu: \
apt-get install nvidia-cuda-toolkit), or say where it is (make GPU=1 \
NVCC=/usr/local/cuda/bin/nvcc), or build without GPU=1" ;;
    cublas) has_cuda cublas || missing "GPU=1 needs cuBLAS ($nowhere): $python -m pip install \
$(wheel cublas), or Debian's nvidia-cuda-toolkit, or with NVIDIA's package repository \
apt-get install libcublas-dev-$(cuda_version | tr . -)" ;;
    cudnn) has_cuda cudnn || missing "CUDNN=1 needs cuDNN 9 or 8 ($nowhere): $python -m pip install \
nvidia-cudnn-cu$(cuda_major), or with NVIDIA's package repository apt-get install \
libcudnn9-dev-cuda-$(cuda_major), or say where it is (CUDNN_HOME=/opt/cudnn), or build without \
CUDNN=1" ;;
    nccl) has_cuda nccl || missing "NCCL=1 needs NCCL 2 ($nowhere): $python -m pip install \
nvidia-nccl-cu$(cuda_major), or Debian's libnccl-dev, or NVIDIA's, or build with NCCL=0" ;;
    nvjpeg) has_cuda nvjpeg || missing "NVJPEG=1 needs nvJPEG ($nowhere): $python -m pip install \
$(wheel nvjpeg), or Debian's nvidia-cuda-toolkit, or with NVIDIA's package repository \
apt-get install libnvjpeg-dev-$(cuda_version | tr . -), or build with NVJPEG=0" ;;
    *) echo "tools/needs.sh: $1: not one of jpeg png yajl openmp venv mpi neon nvcc cublas cudnn nccl nvjpeg" >&2
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
nowhere="not in CUDNN_HOME, CUDA's toolkit, the system's folders or $python's packages"
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
if [ "$*" != neon ] && ! command -v "${compiler%% *}" >/dev/null; then
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
