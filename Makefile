# The front door. `make up` builds and runs a datacenter on this machine, `make test` checks everything.
# Both install by themselves what the machine lacks (Debian packages), and say so.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One target triple for everything: see .cargo/config.toml.
export CARGO_BUILD_TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET_DIR)/$(CARGO_BUILD_TARGET)/release/dcos

# What each goal needs beyond a Rust toolchain, as command=package.
TOOLS_BUILD = cc=gcc
TOOLS_TEST = ip=iproute2 busybox=busybox-static python3=python3-minimal
TOOLS_BENCH = wrk=wrk

.PHONY: help
help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

.PHONY: up
up: release ## build, then run a datacenter on this machine (ARGS="--agents 2" and so on)
	@exec $(RELEASE) up $(ARGS)

.PHONY: release
release: tools-build ## build the one program, ready to be copied anywhere
	@cargo build --release --locked --package dcos
	@ls -l --block-size=M $(RELEASE) | awk '{print $$9 " (" $$5 ")"}'

.PHONY: test
test: tools-build tools-test lint ## run all checks and tests
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --locked --workspace --no-fail-fast; \
	else \
	  echo "cargo-nextest is not installed: taking cargo test"; cargo test --locked --workspace --no-fail-fast; \
	fi

.PHONY: lint
lint: tools-build ## formatting and clippy; the rules of the house are among the tests of xtask
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

.PHONY: bench
bench: release tools-bench ## measure, and print one table
	@DCOS=$(abspath $(RELEASE)) cargo run --release --locked --quiet --package bench -- $(ARGS)

.PHONY: dist
dist: release ## put the program with its licence and readme into dist/
	@mkdir -p dist && cp $(RELEASE) LICENSE README.md dist/ && (cd dist && sha256sum dcos > dcos.sha256) && ls dist

.PHONY: tools-build tools-test tools-bench
tools-build:
	@command -v cargo >/dev/null || { echo "a Rust toolchain (1.95 or newer) is needed: cargo is not on the PATH"; exit 1; }
	@$(call install,$(TOOLS_BUILD))
tools-test:
	@$(call install,$(TOOLS_TEST))
tools-bench:
	@$(call install,$(TOOLS_BENCH))

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
