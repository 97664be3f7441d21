# What does not belong to PostgreSQL: the plain C libraries, the programs on
# them, the CUDA plug-in, unit tests, and the targets a person types.

B = build
LIBCC = $(CC)
LIBFLAGS = -std=gnu17 -O2 -g -fPIC -Wall -Wextra -Isrc -I. -pthread -D_GNU_SOURCE
LIBLIBS = -lopenblas -ljpeg -ljansson -lm -ldl -pthread

LIB_DIRS = src/hamming src/image src/nn
LIB_SRC = $(wildcard $(addsuffix /*.c,$(LIB_DIRS)))
SERVICE_SRC = $(wildcard src/service/*.c)
TRAIN_SRC = $(wildcard training/*.c training/*/*.c)

LIB_OBJ = $(LIB_SRC:%.c=$(B)/obj/%.o)
SERVICE_OBJ = $(SERVICE_SRC:%.c=$(B)/obj/%.o)
TRAIN_OBJ = $(TRAIN_SRC:%.c=$(B)/obj/%.o)

.PHONY: programs gpu-plugin
programs: $(if $(SERVICE_SRC),$(B)/bin/deephash-encoder) $(if $(TRAIN_SRC),$(B)/bin/deephash-train) gpu-plugin

$(B)/obj/%.o: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -c -o $@ $<

$(B)/lib/libdeephash.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(B)/bin/deephash-encoder: $(SERVICE_OBJ) $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS)

$(B)/bin/deephash-train: $(TRAIN_OBJ) $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ $(LIBLIBS)

# ------------------------------------------------------------------ CUDA plug-in
NVCC ?= $(shell command -v nvcc 2>/dev/null || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
GPU_SRC = $(wildcard gpu/*.cu)
ifneq ($(NVCC),)
gpu-plugin: $(if $(GPU_SRC),$(B)/lib/deephash-cuda.so)
$(B)/lib/deephash-cuda.so: $(GPU_SRC) $(wildcard gpu/*.h gpu/*.cuh src/nn/*.h)
	@mkdir -p $(@D)
	$(NVCC) -O3 -std=c++17 -Xcompiler -fPIC,-Wall,-Wextra -Isrc -I. -shared -o $@ $(GPU_SRC) -lcublas -lcudart
else
gpu-plugin:
	@echo "no CUDA compiler found: building without the GPU device"
endif

# ---------------------------------------------------------------------- installing
# Beside the server's module, because that is where the supervisor looks.
install: install-programs
install-programs: programs
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)' '$(DESTDIR)$(bindir)'
	$(if $(SERVICE_SRC),$(INSTALL_PROGRAM) $(B)/bin/deephash-encoder '$(DESTDIR)$(pkglibdir)/deephash-encoder')
	$(if $(TRAIN_SRC),$(INSTALL_PROGRAM) $(B)/bin/deephash-train '$(DESTDIR)$(bindir)/deephash-train')
	if [ -f $(B)/lib/deephash-cuda.so ]; then $(INSTALL_SHLIB) $(B)/lib/deephash-cuda.so '$(DESTDIR)$(pkglibdir)/deephash-cuda.so'; fi

.PHONY: deps
deps:
	test/deps.sh

# A copy of the server's installation with deephash installed into it, so that
# nothing of the system is touched by tests and the quick start.
.PHONY: tree
tree: all
	test/private-tree.sh $(B)/tree
	$(MAKE) --no-print-directory install DESTDIR=$(abspath $(B)/tree) >/dev/null

# -------------------------------------------------------------------------- tests
UNIT_SRC = $(wildcard test/unit/test_*.c)
UNIT_BIN = $(UNIT_SRC:test/unit/%.c=$(B)/unit/%)
TRAIN_LIB_OBJ = $(filter-out $(B)/obj/training/main.o,$(TRAIN_OBJ))

$(B)/lib/libtraining.a: $(TRAIN_LIB_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(B)/unit/%: test/unit/%.c $(if $(TRAIN_LIB_OBJ),$(B)/lib/libtraining.a) $(B)/lib/libdeephash.a
	@mkdir -p $(@D)
	$(LIBCC) $(LIBFLAGS) -o $@ $^ -lcmocka $(LIBLIBS)

.PHONY: unit
unit: $(UNIT_BIN)
	@for t in $(UNIT_BIN); do $$t || exit 1; done

# pg_regress beside a private server; a test file needs no CREATE EXTENSION.
# TESTS="a b" runs only sql/a.sql and sql/b.sql.
TESTS = $(sort $(notdir $(basename $(wildcard sql/*.sql))))
.PHONY: regress
regress: tree
	test/with-cluster.sh $(B)/regress-cluster test/regress.sh $(TESTS)
