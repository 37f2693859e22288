# Everything that is done with the project. `demo` and `test` install what they need on a Debian with a Rust toolchain.

CARGO ?= cargo
# Options of the demo, as in: make demo ARGS='--speed=60 --web.listen-address=:8080'
ARGS ?=
# Stories of the simulation, as in: make simulate SEEDS=100000; or one of them alone: make simulate SEED=17
SEEDS ?= 2000
SEED ?=

# Tests at once: most of them wait for something.
TEST_THREADS ?= 12

# Two thousand stories are worth an optimised build, the other tests are not.
OPTIMISED = --config 'profile.dev.package.contact-center-exporter.opt-level=2'

# What the TLS library compiles with.
COMPILER = cc=gcc /usr/include/stdio.h=libc6-dev

.PHONY: help demo test test-scrapers simulate guide mutants bench fuzz

help:
	@echo 'make demo      build, and run against four simulated vendors (ARGS=--speed=60 makes their day shorter)'
	@echo 'make test      format, lints, and every test, also with a real Prometheus server'
	@echo 'make test-scrapers  whether the newest Prometheus and VictoriaMetrics read every format alike'
	@echo 'make simulate  simulated weeks with every failure (SEEDS=100000 for many, SEED=17 for one alone)'
	@echo 'make guide     follows docs/adding-a-vendor.md in a copy of the tree'
	@echo 'make mutants   plants known mistakes, and sees whether the simulation notices'
	@echo 'make bench     what it costs: start-up, memory, requests per second, scrapes'
	@echo 'make fuzz      looks for input that breaks the page, for a minute each (needs a nightly toolchain)'

demo:
	scripts/need $(COMPILER)
	$(CARGO) build --release --locked
	exec target/release/contact-center-exporter demo $(ARGS)

test:
	scripts/need $(COMPILER) prometheus promtool=prometheus amtool=prometheus-alertmanager prometheus-alertmanager
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --test simulation -- -D warnings
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked
	$(MAKE) simulate
	$(MAKE) guide
	$(CARGO) run --locked --quiet -- check-config exporter.yml
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences and sources were not checked'; fi

test-scrapers:
	scripts/need $(COMPILER) prometheus
	scripts/newest target/newest prometheus victoria-metrics
	NEWEST=$(CURDIR)/target/newest $(CARGO) test --locked --test e2e -- --ignored --nocapture scrapers

simulate:
	scripts/need $(COMPILER)
	SEEDS=$(SEEDS) $(if $(SEED),SEED=$(SEED)) $(CARGO) test --locked $(OPTIMISED) --test simulation

guide:
	scripts/need $(COMPILER)
	scripts/guide

mutants:
	scripts/need $(COMPILER) git
	scripts/mutants

bench:
	scripts/need $(COMPILER) prometheus-pushgateway wrk /usr/sbin/nginx=nginx-light
	$(CARGO) bench --locked --bench cost
	$(CARGO) bench --locked --bench parts

fuzz:
	scripts/need $(COMPILER)
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	for target in negotiate encode; do \
		$(CARGO) +nightly fuzz run --sanitizer none $$target -- -max_total_time=60 || exit 1; \
	done
