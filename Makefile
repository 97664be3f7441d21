# deephash: `make` builds all, `make deps` installs what that needs,
# `make quickstart` shows the main job, `make check` runs every test.
#
# Sources are found by folder, so adding a file needs no edit here.  Three
# kinds of product:
#   deephash.so        the extension (PGXS): hamming, hashcode, mih, model, encoder
#   build/bin/*        deephash-encoder (the engine) and deephash-train
#   build/lib/deephash-cuda.so   the CUDA device, where nvcc is found

EXTENSION = deephash
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" deephash.control)

PG_CONFIG ?= pg_config
HAVE_PG := $(shell command -v $(PG_CONFIG) 2>/dev/null)

# ---------------------------------------------------------------- the extension
EXT_DIRS = src src/hamming src/hashcode src/mih src/model src/encoder
MODULE_big = deephash
OBJS = $(patsubst %.c,%.o,$(wildcard $(addsuffix /*.c,$(EXT_DIRS))))

# Joined in this order; each part creates only what its folder owns.
SQL_PARTS = src/install/head.sql src/install/hashcode.sql src/install/mih.sql \
            src/install/model.sql src/install/encoder.sql
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

# The server's own flags come first; bitcode is left out because target
# attributes on the SIMD kernels do not survive it.
override with_llvm = no
PG_CPPFLAGS = -Isrc
PG_CFLAGS = -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
            -Wno-missing-field-initializers -Wno-declaration-after-statement
EXTRA_CLEAN = build $(DATA_built)

all: programs

ifneq ($(HAVE_PG),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
endif

$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS) deephash.control
	cat $(SQL_PARTS) > $@

# Every object is rebuilt when a header of the tree changes; the tree is small.
HEADERS = $(wildcard src/*.h src/*/*.h training/*.h training/*/*.h gpu/*.h)
$(OBJS): $(HEADERS)

include build.mk
