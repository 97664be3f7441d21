# What does not belong to PostgreSQL: the plain C libraries, the programs on
# them, the CUDA plug-in, unit tests, and the targets a person types.

B = build
LIBCC = $(CC)
LIBFLAGS = -std=gnu17 -O2 -g -fPIC -Wall -Wextra -Isrc -I. -pthread -D_GNU_SOURCE -MMD -MP
LIBLIBS = -lopenblas -ljpeg -ljansson -lm -ldl -pthread
TRAINLIBS = -llzma -linih
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

LIB_DIRS = src/hamming src/image src/nn
LIB_SRC = $(wildcard $(addsuffix /*.c,$(LIB_DIRS)))
SERVICE_SRC = $(wildcard src/service/*.c)
TRAIN_SRC = $(wildcard training/*.c training/*/*.c)
UNIT_SRC = $(wildcard test/unit/test_*.c)

.PHONY: programs gpu-plugin
programs: $(if $(SERVICE_SRC),$(B)/bin/deephash-encoder) $(if $(TRAIN_SRC),$(B)/bin/deephash-train) gpu-plugin

# deephash-train finds its recipes from where it lies itself.
RECIPES = $(wildcard training/recipes/*.ini)
programs: $(RECIPES:training/recipes/%=$(B)/share/deephash/recipes/%)
$(B)/share/deephash/recipes/%.ini: training/recipes/%.ini
	@mkdir -p $(@D)
	cp $< $@

GPU_SRC = $(wildcard gpu/*.cu)
# What compares a device with the CPU; parity.c is the program of it, for gpu/check.
PARITY_SRC = $(filter-out %/parity.c %/parity_cases.c,$(wildcard gpu/parity/*.c))
GPU_HOST_FLAGS = -x c++ -std=gnu++17 -O2 -g -fPIC -Wall -Wextra -fno-exceptions -fno-rtti -Isrc -I. -MMD -MP

# The libraries, the programs and the unit tests, built below $(1) with the
# further flags $(2).  The libraries of the two programs are theirs without main.
define compiled_below
$(1)/obj/%.o: %.c
	@mkdir -p $$(@D)
	$$(LIBCC) $$(LIBFLAGS) $(2) -c -o $$@ $$<

$(1)/lib/libdeephash.a: $$(LIB_SRC:%.c=$(1)/obj/%.o)
$(1)/lib/libservice.a: $$(patsubst %.c,$(1)/obj/%.o,$$(filter-out %/main.c,$$(SERVICE_SRC)))
$(1)/lib/libtraining.a: $$(patsubst %.c,$(1)/obj/%.o,$$(filter-out %/main.c,$$(TRAIN_SRC)))
$(1)/lib/lib%.a:
	@mkdir -p $$(@D)
	rm -f $$@ && ar rcs $$@ $$^

$(1)/bin/deephash-encoder: $$(SERVICE_SRC:%.c=$(1)/obj/%.o) $(1)/lib/libdeephash.a
$(1)/bin/deephash-train: $$(TRAIN_SRC:%.c=$(1)/obj/%.o) $(1)/lib/libdeephash.a
$(1)/bin/make-fixtures: $(1)/obj/test/tools/make_fixtures.o $(1)/lib/libdeephash.a
$(1)/bin/deephash-train $(1)/unit/%: LIBLIBS += $(TRAINLIBS)
$(1)/bin/%:
	@mkdir -p $$(@D)
	$$(LIBCC) $$(LIBFLAGS) $(2) -o $$@ $$^ $$(LIBLIBS)

$(1)/unit/%: $(1)/obj/test/unit/%.o $(1)/lib/libtraining.a $(1)/lib/libservice.a $(1)/lib/libdeephash.a
	@mkdir -p $$(@D)
	$$(LIBCC) $$(LIBFLAGS) $(2) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) -lcmocka $$(LIBLIBS)

# The CUDA device compiled for the host (gpu/machine.h), for its tests.
$(1)/obj/gpu/host/%.o: gpu/%.cu
	@mkdir -p $$(@D)
	$$(CXX) $$(GPU_HOST_FLAGS) $(2) -c -o $$@ $$<
$(1)/obj/test/unit/gpu_host.o: test/unit/gpu_host.cc
	@mkdir -p $$(@D)
	$$(CXX) $$(GPU_HOST_FLAGS) $(2) -c -o $$@ $$<
$(1)/unit/test_gpu_ops $(1)/unit/test_gpu_plan: $(1)/obj/test/unit/gpu_host.o
$(1)/unit/test_gpu_learner $(1)/unit/test_gpu_serving: $$(GPU_SRC:gpu/%.cu=$(1)/obj/gpu/host/%.o)
$(1)/unit/test_gpu_serving: $(1)/obj/test/unit/gpu_host.o
$(1)/unit/test_gpu_learner $(1)/unit/test_gpu_serving: $$(PARITY_SRC:%.c=$(1)/obj/%.o)
-include $(1)/obj/test/unit/gpu_host.d $$(GPU_SRC:gpu/%.cu=$(1)/obj/gpu/host/%.d)

-include $$(patsubst %.c,$(1)/obj/%.d,$$(LIB_SRC) $$(SERVICE_SRC) $$(TRAIN_SRC) $$(UNIT_SRC))
endef
$(eval $(call compiled_below,$(B),))
$(eval $(call compiled_below,$(B)/asan,$(SANITIZE)))
.SECONDARY:

# ------------------------------------------------------------------ CUDA plug-in
# The plug-in is opened with its names to itself, so it brings what it needs of nn.
GPU_NN_OBJ = $(addprefix $(B)/obj/src/nn/,graph.o graph_build.o shape.o shape_rules.o plan.o tolerance.o)

# The same plug-in for a machine without a GPU, to test the service with it
# (test/t/106_stages.pl): an engine that has it beside it; and gpu/check, training too.
HOST_ENGINE = $(B)/host-engine/deephash-encoder $(B)/host-engine/deephash-cuda.so
$(B)/host-engine/deephash-%: $(B)/bin/deephash-%
	@mkdir -p $(@D)
	cp $< $@
$(B)/host-engine/deephash-cuda.so: $(GPU_SRC:gpu/%.cu=$(B)/obj/gpu/host/%.o) $(GPU_NN_OBJ)
	@mkdir -p $(@D)
	$(CXX) -shared -Wl,--no-undefined -o $@ $^ -lm -ldl

NVCC ?= $(shell command -v nvcc 2>/dev/null || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
ifneq ($(NVCC),)
gpu-plugin: $(if $(GPU_SRC),$(B)/lib/deephash-cuda.so)
# Intermediate code of the oldest supported GPU, which drivers compile for any
# later one, and machine code for the most usual of today.
NVCC_ARCH ?= -gencode arch=compute_75,code=compute_75 -gencode arch=compute_90,code=sm_90
NVCC_FLAGS = -O3 -std=c++17 $(NVCC_ARCH) --extended-lambda -Xcompiler -fPIC,-Wall,-Wextra -Isrc -I.
CUBLAS_PATH = -Xlinker -rpath,$(abspath $(dir $(realpath $(NVCC)))../lib64)
GPU_OBJ = $(GPU_SRC:%.cu=$(B)/obj/%.o)
$(GPU_OBJ): $(B)/obj/%.o: %.cu $(wildcard gpu/*.h src/nn/*.h)
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -c -o $@ $<
$(B)/lib/deephash-cuda.so: $(GPU_OBJ) $(GPU_NN_OBJ)
	@mkdir -p $(@D)
	$(NVCC) -shared -Xlinker --no-undefined -o $@ $^ -lcublasLt -lcublas -ldl $(CUBLAS_PATH)

$(B)/bench/peak: bench/engine/peak.cu
	@mkdir -p $(@D)
	$(NVCC) -O3 -std=c++17 $(NVCC_ARCH) -Xcompiler -Wall,-Wextra -o $@ $< -lcublas $(CUBLAS_PATH)
else
gpu-plugin:
	@echo "no CUDA compiler found: building without the GPU device"
endif

# For gpu/check: whether the plug-in computes what the CPU computes.
$(B)/gpu-parity: $(patsubst %.c,$(B)/obj/%.o,$(wildcard gpu/parity/*.c)) $(B)/lib/libtraining.a $(B)/lib/libdeephash.a
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS) $(TRAINLIBS)
-include $(patsubst %.c,$(B)/obj/%.d,$(wildcard gpu/parity/*.c))

# ---------------------------------------------------------------------- installing
# The engine goes beside the server's module, because that is where the
# supervisor looks for it.
ifneq ($(PGXS),)
.PHONY: install-programs uninstall-programs
install: install-programs
RECIPES_DIR = $(abspath $(bindir)/../share/deephash/recipes)
install-programs: programs
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)' '$(DESTDIR)$(bindir)'
	$(if $(SERVICE_SRC),$(INSTALL_PROGRAM) $(B)/bin/deephash-encoder '$(DESTDIR)$(pkglibdir)/deephash-encoder')
	$(if $(TRAIN_SRC),$(INSTALL_PROGRAM) $(B)/bin/deephash-train '$(DESTDIR)$(bindir)/deephash-train')
	$(MKDIR_P) '$(DESTDIR)$(RECIPES_DIR)'
	$(INSTALL_DATA) $(RECIPES) '$(DESTDIR)$(RECIPES_DIR)'
	if [ -f $(B)/lib/deephash-cuda.so ]; then $(INSTALL_SHLIB) $(B)/lib/deephash-cuda.so '$(DESTDIR)$(pkglibdir)/deephash-cuda.so'; fi

uninstall: uninstall-programs
uninstall-programs:
	rm -f '$(DESTDIR)$(pkglibdir)/deephash-encoder' '$(DESTDIR)$(bindir)/deephash-train' \
		'$(DESTDIR)$(pkglibdir)/deephash-cuda.so'
	rm -f $(RECIPES:training/recipes/%='$(DESTDIR)$(RECIPES_DIR)/%')

# A copy of the server's installation with deephash installed into it, so that
# nothing of the system is touched by tests and the quick start.
.PHONY: tree
tree: all
	test/private-tree.sh $(B)/tree
	$(MAKE) --no-print-directory install DESTDIR=$(abspath $(B)/tree) >/dev/null
endif

.PHONY: deps
deps:
	@test/deps.sh

# -------------------------------------------------------------------------- tests
# `make check` (in Makefile) runs all of them through test/run; these run some.
UNIT_BIN = $(UNIT_SRC:test/unit/%.c=$(B)/unit/%)
ASAN_BIN = $(UNIT_SRC:test/unit/%.c=$(B)/asan/unit/%)

.PHONY: check-build unit sanitize regress isolation property tap
check-build: tree fixtures $(HOST_ENGINE) $(UNIT_BIN) $(ASAN_BIN) $(B)/asan/bin/deephash-encoder

# Models and images for the tests of the encoder.
.PHONY: fixtures
fixtures: $(B)/fixtures/made
$(B)/fixtures/made: $(B)/bin/make-fixtures
	@mkdir -p $(@D)
	$< $(@D)
	@touch $@

# TESTS="a b" runs only test_a and test_b (unit), sql/a.sql and sql/b.sql
# (regress), or test/t/a and test/t/b (tap).
unit: $(UNIT_BIN)
	@test/run unit
sanitize: $(ASAN_BIN)
	@test/run sanitize
regress: tree fixtures
	@test/run regress
isolation: tree
	@test/run isolation
property: tree
	@test/run property
tap: tree fixtures $(HOST_ENGINE)
	@test/run tap
# KILLS=N, SEED=N: the server dies so often under load (test/t/010_crash.pl).
.PHONY: crash
crash: tree
	@DEEPHASH_KILLS=$(or $(KILLS),100) $(if $(SEED),DEEPHASH_SEED=$(SEED)) DEEPHASH_TIMEOUT=36000 TESTS=010_crash test/run tap; \
	status=$$?; grep '^# [0-9]' build/log/tap_010_crash.log; exit $$status

# -------------------------------------------------------------------- quick start
.PHONY: quickstart quickstart-clean
quickstart:
	@doc/quickstart/quickstart.sh
quickstart-clean:
	@doc/quickstart/clean.sh

# --------------------------------------------------------- benchmarks and fuzzing
$(B)/bench/%: bench/%.c $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS)

# IMAGES=FOLDER takes the JPEGs below it instead of a generated picture.
.PHONY: bench-decode
bench-decode: $(B)/bench/decode
	@$(B)/bench/decode "$(IMAGES)"

# DEVICE, THREADS, SECONDS_EACH and ROUNDS as in the script.
.PHONY: bench-engine
bench-engine: $(B)/bench/engine $(if $(filter cuda,$(DEVICE)),$(B)/bench/peak gpu-plugin)
	@bench/engine.sh
$(B)/bench/engine: bench/engine.c $(B)/lib/libtraining.a $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS) $(TRAINLIBS)

# ROUNDS, SECONDS_EACH, DEVICE and so on as in the script; QUICK=1 for a minute's run.
.PHONY: bench-encode
bench-encode: tree $(B)/bench/encode
	@bench/encode.sh $(if $(QUICK),--quick)
$(B)/bench/encode: bench/encode.c $(B)/lib/libtraining.a $(B)/lib/libservice.a $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS) $(TRAINLIBS)

# ROWS=N rows; SETS and QUERIES as in the script.
.PHONY: bench-search
bench-search: tree $(B)/bench/search
	@ROWS="$(ROWS)" bench/search.sh

# Then run build/fuzz/fuzz_NAME [CORPUS]; needs clang with libFuzzer.
FUZZ_CC ?= clang
.PHONY: fuzz
fuzz: $(patsubst test/%.c,$(B)/%,$(wildcard test/fuzz/fuzz_*.c))
$(B)/fuzz/fuzz_recipe $(B)/fuzz/fuzz_import: $(filter-out %/main.c,$(TRAIN_SRC))
$(B)/fuzz/fuzz_recipe $(B)/fuzz/fuzz_import: LIBLIBS += $(TRAINLIBS)
$(B)/fuzz/%: test/fuzz/%.c $(LIB_SRC)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(filter-out -MMD -MP,$(LIBFLAGS)) $(SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LIBLIBS)
