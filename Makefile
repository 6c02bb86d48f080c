# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The one Makefile. Everything generated is below $(BUILD); nothing else is ever written to.
#
#   make                 the program, build/wg-xdp
#   make deps            installs the packages that are missing (Debian, Ubuntu)
#   make test            builds and runs every test; TESTS="unit/test_replay bpf" runs those
#   make test-kernels    against the kernel's own WireGuard, in emulated machines; KERNELS="6.1 6.12"
#   make demo            two namespaces, a tunnel, traffic
#   make SAN=address,undefined ...  or SAN=thread: the same with sanitizers, in a build directory of its own
#   make V=1             shows commands;  CC=clang: another compiler

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin AR),default)
AR := ar
endif
CLANG ?= clang
LLVM_STRIP ?= llvm-strip
# Ubuntu's bpftool is a wrapper that wants the running kernel's own package; any real one will do.
BPFTOOL ?= $(shell for b in bpftool /usr/sbin/bpftool /usr/lib/linux-tools-*/bpftool; do \
	     $$b version >/dev/null 2>&1 && echo $$b && break; done)

SAN ?=
FUZZ_SECONDS ?= 60
TESTS ?=
comma := ,
san_word = $(if $(findstring fuzzer,$(SAN)),fuzz,$(if $(findstring thread,$(SAN)),tsan,asan))
BUILD ?= build$(if $(SAN),-$(san_word))

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

# ------ Flags ------

WARNINGS := -Wall -Wextra -Werror
CFLAGS ?= -O2 -g
ifeq ($(SAN),)
HARDEN := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LD_HARDEN := -pie -Wl,-z,relro,-z,now
else
HARDEN := -fno-omit-frame-pointer -fsanitize=$(SAN) $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
# Instrumented code makes GCC see truncations and uninitialised variables that are not there.
WARNINGS := -Wall -Wextra $(if $(findstring clang,$(CC)),,-Wno-format-truncation -Wno-maybe-uninitialized)
LD_HARDEN := -pie -fsanitize=$(subst fuzzer-no-link$(comma),,$(SAN))
endif
ALL_CPPFLAGS = -Iinclude -Iuser -Itests/unit -I$(BUILD)/bpf -DWG_XDP_VERSION='"$(VERSION)"' -MMD -MP $(CPPFLAGS)
ALL_CFLAGS = -std=gnu17 $(CFLAGS) $(WARNINGS) -fPIE -pthread $(HARDEN)
ALL_LDFLAGS = $(LD_HARDEN) -pthread $(LDFLAGS)

# libipsec-mb is packaged for x86-64 only; the source asks with __has_include. Looked up late: `make deps` may bring it.
ipsec_mb = $(shell printf '\043include <intel-ipsec-mb.h>\n' | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && \
	     echo -lIPSec_MB)
LIBS = -lxdp -lbpf -lelf -lz -lsodium -lnl-route-3 -lnl-3 -lurcu-qsbr -lcap-ng -lseccomp $(ipsec_mb)
TEST_LIBS = -lcmocka -ljson-c
NL_CPPFLAGS := -I/usr/include/libnl3

# What runs per packet.
data_path := aead aead_ipsecmb aead_sodium allowedips checksum gso inner receive replay send tun udp_rx udp_sock udp_tx

# ------ Sources ------

user_src := $(sort $(wildcard user/*.c user/crypto/*.c))
tool_src := $(wildcard tools/wg-xdp/*.c)
bpf_src := $(wildcard bpf/*.bpf.c)
unit_src := $(wildcard tests/unit/test_*.c)
bpf_test_src := $(wildcard tests/bpf/test_*.c)
sim_src := $(wildcard tests/sim/test_*.c)
sim_lib_src := $(filter-out $(sim_src),$(wildcard tests/sim/*.c))
netns_src := $(wildcard tests/netns/*.c)
kernels_src := $(wildcard tests/kernels/*.c)
bench_src := $(wildcard tests/bench/*.c)
bench_scripts := $(filter-out %/lib.sh,$(wildcard tests/bench/*.sh))
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
lib := $(BUILD)/libwgxdp.a
# What tests may use besides: the subcommands; a simulation, all other sources beside it.
tool_lib := $(if $(tool_src),$(BUILD)/libtools.a)
sim_lib := $(if $(sim_lib_src),$(BUILD)/tests/sim/libsim.a)
test_libs := $(tool_lib) $(lib)
skeletons := $(patsubst bpf/%.bpf.c,$(BUILD)/bpf/%.skel.h,$(bpf_src))
unit_bin := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(unit_src))
bpf_test_bin := $(patsubst tests/bpf/%.c,$(BUILD)/tests/bpf/%,$(bpf_test_src))
sim_bin := $(patsubst tests/sim/%.c,$(BUILD)/tests/sim/%,$(sim_src))
netns_bin := $(patsubst tests/netns/%.c,$(BUILD)/tests/netns/%,$(netns_src))
kernels_bin := $(patsubst tests/kernels/%.c,$(BUILD)/tests/kernels/%,$(kernels_src))
bench_bin := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(bench_src))
fuzz_bin := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(fuzz_src))
test_bin := $(unit_bin) $(bpf_test_bin) $(sim_bin) $(netns_bin)
program := $(if $(tool_src),$(BUILD)/wg-xdp)

.PHONY: all deps test tests test-kernels kernels-programs demo bench asan tsan fuzz fuzz-programs install uninstall \
	clean lint layering

all: $(program) $(lib) $(skeletons)

# ------ BPF: object, then skeleton ------

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(say) BPF $<
	$(Q)$(CLANG) -std=gnu17 -O2 -g -target bpf -mcpu=v2 -Wall -Wextra -Werror -Ivmlinux -Iinclude -Ibpf \
		-MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(say) SKEL $@
	$(Q)$(if $(BPFTOOL),,echo "no working bpftool: run 'make deps'" >&2; exit 1;) \
		$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@

# ------ Library and program ------

$(BUILD)/obj/%.o: %.c | $(skeletons)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(NL_CPPFLAGS) $(ALL_CFLAGS) \
		$(if $(filter $(notdir $*),$(data_path)),$(if $(SAN),,-O3)) -c $< -o $@

$(lib): $(call obj,$(user_src))

$(BUILD)/wg-xdp: $(call obj,$(tool_src)) $(lib)
	$(say) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

$(BUILD)/libtools.a: $(filter-out %/main.o,$(call obj,$(tool_src)))
$(BUILD)/tests/sim/libsim.a: $(call obj,$(sim_lib_src))
$(lib) $(tool_lib) $(sim_lib):
	@mkdir -p $(@D)
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# ------ Tests: one source, one program; the source includes the .c it tests, the rest comes from the libraries ------

link_test = $(CC) $(ALL_CPPFLAGS) $(NL_CPPFLAGS) -MF $@.d -MT $@ $(ALL_CFLAGS) $(ALL_LDFLAGS) $(1) \
	-o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS) $(TEST_LIBS)

$(BUILD)/tests/%: tests/unit/%.c $(test_libs) | $(skeletons)
	@mkdir -p $(@D)
	$(say) TEST $<
	$(Q)$(call link_test)

$(BUILD)/tests/bpf/%: tests/bpf/%.c $(test_libs) $(skeletons)
	@mkdir -p $(@D)
	$(say) TEST $<
	$(Q)$(call link_test)

$(BUILD)/tests/sim/%: tests/sim/%.c $(sim_lib) $(test_libs) | $(skeletons)
	@mkdir -p $(@D)
	$(say) TEST $<
	$(Q)$(call link_test,-Itests/sim)

$(BUILD)/tests/netns/%: tests/netns/%.c $(test_libs) | $(skeletons)
	@mkdir -p $(@D)
	$(say) TEST $<
	$(Q)$(call link_test)

$(BUILD)/tests/kernels/%: tests/kernels/%.c $(lib) | $(skeletons)
	@mkdir -p $(@D)
	$(say) TEST $<
	$(Q)$(call link_test)

$(BUILD)/bench/%: tests/bench/%.c $(test_libs) | $(skeletons)
	@mkdir -p $(@D)
	$(say) BENCH $<
	$(Q)$(call link_test)

$(BUILD)/fuzz/%: tests/fuzz/%.c $(test_libs) | $(skeletons)
	@mkdir -p $(@D)
	$(say) FUZZ $<
	$(Q)$(call link_test,-fsanitize=fuzzer)

tests: $(test_bin)

deps:
	@tools/deps.sh

# The packages come first, so the rest is a second make: it must look at the machine afresh.
test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD) all tests
	@BUILD=$(BUILD) tests/run.sh $(TESTS)

test-kernels:
	@tools/deps.sh build test kernels
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD) all kernels-programs
	@BUILD=$(BUILD) tests/kernels/run.sh $(KERNELS)

kernels-programs: $(unit_bin) $(bpf_test_bin) $(kernels_bin)

demo: deps
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD) all
	@BUILD=$(BUILD) tools/demo.sh

bench: all $(bench_bin)
	@for b in $(bench_bin) $(bench_scripts); do echo "== $$b"; BUILD=$(abspath $(BUILD)) $$b; done

asan:
	@$(MAKE) --no-print-directory SAN=address,undefined test TESTS="$(or $(TESTS),unit bpf sim netns)"

# Those tests that start threads, and the whole agent in turmoil.
threaded = $(patsubst tests/%.c,%,$(shell grep -ls pthread_create $(unit_src) $(sim_src)))
tsan:
	@$(MAKE) --no-print-directory SAN=thread test TESTS="$(or $(TESTS),$(threaded) netns/churn)"

fuzz-programs: $(fuzz_bin)

fuzz:
	@$(MAKE) --no-print-directory -j$$(nproc) CC=$(CLANG) SAN=fuzzer-no-link,address,undefined fuzz-programs
	@BUILD=build-fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh fuzz

lint: $(skeletons)
	@BUILD=$(BUILD) CLANG=$(CLANG) tools/lint.sh

layering:
	@awk -f tools/layering.awk $(wildcard user/*.[ch] user/crypto/*.[ch] include/*.h)

install: all
	install -D -m 0755 $(BUILD)/wg-xdp $(DESTDIR)$(PREFIX)/bin/wg-xdp

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/wg-xdp

clean:
	rm -rf build build-asan build-tsan build-fuzz build-lint-gcc build-lint-clang

-include $(shell [ -d $(BUILD) ] && find $(BUILD) -name '*.d')
