# YOLO-Mask. `make` builds ./darknet and ./libdarknet.so; `make help` lists the rest.
# The sources are found, never listed: src/*/*.c, cuda/*.cu. Files named *_avx2.c and *_avx512.c and
# those of src/blocked, once an instruction set, are the only ones compiled for those; which one runs
# is chosen at run time.

all:

# ---- Switches --------------------------------------------------------------------------------

GPU        ?= 0
CUDNN      ?= 0
CUDNN_HALF ?= 0
OPENMP     ?= 1
MPI        ?= 0
DEBUG      ?= 0
SANITIZE   ?= 0
TORCH      ?= 0
CC         ?= cc
NVCC       ?= $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc),nvcc)
# A prefix with the static libraries to link (`make deps` fills build/deps); empty: the system's.
DEPS       ?=
PYTHON     ?= python3
VENV       ?= .venv
# Warnings stop the build with the compiler that CI has; a newer one's new warnings stop nobody.
WERROR     ?= $(if $(filter 12 12.%,$(shell $(CC) -dumpversion 2>/dev/null)),1,0)

comma := ,
on    = $(filter 1,$($(1)))
# `make -s` prints nothing, V=1 the commands, and `make` a line a file.
quiet = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '  %-5s %s\n' $(1);))
BUILD ?= build/$(if $(call on,SANITIZE),sanitize,$(if $(call on,DEBUG),debug,release))
# Sanitized files stay beside their objects: ./darknet is always one that runs anywhere.
PLACE := $(if $(call on,SANITIZE),$(BUILD)/)
FLAVOUR := $(or $(PLACE),build/)flavour

# ---- Compiler and flags ----------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion \
            -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-format-truncation $(if $(call on,WERROR),-Werror)
OPTIMISE := $(if $(call on,DEBUG),-Og -g,-O3 -g1 -fno-math-errno -fno-trapping-math)
PARALLEL := $(if $(call on,OPENMP),-fopenmp,-Wno-unknown-pragmas -Wno-unused-parameter)
CHECKED  := $(if $(call on,SANITIZE),-fsanitize=address -fsanitize=undefined \
            -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
COMPILE  := $(CC) -Isrc $(DEPS:%=-I%/include) -D_POSIX_C_SOURCE=200809L $(CPPFLAGS) -std=c11 $(OPTIMISE) -fPIC \
            -fvisibility=hidden -ffp-contract=off $(WARNINGS) $(PARALLEL) $(CHECKED) $(CFLAGS)
LINK     := $(CC) $(CHECKED) $(filter -fopenmp,$(PARALLEL)) $(LDFLAGS)
# DEPS: static ones of a prefix, hidden from programs that load ours beside another libjpeg or libpng.
IMAGES   := $(if $(DEPS),$(patsubst %,$(DEPS)/lib/lib%.a,yajl jpeg png z) -Wl$(comma)--exclude-libs$(comma)ALL,\
            -lyajl -ljpeg -lpng)
LIBS     := $(IMAGES) -lm -lpthread $(LDLIBS)
NEEDS    := jpeg png yajl $(if $(call on,OPENMP),openmp)

# ---- Sources ---------------------------------------------------------------------------------

SOURCES := $(filter-out src/cli/% src/blocked/%,$(wildcard src/*/*.c))
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ifeq ($(filter x86_64 amd64,$(MACHINE)),)
SOURCES := $(filter-out %_avx2.c %_avx512.c,$(SOURCES))
endif
# src/blocked is compiled once an instruction set; CMakeLists.txt has the same list.
ISAS := plain $(if $(filter x86_64 amd64,$(MACHINE)),avx2 avx512 avx512vnni avx512bf16) $(if $(filter aarch64 arm64,$(MACHINE)),neon)
ISA_avx2       := -mavx2 -mfma
ISA_avx512     := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
ISA_avx512vnni := $(ISA_avx512) -mavx512vnni
ISA_avx512bf16 := $(ISA_avx512vnni) -mavx512bf16
ISA_wide       := -UDN_ISA -DDN_ISA=plain -DDN_WIDE -O0 -Wno-psabi
BLOCKED     := $(wildcard src/blocked/*.c)
LIB_OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(foreach isa,$(ISAS),$(BLOCKED:%.c=$(BUILD)/$(isa)/%.o))
CLI_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/cli/*.c))

# ---- MPI (MPI=1) -----------------------------------------------------------------------------
# One file is compiled for it. mpicc says how, Open MPI's and MPICH's in words of their own.

ifneq ($(call on,MPI),)
mpicc = $(or $(shell mpicc $(1) 2>/dev/null),$(filter $(3),$(shell mpicc $(2) 2>/dev/null)))
MPI_COMPILE := $(patsubst -I%,-isystem %,$(call mpicc,-showme:compile,-compile_info,-I%))
LIBS        := $(call mpicc,-showme:link,-link_info,-L% -l% -Wl%) $(LIBS)
LIB_OBJECTS := $(filter-out $(BUILD)/src/train/parallel.o,$(LIB_OBJECTS)) $(BUILD)/mpi/parallel.o
endif

# ---- CUDA (GPU=1) ----------------------------------------------------------------------------
# CUDA's static runtime is linked, so the result needs the driver, cuBLAS and, with CUDNN=1, cuDNN:
# no toolkit. Where they are found: tools/cuda_libraries.sh. Where NCCL and nvJPEG are there, too
# (NCCL=1, NVJPEG=1: they must be, 0: they are not looked for), their places become run paths, by which
# programs open them when they need them. -fmad=false: as on the CPU nothing is contracted, so kernels that wait for memory anyway
# give the CPU's bits. ARCH: what this machine has or, without a GPU, every generation that nvcc
# knows and PTX for later ones.

cudnn := $(or $(call on,CUDNN),$(call on,CUDNN_HALF))
ifneq ($(cudnn),)
ifeq ($(or $(call on,GPU),$(filter %-check,$(MAKECMDGOALS))),)
$(error CUDNN=1 and CUDNN_HALF=1 need GPU=1)
endif
endif

CUDA := $(BUILD)/cuda
ifneq ($(call on,GPU),)
ARCH ?= $(if $(shell nvidia-smi -L 2>/dev/null | grep '^GPU'),-arch=native,-arch=all-major)
CUDA_NEEDS = nvcc cublas $(if $(cudnn),cudnn) $(if $(call on,NCCL),nccl) \
             $(if $(call on,NVJPEG),nvjpeg)
cuda_find  = $(shell NVCC='$(NVCC)' PYTHON='$(PYTHON)' CUDNN_HOME='$(CUDNN_HOME)' \
             tools/cuda_libraries.sh $(1))
ifeq ($(origin NCCL),undefined)
NCCL := $(if $(call cuda_find,nccl),1,0)
endif
ifeq ($(origin NVJPEG),undefined)
NVJPEG := $(if $(call cuda_find,nvjpeg),1,0)
endif
CUBLAS_AT := $(if $(filter cublas,$(CUDA_NEEDS)),$(call cuda_find,cublas))
CUDNN_AT  := $(if $(filter cudnn,$(CUDA_NEEDS)),$(call cuda_find,cudnn))
NCCL_AT   := $(if $(filter nccl,$(CUDA_NEEDS)),$(call cuda_find,nccl))
NVJPEG_AT := $(if $(filter nvjpeg,$(CUDA_NEEDS)),$(call cuda_find,nvjpeg))
CUDA_COMPILE = $(NVCC) -std=c++17 $(ARCH) -Isrc -Icuda $(if $(call on,DEBUG),-O0 -g,-O3) \
               -fmad=false --default-stream per-thread $(if $(call on,WERROR),-Werror all-warnings) \
               -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-missing-field-initializers \
               $(filter -isystem=%,$(CUBLAS_AT))
CUDA_LIBS    = $(filter-out -isystem=%,$(CUDNN_AT) $(CUBLAS_AT)) $(filter -Wl%,$(NCCL_AT) $(NVJPEG_AT)) \
               $(shell $(NVCC) -dryrun none.cu 2>&1 | sed -n 's/^\#\$$ LIBRARIES= *//p') \
               -lcudart_static -lstdc++ -ldl -lrt
LIBS        := $(CUDA_LIBS) $(LIBS)
# One of the two implementations of cuda/conv.h, of what cuda/half_conv.h leaves to cuDNN, of
# cuda/sums.h and of cuda/jpeg.h.
CUDA_SOURCES := $(filter-out $(if $(cudnn),%_gemm.cu,%_cudnn.cu) \
                cuda/sums_$(if $(call on,NCCL),without,nccl).cu \
                cuda/jpeg_$(if $(call on,NVJPEG),without,nvjpeg).cu,\
                $(wildcard cuda/*.cu))
LIB_OBJECTS := $(filter-out $(BUILD)/src/core/backend.o,$(LIB_OBJECTS)) $(CUDA)/backend.o \
               $(CUDA_SOURCES:%.cu=$(CUDA)/%.o)
endif

# What is written for Hopper alone is compiled for it whatever ARCH is; empty by an nvcc without it.
nvcc_major = $(shell $(NVCC) --version 2>/dev/null | sed -n 's/.*release \([0-9]*\).*/\1/p')
$(CUDA)/cuda/half_hopper_%.o: override ARCH = $(if $(filter 9 10 11,$(nvcc_major)),-DDN_WITHOUT_HOPPER,\
                              -gencode arch=compute_90a,code=sm_90a)

# Everything with GPU=1 in a folder of its own, so that ./darknet stays what it is; with CUDNN=1
# in its folder cudnn, from the same objects.
place = $(1)/$(if $(cudnn),cudnn/)
gpu = $(MAKE) --no-print-directory GPU=1 CUDA=$(1) PLACE=$(place) $(place)libdarknet.so

# ---- Program and library ---------------------------------------------------------------------

all: $(PLACE)darknet $(PLACE)libdarknet.so

# On all cores, unless the command line's -j says otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell getconf _NPROCESSORS_ONLN)
endif

$(PLACE)darknet: $(CLI_OBJECTS) $(LIB_OBJECTS) $(FLAVOUR)
	$(call quiet,link $@)$(LINK) -o $@ $(filter %.o,$^) $(LIBS)

$(PLACE)libdarknet.so: $(LIB_OBJECTS) $(FLAVOUR)
	$(call quiet,link $@)$(LINK) -shared -Wl,-z,defs -o $@ $(filter %.o,$^) $(LIBS)

$(BUILD)/%_avx2.o: ISA = $(ISA_avx2)
$(BUILD)/%_avx512.o: ISA = $(ISA_avx512)
define blocked_rule
$(BUILD)/$(1)/src/blocked/%.o: src/blocked/%.c $(BUILD)/flags | $(BUILD)/libraries
	@mkdir -p $$(@D)
	$$(call quiet,cc "$$< ($(1))")$$(COMPILE) -DDN_ISA=$(1) $(ISA_$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS) wide,$(eval $(call blocked_rule,$(isa))))
$(BUILD)/%.o: %.c $(BUILD)/flags | $(BUILD)/libraries
	@mkdir -p $(@D)
	$(call quiet,cc $<)$(COMPILE) $(ISA) -MMD -MP -c -o $@ $<

$(CUDA)/backend.o: src/core/backend.c $(BUILD)/flags | $(BUILD)/libraries
	@mkdir -p $(@D)
	$(call quiet,cc $<)$(COMPILE) -DDN_GPU -MMD -MP -c -o $@ $<

$(BUILD)/mpi/parallel.o: src/train/parallel.c $(BUILD)/flags | $(BUILD)/libraries $(BUILD)/mpi/libraries
	@mkdir -p $(@D)
	$(call quiet,cc $<)$(COMPILE) -DDN_MPI $(MPI_COMPILE) -MMD -MP -c -o $@ $<

$(CUDA)/cuda/%.o: cuda/%.cu $(CUDA)/flags | $(CUDA)/libraries
	@mkdir -p $(@D)
	$(call quiet,nvcc $<)$(CUDA_COMPILE) $(if $(filter %_cudnn.cu,$<),$(filter -isystem=%,$(CUDNN_AT))) \
	    $(if $(filter %_nccl.cu,$<),$(filter -isystem=%,$(NCCL_AT))) \
	    $(if $(filter %_nvjpeg.cu,$<),$(filter -isystem=%,$(NVJPEG_AT))) \
	    -MMD -MP -c -o $@ $<

# Other flags or another flavour rebuild what they touch: these files change only with their text.
keep = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(BUILD)/flags: always
	$(call keep,$(filter-out -Werror,$(COMPILE)))
$(CUDA)/flags: always
	$(call keep,$(CUDA_COMPILE))
$(FLAVOUR): always
	$(call keep,$(BUILD) $(LINK) $(LIBS))

# INSTALL=--install (make demo, make test): root installs what is missing; others are told how.
$(BUILD)/libraries: tools/needs.sh
	@mkdir -p $(@D)
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' CFLAGS='$(CFLAGS)' LDFLAGS='$(LDFLAGS)' DEPS='$(DEPS)' \
	    tools/needs.sh $(INSTALL) $(NEEDS)
	@touch $@
$(BUILD)/mpi/libraries: tools/needs.sh always
	@mkdir -p $(@D)
	@CC='$(CC)' tools/needs.sh $(INSTALL) mpi
$(CUDA)/libraries: tools/needs.sh always
	@mkdir -p $(@D)
	@CC='$(CC)' PYTHON='$(PYTHON)' NVCC='$(NVCC)' CUDNN_HOME='$(CUDNN_HOME)' \
	    tools/needs.sh $(CUDA_NEEDS)

-include $(LIB_OBJECTS:.o=.d) $(CLI_OBJECTS:.o=.d) $(BLOCKED:%.c=$(BUILD)/wide/%.d)

# ---- Python environment ----------------------------------------------------------------------

PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet install

# VENV=none: PYTHON's own packages are used, and nothing is installed.
RUN := $(if $(filter none,$(VENV)),$(PYTHON),$(VENV)/bin/python)
env: $(if $(filter none,$(VENV)),,$(VENV)/ready $(if $(call on,TORCH),$(VENV)/torch))

$(VENV)/ready: requirements.txt | $(BUILD)/libraries
	@PYTHON='$(PYTHON)' CC='$(CC)' tools/needs.sh $(INSTALL) venv
	@echo 'making the Python environment $(VENV): some 300 MB'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/torch: $(VENV)/ready
	$(PIP) torch==2.13.0
	@touch $@

# What DEPS=build/deps takes to a machine without the -dev packages.
deps: | $(BUILD)/libraries
	@CC='$(CC)' tools/make_deps.sh $(or $(DEPS),build/deps)

# ---- What people type ------------------------------------------------------------------------

demo: INSTALL = --install
demo: all env
	$(FETCH)
	$(RUN) python/detect.py data/*.jpg models/samples/*.jpg

# Published weights are compared with where they can be had; without them those tests skip.
FETCH  = PYTHONPATH=python $(RUN) -m yolomask fetch
PYTEST = PYTHONPATH=python YOLOMASK_MODELS=$${YOLOMASK_MODELS:-$(CURDIR)/models} \
         $(RUN) -m pytest -q
test: INSTALL = --install
test: all env
	@$(FETCH) yolov4-tiny yolov3-tiny >/dev/null || echo 'the tests go on without them'
	@mkdir -p models
	$(PYTEST) -m 'not slow' $(ARGS)

test-slow: all env
	$(PYTEST) -m slow $(ARGS)

# Python's own allocations come from malloc, so that reads behind them are seen, and are not looked
# at for leaks; the program's runs in tests/test_cli.py are.
sanitize: env
	$(MAKE) --no-print-directory SANITIZE=1 all
	LD_PRELOAD="$(foreach x,libasan.so libstdc++.so.6,$(shell $(CC) -print-file-name=$(x)))" \
	    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    YOLOMASK_LIBRARY=$(CURDIR)/build/sanitize/libdarknet.so \
	    YOLOMASK_PROGRAM=$(CURDIR)/build/sanitize/darknet \
	    $(PYTEST) -m 'not slow' $(ARGS)

# The .cu files: compiled for the oldest generation that CUDA 13 knows, and linked with cuBLAS and,
# with CUDNN=1, cuDNN. No GPU needed.
nvcc-check:
	+@$(call gpu,$(BUILD)/nvcc-check) ARCH=-arch=sm_75

# All that needs a GPU, with PYTHON's packages and, from a folder WHEELS of wheels, those it lacks.
# OUT: a file for the report or a folder for report and logs; ONLY=build,tests: some of the steps.
gpu-check:
	@$(PYTHON) tools/gpu_check.py $(OUT:%=--out %) $(ONLY:%=--only %) $(WHEELS:%=--wheels %) \
	    $(COMMIT:%=--commit %) --nvcc $(NVCC) $(MAKEOVERRIDES)

# Its libraries and programs: with CUDNN=1 and without, from the same objects. The first takes along
# what the second has besides, so that all is compiled at once.
gpu-libraries:
	-+@$(MAKE) --no-print-directory GPU=1 CUDNN=1 CUDA=build/gpu-check PLACE=build/gpu-check/cudnn/ \
	    all build/gpu-check/cuda/conv_gemm.o \
	    build/gpu-check/cuda/half_conv_gemm.o
	+@$(MAKE) --no-print-directory GPU=1 CUDA=build/gpu-check PLACE=build/gpu-check/ all

# The same tests with the kernels compiled as C++ and run by the CPU, in two orders of the threads
# at once; with CUDNN=1 through a cuDNN of plain loops.
HOST_CUDA = $(BUILD)/host-cuda
HOST_LIBRARY = $(call place,$(HOST_CUDA))libdarknet.so
CUDA_TESTS = OMP_WAIT_POLICY=passive YOLOMASK_TEST_CUDA=need YOLOMASK_LIBRARY=$(HOST_LIBRARY) \
             $(PYTEST) -rs -p no:cacheprovider $(wildcard tests/test_cuda_*.py) $(ARGS)
host-cuda-check: host-cuda-forward host-cuda-reverse
host-cuda-library: env
	+@$(call gpu,$(HOST_CUDA)) CUDA_LIBS=-lstdc++ CUDA_NEEDS= NCCL=1 NVJPEG=1 CUDA_COMPILE='$(CXX) -x c++ \
	    -std=c++17 -O2 -g1 -Itests/host_cuda -Isrc -Icuda -fPIC -fvisibility=hidden \
	    -ffp-contract=off -Wall -Wextra -Wno-missing-field-initializers -Wshadow \
	    -Wdouble-promotion -Werror'
host-cuda-forward: host-cuda-library
	$(CUDA_TESTS)
host-cuda-reverse: host-cuda-library
	DN_HOST_CUDA_REVERSE=1 $(CUDA_TESTS)

# Trainings of several processes, where mpirun is; a build of its own beside ./darknet.
mpi-check: env
	+@$(MAKE) --no-print-directory MPI=1 PLACE=$(BUILD)/mpi/ $(BUILD)/mpi/darknet
	YOLOMASK_MPI_PROGRAM=$(CURDIR)/$(BUILD)/mpi/darknet $(PYTEST) -rs tests/test_parallel.py $(ARGS)

# The blocked kernels as AVX-512 cuts them, 16 lanes and 32 registers, in plain C: in a library of
# its own they take the place of plain's.
WIDE := $(BUILD)/wide/libdarknet.so
wide-check: env $(WIDE)
	DARKNET_ISA=plain YOLOMASK_LIBRARY=$(CURDIR)/$(WIDE) $(PYTEST) -k 'plain or test_plan' \
	    $(wildcard tests/test_conv_[cflw]*.py) tests/test_plan.py $(ARGS)

$(WIDE): $(filter-out $(BUILD)/plain/%,$(LIB_OBJECTS)) $(BLOCKED:%.c=$(BUILD)/wide/%.o)
	$(call quiet,link $@)$(LINK) -shared -Wl,-z,defs -o $@ $^ $(LIBS)

# The blocked kernels on Arm: compiled for it and run under qemu-user.
NEON := build/neon
NEON_OBJECTS := $(foreach isa,plain neon,$(BLOCKED:%.c=$(NEON)/$(isa)/%.o)) $(patsubst %,$(NEON)/src/%.o,\
                infer/conv_forms infer/test_conv_form core/memory core/status math/activation math/cpu)
neon-check:
	+@CC=$(NEON_CC) tools/needs.sh $(INSTALL) neon
	+@$(MAKE) --no-print-directory CC=$(NEON_CC) BUILD=$(NEON) DEBUG=0 NEEDS= $(NEON)/check_forms
	qemu-aarch64 $(NEON)/check_forms

NEON_CC := aarch64-linux-gnu-gcc
$(NEON)/check_forms: tests/emulated/check_forms.c $(NEON_OBJECTS)
	$(call quiet,link $@)$(COMPILE) -static -o $@ $^ -fopenmp -lm

# What is written for AVX-512, on an emulated processor: static programs, which run_on_bochs.py runs.
AVX512 := $(BUILD)/avx512check
avx512-check: env $(addprefix $(AVX512)/,check_forms check_network bochs_model.so)
	@$(PIP) --no-deps -r tests/emulated/requirements.txt
	$(BOCHS)/check_forms avx512 avx512vnni avx512bf16
	$(BOCHS)/check_network

BOCHS = $(RUN) tests/emulated/run_on_bochs.py $(AVX512)/bochs_model.so $(AVX512)
$(AVX512)/check_%: tests/emulated/check_%.c $(AVX512)/libdarknet.a
	$(call quiet,link $@)$(COMPILE) -static -Wl,--no-warnings -o $@ $^ -lyajl_s $(filter-out -lyajl,$(LIBS))

$(AVX512)/libdarknet.a: $(LIB_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(call quiet,ar $@)$(AR) rcs $@ $^

$(AVX512)/bochs_model.so: tests/emulated/bochs_model.c
	@mkdir -p $(@D)
	$(call quiet,cc $<)$(COMPILE) -shared -fvisibility=default -o $@ $< -ldl

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/clang-format --dry-run -Werror $(wildcard src/*.h src/*/*.[ch] src/*/*.def \
	    cuda/*.cu cuda/*.h tests/*.[ch] tests/*/*.[ch] bench/*.[ch])

bench: all env
	$(RUN) bench/bench_gemm.py
	$(RUN) bench/bench_networks.py

# Beside the engines that people would export to; ARGS='--net yolov4 --threads 1': what is run.
bench-peers: all env
	@$(PIP) --no-deps -r bench/requirements.txt
	$(RUN) bench/bench_peers.py $(ARGS)

docs: all
	./darknet reference > docs/cfg-reference.md

clean:
	rm -rf build darknet libdarknet.so

help:
	@sed -n 's/^#: \{0,1\}//p' Makefile

#: make                  ./darknet and ./libdarknet.so
#: make demo             all that a fresh machine needs, then segments a real photo
#: make test             all that a fresh machine needs, then the tests; TORCH=1: PyTorch's, too
#:                       ARGS='-k roialign': what pytest is to do besides
#: make test-slow        the tests that take minutes
#: make sanitize         the tests under AddressSanitizer and UndefinedBehaviorSanitizer
#: make nvcc-check       compiles the CUDA kernels and links them (CUDNN=1: cuDNN's, too); no GPU needed
#: make gpu-check        build, tests, sanitizer and benchmark on this machine's GPU, and a report:
#:                       docs/gpu.md
#: make host-cuda-check  tests them without a GPU: as C++, on the CPU
#: make mpi-check        MPI=1 apart, and its tests with mpirun
#: make neon-check       the blocked kernels compiled for Arm, run under qemu-user
#: make avx512-check     the kernels for AVX-512, VNNI and BF16 on an emulated processor (x86-64 Linux)
#: make wide-check       the blocked kernels as AVX-512 cuts them, in plain C: tested on any machine
#: make bench            times the kernels and the networks
#: make bench-peers      times the networks beside OpenVINO, ONNX Runtime, ncnn and OpenCV, in turns:
#:                       docs/performance.md
#: make lint             ruff and clang-format
#: make docs             writes docs/cfg-reference.md anew
#: make deps             static libraries and headers in build/deps, for DEPS=build/deps elsewhere
#: make env              the Python environment alone, in .venv
#: make clean            removes what was built; keeps .venv and models/
#:
#: make V=1              prints the commands, too
#:
#: Switches: GPU=1 CUDNN=1 CUDNN_HALF=1 NCCL=0 NVJPEG=0 ARCH='-gencode ...'  MPI=1  OPENMP=0  DEBUG=1  SANITIZE=1
#:           WERROR=1 (warnings stop the build)  CC=  NVCC=  PYTHON=python3.12  VENV= (none: the
#:           packages of PYTHON)  DEPS=build/deps  CUDNN_HOME=

.PHONY: all env demo test test-slow sanitize nvcc-check gpu-check host-cuda-check \
        host-cuda-library host-cuda-forward host-cuda-reverse mpi-check wide-check neon-check avx512-check \
        lint bench docs deps gpu-libraries clean help always
