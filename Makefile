# Everything that is done with the project. `demo` and `test` install what they need on a Debian with a Rust toolchain.

CARGO ?= cargo
# Options of the demo, as in: make demo ARGS='--speed=60 --web.listen-address=:8080'
ARGS ?=

# What the TLS library compiles with.
COMPILER = cc=gcc /usr/include/stdio.h=libc6-dev

.PHONY: help demo test bench

help:
	@echo 'make demo   build, and run against four simulated vendors (ARGS=--speed=60 makes their day shorter)'
	@echo 'make test   format, lints, and every test, also with a real Prometheus server'
	@echo 'make bench  what it costs: start-up, memory, requests per second'

demo:
	scripts/need $(COMPILER)
	$(CARGO) build --release --locked
	exec target/release/contact-center-exporter demo $(ARGS)

test:
	scripts/need $(COMPILER) prometheus promtool=prometheus
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	$(CARGO) run --locked --quiet -- check-config exporter.yml
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences and sources were not checked'; fi

bench:
	scripts/need $(COMPILER) prometheus-pushgateway wrk
	$(CARGO) bench --locked --bench cost
