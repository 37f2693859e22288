# Everything that is done with the project. `demo` and `test` install what they need on a Debian with a Rust toolchain.

CARGO ?= cargo
# Options of the demo, as in: make demo ARGS='--speed=60 --web.listen-address=:8080'
ARGS ?=
# Stories of the simulation, as in: make simulate SEEDS=100000; or one of them alone: make simulate SEED=17
SEEDS ?= 2000
SEED ?=

# What the TLS library compiles with.
COMPILER = cc=gcc /usr/include/stdio.h=libc6-dev

.PHONY: help demo test simulate guide mutants bench

help:
	@echo 'make demo      build, and run against four simulated vendors (ARGS=--speed=60 makes their day shorter)'
	@echo 'make test      format, lints, and every test, also with a real Prometheus server'
	@echo 'make simulate  simulated weeks with every failure (SEEDS=100000 for many, SEED=17 for one alone)'
	@echo 'make guide     follows docs/adding-a-vendor.md in a copy of the tree'
	@echo 'make mutants   plants known mistakes, and sees whether the simulation notices'
	@echo 'make bench     what it costs: start-up, memory, requests per second'

demo:
	scripts/need $(COMPILER)
	$(CARGO) build --release --locked
	exec target/release/contact-center-exporter demo $(ARGS)

test:
	scripts/need $(COMPILER) prometheus promtool=prometheus
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --test simulation -- -D warnings
	$(CARGO) test --locked
	$(MAKE) simulate
	$(MAKE) guide
	$(CARGO) run --locked --quiet -- check-config exporter.yml
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences and sources were not checked'; fi

simulate:
	scripts/need $(COMPILER)
	SEEDS=$(SEEDS) $(if $(SEED),SEED=$(SEED)) $(CARGO) test --locked --test simulation

guide:
	scripts/need $(COMPILER)
	scripts/guide

mutants:
	scripts/need $(COMPILER) git
	scripts/mutants

bench:
	scripts/need $(COMPILER) prometheus-pushgateway wrk
	$(CARGO) bench --locked --bench cost
