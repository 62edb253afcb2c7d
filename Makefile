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
C_APPS := $(patsubst tests/apps/%.c,$(B)/apps/%,$(wildcard tests/apps/*.c tests/apps/hold/*.c tests/apps/intake/*.c))

# `make V=1` shows the commands.
Q := $(if $(V),,@)

.DELETE_ON_ERROR:
.PHONY: all clean setup demo check check-unit check-system check-stops fuzz apps tests install
all: $(B)/lastcall $(B)/lastcall-agent

$(B)/lastcall: $(B)/obj/src/cli/main.o $(B)/liblastcall.a
	$(Q)$(CC) $(ALL_CFLAGS) -static $(LDFLAGS) -o $@ $^ $(LASTCALL_LIBS)
$(B)/lastcall-agent: $(B)/obj/src/agent/main.o $(B)/libagent.a
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(AGENT_LIBS)
$(B)/liblastcall.a: $(LASTCALL_OBJECTS)
	@rm -f $@ && ar rcs $@ $^
$(B)/libagent.a: $(AGENT_OBJECTS)
	@rm -f $@ && ar rcs $@ $^
$(B)/obj/src/agent/%.o: src/agent/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/agent/%: tests/unit/agent/%.c $(B)/libagent.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -MMD -MP -o $@ $< $(B)/libagent.a $(AGENT_LIBS) $(CHECK_LIBS)
$(B)/tests/%: tests/unit/%.c $(B)/liblastcall.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/liblastcall.a $(LASTCALL_LIBS) $(CHECK_LIBS)
$(B)/apps/%: tests/apps/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -MMD -MP -o $@ $< $(shell $(PKG_CONFIG) --libs libpq hiredis) -lpthread
$(B)/hands/%: tests/hands/%.c $(B)/liblastcall.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/liblastcall.a $(LASTCALL_LIBS)
apps: $(C_APPS) $(B)/hands/adopt
tests: $(UNIT_TESTS) $(AGENT_UNIT_TESTS) apps

setup:
	@tests/setup
clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# -- the test house: tests/README.md says what each does ---------------------------------------------------------------
# Each begins with setup, then calls make again: what setup installs (pkg-config, headers) is asked for after that.
demo: setup
	@$(MAKE) -s all apps
	@tests/demo
check: setup
	@tests/run_check
check-unit: setup
	@tests/run_check --only build --only unit
check-system: setup
	@tests/run_check --only build --only system
STOPS ?= 20
STOPS_NEED := tini:command=tini openjdk-17-jdk-headless:command=javac libpostgresql-jdbc-java:file=/usr/share/java/postgresql.jar \
	golang-go:command=go golang-github-jackc-pgx-v4-dev:file=/usr/share/gocode/src/github.com/jackc/pgx/v4/conn.go
check-stops:
	@tests/setup $(STOPS_NEED)
	@$(MAKE) -s all apps
	@tests/check_stops.py --stops $(STOPS) $(if $(FRESH),--fresh) $(if $(ONLY),--only '$(ONLY)')

MIX ?= 500
.PHONY: check-mix
check-mix:
	@tests/setup $(STOPS_NEED)
	@$(MAKE) -s all apps
	@tests/check_mix.py --stops $(MIX) $(if $(FRESH),--fresh)

ADOPTIONS ?= 10000
.PHONY: check-hands
check-hands:
	@tests/setup $(STOPS_NEED)
	@$(MAKE) -s all apps
	@tests/check_hands.py --adoptions $(ADOPTIONS) $(if $(FRESH),--fresh) $(if $(ONLY),--only '$(ONLY)')

# What differs between processors, compiled for the other one that we know. Nothing is linked, so no library is needed.
CROSS ?= aarch64-linux-gnu-gcc
CROSS_SOURCES := $(wildcard src/common/*.c src/supervisor/app/*.c src/supervisor/handles/*.c)
CROSS_OBJECTS := $(CROSS_SOURCES:%.c=$(B)/obj-cross/%.o)
$(B)/obj-cross/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CROSS) $(ALL_CFLAGS) -Werror -MMD -MP -c -o $@ $<
.PHONY: check-aarch64 check-aarch64-all
check-aarch64:
	@tests/setup gcc-aarch64-linux-gnu:command=$(CROSS) libc6-dev-arm64-cross:file=/usr/aarch64-linux-gnu/include/stdio.h
	@$(MAKE) -s check-aarch64-all
check-aarch64-all: $(CROSS_OBJECTS)
	@echo "aarch64: $(words $(CROSS_OBJECTS)) files compiled"

# Parsers under sanitizers. `fuzz-replay` (part of check) runs the kept corpus by a plain main; `make fuzz` looks for more.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_SECONDS ?= 60
FUZZED_SOURCES = $(sort $(LASTCALL_SOURCES) $(AGENT_SOURCES))
LIBFUZZERS := $(FUZZERS:$(B)/fuzz/%=$(B)/libfuzzer/%)
.PHONY: fuzz-replay
fuzz-replay: $(FUZZERS)
$(B)/obj-replay/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(AGENT_CFLAGS) -O1 $(SANITIZE) -MMD -MP -c -o $@ $<
$(B)/obj-libfuzzer/%.o: %.c
	@mkdir -p $(@D)
	clang $(ALL_CFLAGS) $(AGENT_CFLAGS) -O1 $(SANITIZE) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(B)/libreplay.a: $(FUZZED_SOURCES:%.c=$(B)/obj-replay/%.o)
	@rm -f $@ && ar rcs $@ $^
$(B)/liblibfuzzer.a: $(FUZZED_SOURCES:%.c=$(B)/obj-libfuzzer/%.o)
	@rm -f $@ && ar rcs $@ $^
$(B)/fuzz/%: $(B)/obj-replay/tests/fuzz/%.o $(B)/obj-replay/tests/fuzz/replay.o $(B)/libreplay.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SANITIZE) -o $@ $^ $(LASTCALL_LIBS) $(AGENT_LIBS)
$(B)/libfuzzer/%: $(B)/obj-libfuzzer/tests/fuzz/%.o $(B)/liblibfuzzer.a
	@mkdir -p $(@D)
	clang $(ALL_CFLAGS) $(SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LASTCALL_LIBS) $(AGENT_LIBS)
.SECONDARY: $(FUZZERS:$(B)/fuzz/%=$(B)/obj-replay/tests/fuzz/%.o) $(FUZZERS:$(B)/fuzz/%=$(B)/obj-libfuzzer/tests/fuzz/%.o)
fuzz:
	@tests/setup clang:command=clang
	@$(MAKE) -s fuzz-all
.PHONY: fuzz-all
fuzz-all: $(LIBFUZZERS)
	@tests/fuzz/run $(FUZZ_SECONDS) $(LIBFUZZERS)

PREFIX ?= /usr/local
MANUALS = $(wildcard src/*/*.[1-8] src/*.[1-8])
UNITS = $(wildcard systemd/*.service)
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/lastcall $(B)/lastcall-agent $(DESTDIR)$(PREFIX)/bin/
	$(foreach page,$(MANUALS),install -D -m 644 $(page) $(DESTDIR)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page)) &&) true
	$(foreach unit,$(UNITS),install -D -m 644 $(unit) $(DESTDIR)$(PREFIX)/lib/systemd/system/$(notdir $(unit)) &&) true
