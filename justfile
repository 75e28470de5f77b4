# `just` alone lists what there is.
_default:
    @just --list --unsorted

# exactly what CI runs
check:
    .ci/run

# all tests
test:
    cargo test --locked

# format, then lint as CI does
lint:
    cargo fmt
    cargo clippy --locked --all-targets -- -D warnings

# refresh .sqlx after a change to a query or a migration
prepare:
    #!/usr/bin/env bash
    set -euo pipefail
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    export DATABASE_URL="sqlite:$folder/prepare.db" SQLX_OFFLINE=false
    cargo sqlx database setup --source migrations
    cargo sqlx prepare -- --all-targets

# the whole story against the sandbox
demo:
    cargo run --release --locked -- demo

# both platforms, simulated, on loopback
sandbox *ARGS:
    cargo run --release --locked -- sandbox {{ARGS}}

# 15,000 and 150,000 contacts over 20 ms of latency; prints, asserts outcomes only
bench-backfill:
    DESKFERRY_BENCH=15000,150000 cargo test --release --locked --test it bench_backfill -- --nocapture

# 200 runs killed at random points and restarted until done (CI runs a few)
kill-200:
    DESKFERRY_KILL_RUNS=200 cargo test --locked --test it kill::a_backfill_that_is_killed -- --nocapture

# every decision about a conflict with everything that may come after it (CI plays some)
decisions:
    DESKFERRY_DECISIONS=all cargo test --locked --test it corrections -- --nocapture

# the service killed at random 100 times within its runs; its restart with 200,000 links; a day of syncs in five minutes
service:
    DESKFERRY_DAEMON_KILLS=100 DESKFERRY_RESTART_LINKS=200000 DESKFERRY_SOAK_SECONDS=300 cargo test --release --locked --test it service -- --nocapture

# 20,000 quiet contacts with unstable ties, and 50 seeds of drift (CI runs fewer)
tie:
    DESKFERRY_TIE_CONTACTS=20000 DESKFERRY_DRIFT_SEEDS=50 cargo test --release --locked --test it tie -- --nocapture

# known vulnerabilities in what we depend on (fetches the advisory database)
advisories:
    cargo deny check advisories

# the documentation, private items too
doc:
    cargo doc --locked --no-deps --document-private-items --open
