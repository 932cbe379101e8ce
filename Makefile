# The ways to use this checkout. `make help` lists them.

export PATH := $(CURDIR)/.tools/bin:$(PATH)

SERVICES := -p king -p foreman -p servant -p alerter -p kingctl
# make bench ONLY=name runs one benchmark.
ONLY ?=
# make sim SEEDS=100000 runs so many seeds; make sim SEED=4711 one of them, with all that happens in it.
SEEDS ?= 2000
SEED ?=
# make chaos SEED=7 ROUNDS=3 ONLY=kill-writer,cut-servant chooses the faults.
ROUNDS ?=
# make up UP="--http 127.0.0.1:8480 --servants 3" passes flags to `kingctl up`.
UP ?=

.PHONY: help up build test lint bench sim mutants chaos

help: ## list what can be made
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1	\2/p' Makefile

up: ## build, then start a whole kingdom on this machine; Ctrl-C stops it
	@scripts/bootstrap --for run
	@$(MAKE) --no-print-directory build
	@exec target/release/kingctl up $(UP)

build: ## build the programs
	cargo build --release --locked $(SERVICES)

test: ## check the format, lint, build, and run every test
	@scripts/bootstrap --for test
	@$(MAKE) --no-print-directory lint
	cargo build --workspace --bins --locked
	cargo test --workspace --doc --locked --quiet
	cd clients/node && node --test
	cargo nextest run --workspace --locked --exclude simulation
	cargo nextest run --cargo-profile sim --locked -p simulation

lint: ## check the format and lint, with warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/check-dependencies
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked --offline check bans licenses sources; fi

bench: ## run the benchmarks; ONLY=name runs one
	@scripts/bootstrap --for bench
	@$(MAKE) --no-print-directory build
	cargo run --release --locked -p kingdom-tests --bin bench -- $(ONLY)

sim: ## run the kingdom on a model of NATS, in virtual time; SEEDS=n many, SEED=n one of them
	cargo run --profile sim --locked -p simulation --bin sim -- $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutants: ## plant each of the known bugs, and show that the simulation finds it
	@scripts/mutants

chaos: ## put a whole kingdom under faults and prove its log; SEED=n ROUNDS=n ONLY=faults
	@scripts/bootstrap --for chaos
	cargo build --workspace --bins --locked
	target/debug/chaos $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))
