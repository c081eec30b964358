# The front door. `make up` builds and runs a datacenter on this machine, `make test` checks everything.
# Both install by themselves what the machine lacks (Debian packages), and say so.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One target triple for everything: see .cargo/config.toml.
export CARGO_BUILD_TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET_DIR)/$(CARGO_BUILD_TARGET)/release/dcos
DEBUG = $(TARGET_DIR)/$(CARGO_BUILD_TARGET)/debug/dcos

# The kernel of the virtual machine in which cgroup v2 is tested; beside it, in modules/, those of its modules
# that images and container networks need, numbered in the order in which they are loaded.
KERNEL = $(TARGET_DIR)/guest/kernel/vmlinuz
KERNEL_MODULES = fs/overlayfs/overlay net/llc/llc net/802/stp net/bridge/bridge drivers/net/veth lib/libcrc32c \
  net/netfilter/nfnetlink net/netfilter/nf_tables net/ipv4/netfilter/nf_defrag_ipv4 \
  net/ipv6/netfilter/nf_defrag_ipv6 net/netfilter/nf_conntrack net/netfilter/nf_conntrack_netlink \
  net/netfilter/nf_nat net/netfilter/nft_ct net/netfilter/nft_chain_nat net/netfilter/nft_nat \
  net/netfilter/nft_masq

# What each goal needs beyond a Rust toolchain, as command=package.
TOOLS_BUILD = cc=gcc
# What the examples and the guide use; the datacenter itself needs nothing.
TOOLS_UP = busybox=busybox-static jq=jq curl=curl
TOOLS_TEST = useradd=passwd ip=iproute2 nft=nftables conntrack=conntrack busybox=busybox-static curl=curl setpriv=util-linux qemu-system-x86_64=qemu-system-x86 dpkg-deb=dpkg strip=binutils systemd-nspawn=systemd-container systemd-socket-activate=systemd dbus-daemon=dbus ps=procps tar=tar zip=zip bzip2=bzip2 xz=xz-utils zstd=zstd docker-registry=docker-registry skopeo=skopeo jq=jq git=git mke2fs=e2fsprogs mount=mount strace=strace
# apt, dpkg and git are what mkpanda asks for sources.
TOOLS_DIST = apt-get=apt dpkg-deb=dpkg git=git
TOOLS_BENCH = wrk=wrk busybox=busybox-static docker-registry=docker-registry skopeo=skopeo umoci=umoci runc=runc crun=crun tar=tar xz=xz-utils

.PHONY: help
help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

.PHONY: up
up: tools-up release ## build, then run a datacenter on this machine (ARGS="--agents 2" and so on)
	@exec $(RELEASE) up $(ARGS)

.PHONY: release
release: tools-build ## build the one program, ready to be copied anywhere
	@cargo build --release --locked --package dcos
	@ls -l --block-size=M $(RELEASE) | awk '{print $$9 " (" $$5 ")"}' >&2

.PHONY: path
path: release ## build, and print the folder with the program, for your PATH
	@echo $(abspath $(dir $(RELEASE)))

.PHONY: test
test: tools-build tools-test $(KERNEL) lint ## run all checks and tests
	@export DCOS_TEST_KERNEL=$(abspath $(KERNEL)); \
	if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --locked --workspace --no-fail-fast; \
	else \
	  echo "cargo-nextest is not installed: taking cargo test"; cargo test --locked --workspace --no-fail-fast; \
	fi

$(KERNEL):
	@mkdir -p $(@D) && cd $(@D) && echo "fetching Debian's cloud kernel for the cgroup v2 guest" && \
	{ apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || apt-get update -qq >/dev/null; } && \
	package=$$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1) && \
	{ apt-get download -qq "$$package" 2>/dev/null && dpkg-deb -x $$package*.deb . && rm $$package*.deb && \
	  mkdir -p modules && number=10 && for module in $(KERNEL_MODULES); do \
	    file=$$(ls lib/modules/*/kernel/$$module.ko 2>/dev/null) && mv $$file modules/$$number-$${module##*/}.ko; \
	    number=$$((number + 1)); \
	  done && mv boot/vmlinuz-* vmlinuz && rm -rf boot lib usr etc; } || \
	{ echo "no kernel to be had: the guest will be skipped"; touch vmlinuz.missing; }

.PHONY: lint
lint: tools-build ## formatting and clippy; the rules of the house are among the tests of xtask
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

# The recordings of the real Mesos, in files; and the program that is compared with them (the debug build
# without PROGRAM=...). Our answers are kept in the folder OURS=..., if that is said.
TRANSCRIPTS ?= ../shared/reference/mesos-transcripts
PROGRAM ?=
OURS ?=

.PHONY: conformance
conformance: tools-build ## compare our answers with recordings of Mesos (TRANSCRIPTS=folder PROGRAM=dcos)
	@program="$(PROGRAM)"; \
	if [ -z "$$program" ]; then \
	  cargo build --locked --quiet --package dcos && program=$(DEBUG); \
	fi; \
	cargo run --locked --quiet --package conformance -- "$$program" "$(TRANSCRIPTS)" docs/compat/mesos.md $(OURS)

.PHONY: bench
bench: release tools-bench ## measure, and print one table
	@DCOS=$(abspath $(RELEASE)) cargo run --release --locked --quiet --package bench -- $(ARGS)

# Coverage instrumentation without a sanitizer: it works with a stable compiler.
FUZZ_FLAGS = --cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
  -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
  -C codegen-units=1 -C debug-assertions
FUZZ_TARGETS = $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
SECONDS_EACH ?= 30

.PHONY: fuzz
fuzz: tools-build ## throw foreign bytes at every parser (SECONDS_EACH=30)
	@cd fuzz && for target in $(FUZZ_TARGETS); do \
	  mkdir -p corpus/$$target; echo "fuzzing $$target for $(SECONDS_EACH) s"; \
	  RUSTFLAGS="$(FUZZ_FLAGS)" cargo run --quiet --release --bin $$target -- \
	    -max_total_time=$(SECONDS_EACH) -print_final_stats=1 corpus/$$target 2>&1 | \
	    grep -E 'panicked|ERROR|stat::number_of_executed_units' ; \
	done

# The program alone is a folder, too: what the package of it is made of.
.PHONY: dist
dist: release tools-dist ## put the program into dist/, its packages and bootstrap into packages/cache (ARGS="--jobs 2")
	@mkdir -p dist/program && cp $(RELEASE) LICENSE dist/program/ && cp $(RELEASE) LICENSE README.md dist/ && \
	(cd dist && sha256sum dcos > dcos.sha256) && ls dist
	@cd packages && exec ../dist/dcos mkpanda tree --mkbootstrap $(ARGS)

.PHONY: tools-build tools-up tools-test tools-bench tools-dist
tools-build:
	@command -v cargo >/dev/null || { echo "a Rust toolchain (1.95 or newer) is needed: cargo is not on the PATH"; exit 1; }
	@$(call install,$(TOOLS_BUILD))
# Without them the datacenter runs all the same.
tools-up:
	-@$(call install,$(TOOLS_UP))
tools-test:
	@$(call install,$(TOOLS_TEST))
tools-bench:
	@$(call install,$(TOOLS_BENCH))
tools-dist:
	@$(call install,$(TOOLS_DIST))

# Installs the packages whose commands are missing; without root or apt it says what to install.
define install
missing=; for tool in $(1); do \
  PATH=$$PATH:/usr/sbin:/sbin command -v $${tool%%=*} >/dev/null || missing="$$missing $${tool#*=}"; \
done; \
if [ -n "$$missing" ]; then \
  if [ $$(id -u) = 0 ] && command -v apt-get >/dev/null; then \
    echo "installing Debian packages:$$missing"; \
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; } >/dev/null; \
  else \
    echo "please install:$$missing"; exit 1; \
  fi; \
fi
endef
