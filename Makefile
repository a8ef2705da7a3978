# What can be done here; `make` alone explains it. Every target installs what it needs from package
# registries (apt only as root), so it works on a fresh machine with Rust.

.DEFAULT_GOAL := help
.PHONY: help demo lint test test-tools bench torture fuzz test-kubernetes

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Postgres, Kafka and walpost here, orders placed, walpost killed, events counted (KEEP=1: leave it running)
	@KEEP=$(KEEP) deploy/demo/run

lint: ## format, clippy and rustdoc, each without a warning
	@deploy/dev/install build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --features crash-points,mutants --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

test: ## all tests, with real Postgres 14 to 18, Kafka and schema registry (about half an hour the first time)
	@deploy/dev/install build postgres-14 postgres-15 postgres-16 postgres-17 postgres-18 kafka apicurio oidc pgbouncer faketime valgrind
	@# Most tests wait for servers: with three at a time two cores are idle for two thirds of the time.
	cargo test --locked -- --test-threads=5
	cargo test --locked --features crash-points,mutants --test torture -- --test-threads 1

test-tools: ## dependencies, scripts, compose file, chart, its pod, alerts, dashboards, status page, events, consumers, schemas, guides, moving over from Debezium: each by its real tool
	@set -e; for tool in deny shell demo compose helm pod examples alerts monitoring metrics page sdk consumers registry docs debezium msk-iam; do echo "== deploy/test-tools/$$tool"; deploy/test-tools/$$tool; done

bench: ## speed beside pg_recvlogical and Debezium, latency (1,000,000 rows; a quicker look: ROWS=100000 RUNS=1 make bench)
	@deploy/bench/run

torture: ## faults until something gives: MODE=at-least-once|exactly-once MINUTES=… SEED=…, FULL=1 JOBS=…, LONG=1, or POINT=name (tests/README.md)
	@deploy/dev/install build postgres-18 kafka
	@MODE='$(MODE)' MINUTES='$(MINUTES)' SEED='$(SEED)' POINT='$(POINT)' FULL='$(FULL)' SEGMENTS='$(SEGMENTS)' JOBS='$(JOBS)' LONG='$(LONG)' deploy/dev/torture

fuzz: ## hostile input for every reader of foreign bytes: MINUTES=… SEED=… TARGET=name CASE=… (tests/README.md)
	@deploy/dev/install build
	@MINUTES='$(MINUTES)' SEED='$(SEED)' TARGET='$(TARGET)' CASE='$(CASE)' deploy/dev/fuzz

test-kubernetes: ## the chart on a real API server (which is built the first time: 10 minutes and more)
	@deploy/test-kubernetes
