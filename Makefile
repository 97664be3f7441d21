# deephash: `make` builds all, `make deps` installs what that needs,
# `make quickstart` shows the main job, `make check` runs every test.
#
# Sources are found by folder, so adding a file needs no edit here.  Three
# kinds of product:
#   deephash.so        the extension (PGXS): hamming, hashcode, mih, model, encoder
#   build/bin/*        deephash-encoder (the engine) and deephash-train
#   build/lib/deephash-cuda.so   the CUDA device, where nvcc is found
#
# PG_CONFIG=... chooses the PostgreSQL, CC and LIBCC the compilers of the
# extension and of the programs, DESTDIR=... a packager's staging folder.

# PGXS owns the name `check` (to say that it does nothing), so a call that asks
# for it stays outside of PGXS and calls make again for all it needs.
ifneq ($(filter check,$(MAKECMDGOALS)),)

.PHONY: $(MAKECMDGOALS)
OTHER_GOALS = $(filter-out check,$(MAKECMDGOALS))
JOBS = -j$(or $(DEEPHASH_JOBS),$(shell nproc))
check: $(OTHER_GOALS)
	@$(MAKE) --no-print-directory -s $(if $(filter --jobserver%,$(MAKEFLAGS)),,$(JOBS)) check-build
	@test/run
$(OTHER_GOALS):
	@$(MAKE) --no-print-directory $@

else

EXTENSION = deephash
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" deephash.control)

PG_CONFIG ?= pg_config
export PG_CONFIG
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

# ---------------------------------------------------------------- the extension
EXT_DIRS = src src/hamming src/hashcode src/mih src/model src/encoder
MODULE_big = deephash
OBJS = $(patsubst %.c,%.o,$(wildcard $(addsuffix /*.c,$(EXT_DIRS))))

# Joined in this order; each part creates only what its folder owns.
SQL_PARTS = src/install/head.sql src/install/hashcode.sql src/install/mih.sql \
            src/install/model.sql src/install/encoder.sql
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

# `make installcheck` runs these against an installed server.
REGRESS = $(sort $(notdir $(basename $(wildcard sql/*.sql))))
REGRESS_OPTS = --load-extension=deephash

# Bitcode is left out because target attributes on the SIMD kernels do not
# survive it.  The server's headers count as system headers, so that -Wextra
# speaks of our code alone; what its calling conventions force on us is
# fcinfo arguments that a function does not use, and its own flags forbid
# declarations among statements, which C17 code has.
override with_llvm = no
PG_CPPFLAGS = -Isrc
PG_CFLAGS = -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Wno-declaration-after-statement \
            -isystem $(shell $(PG_CONFIG) --includedir-server) -MMD -MP
# The server's flags are those of the compiler that built it, gcc as a rule.
PG_CFLAGS += $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option -Wno-ignored-optimization-argument)
EXTRA_CLEAN = build $(DATA_built) $(OBJS:.o=.d)

all: programs

ifneq ($(PGXS),)
include $(PGXS)
else
# The programs need no PostgreSQL; everything else says what is missing.
NO_SERVER = echo "PostgreSQL's server headers are missing (asked $(PG_CONFIG)): run make deps" >&2
.PHONY: all clean install uninstall installcheck tree
all:
	@$(NO_SERVER); echo "built only the programs, in build/bin" >&2
clean:
	rm -rf $(EXTRA_CLEAN) $(OBJS) deephash.so
install uninstall installcheck tree:
	@$(NO_SERVER); exit 1
endif

$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS) deephash.control
	cat $(SQL_PARTS) > $@

-include $(wildcard $(OBJS:.o=.d))

include build.mk

endif
