# lastcall: `make` builds build/lastcall (static) and build/lastcall-agent; `make demo` and `make check` install what
# they lack with apt first. See README.md.

CC ?= gcc
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0
OPT ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror=implicit-function-declaration
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DLASTCALL_VERSION='"$(VERSION)"' -Iinclude $(OPT) $(WARN) \
	-fno-strict-aliasing -fstack-protector-strong $(CFLAGS)

B := build
LASTCALL_SOURCES := $(wildcard src/common/*.c src/config/*.c src/wire/*.c src/supervisor/*.c src/supervisor/*/*.c) \
	$(filter-out src/cli/main.c,$(wildcard src/cli/*.c))
AGENT_SOURCES := $(wildcard src/common/*.c src/wire/*.c src/agent/*/*.c) $(filter-out src/agent/main.c,$(wildcard src/agent/*.c))
LASTCALL_OBJECTS := $(LASTCALL_SOURCES:%.c=$(B)/obj/%.o)
AGENT_OBJECTS := $(AGENT_SOURCES:%.c=$(B)/obj/%.o)

# The agent's libraries come with pkg-config where they have a file for it (libev has none).
AGENT_PACKAGES := libpq hiredis libcares libmicrohttpd jansson
AGENT_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(AGENT_PACKAGES))
AGENT_LIBS = $(shell $(PKG_CONFIG) --libs $(AGENT_PACKAGES)) -lev
LASTCALL_LIBS := -lyaml -ljansson -lev -lm
CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check)

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
AGENT_UNIT_TESTS := $(patsubst tests/unit/agent/%.c,$(B)/tests/agent/%,$(wildcard tests/unit/agent/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
C_APPS := $(patsubst tests/apps/%.c,$(B)/apps/%,$(wildcard tests/apps/*.c))

.DELETE_ON_ERROR:
.PHONY: all clean setup demo check check-unit check-system check-stops fuzz apps tests install
all: $(B)/lastcall $(B)/lastcall-agent

$(B)/lastcall: $(B)/obj/src/cli/main.o $(B)/liblastcall.a
	$(CC) $(ALL_CFLAGS) -static $(LDFLAGS) -o $@ $^ $(LASTCALL_LIBS)
$(B)/lastcall-agent: $(B)/obj/src/agent/main.o $(B)/libagent.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(AGENT_LIBS)
$(B)/liblastcall.a: $(LASTCALL_OBJECTS)
	@rm -f $@ && ar rcs $@ $^
$(B)/libagent.a: $(AGENT_OBJECTS)
	@rm -f $@ && ar rcs $@ $^
$(B)/obj/src/agent/%.o: src/agent/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/agent/%: tests/unit/agent/%.c $(B)/libagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -MMD -MP -o $@ $< $(B)/libagent.a $(AGENT_LIBS) $(CHECK_LIBS)
$(B)/tests/%: tests/unit/%.c $(B)/liblastcall.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/liblastcall.a $(LASTCALL_LIBS) $(CHECK_LIBS)
$(B)/apps/%: tests/apps/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -o $@ $< $(shell $(PKG_CONFIG) --libs libpq hiredis) -lpthread
apps: $(C_APPS)
tests: $(UNIT_TESTS) $(AGENT_UNIT_TESTS) $(C_APPS)

setup:
	@tests/setup
clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
