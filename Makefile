# YOLO-Mask. Type `make` for ./darknet and libdarknet.so; `make help` lists the rest.
#   GPU=1         CUDA kernels (nvcc)          CUDNN=1       cuDNN convolutions (with GPU=1)
#   CUDNN_HALF=1  half precision there         OPENMP=0      one thread
#   DEBUG=1       -O0 -g                       ARCH=...      nvcc -gencode flags
# The sources are found, never listed: src/*/*.c, cuda/*.cu. Files named *_avx2.c and *_avx512.c
# are the only ones compiled for those instruction sets; which one runs is chosen at run time.

GPU        ?= 0
CUDNN      ?= 0
CUDNN_HALF ?= 0
OPENMP     ?= 1
DEBUG      ?= 0
SANITIZE   ?= 0
CC         ?= cc
NVCC       ?= nvcc
BUILD      ?= build/$(if $(filter 1,$(SANITIZE)),sanitize,$(if $(filter 1,$(DEBUG)),debug,release))$(if $(filter 1,$(GPU)),-gpu,)

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes \
           -Wmissing-prototypes -Wvla -Werror
CFLAGS  ?=
CPPFLAGS += -Isrc -D_POSIX_C_SOURCE=200809L
OPTIMISE = $(if $(filter 1,$(DEBUG)),-O0 -g,-O3 -g1 -fno-math-errno -fno-trapping-math)
BASE    = -std=c11 $(OPTIMISE) -fPIC -fvisibility=hidden -ffp-contract=off $(WARNINGS)
LDLIBS  += -lyajl -ljpeg -lpng -lm -lpthread
ifeq ($(OPENMP),1)
BASE    += -fopenmp
LDLIBS  += -fopenmp
else
BASE    += -Wno-unknown-pragmas
endif
ifeq ($(SANITIZE),1)
BASE    += -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDLIBS  += -fsanitize=address,undefined
endif

x86 := $(filter x86_64 amd64,$(shell uname -m))
SOURCES := $(filter-out src/cli/%,$(wildcard src/*/*.c))
ifeq ($(x86),)
SOURCES := $(filter-out %_avx2.c %_avx512.c,$(SOURCES))
endif
LIB_OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
CLI_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/cli/*.c))

all: darknet libdarknet.so

darknet: $(CLI_OBJECTS) $(LIB_OBJECTS)
	$(CC) -o $@ $^ $(LDFLAGS) $(LDLIBS)

libdarknet.so: $(LIB_OBJECTS)
	$(CC) -shared -Wl,-z,defs -o $@ $^ $(LDFLAGS) $(LDLIBS)

$(BUILD)/%_avx2.o: ISA = -mavx2 -mfma
$(BUILD)/%_avx512.o: ISA = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(BASE) $(ISA) $(CFLAGS) -MMD -MP -c -o $@ $<

clean:
	rm -rf build darknet libdarknet.so

-include $(LIB_OBJECTS:.o=.d) $(CLI_OBJECTS:.o=.d)

.PHONY: all clean
