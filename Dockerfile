# deskferry as a container: the service, and every other command.
#
#   docker build --tag deskferry .
#   docker run --rm deskferry demo
#
# Settings, mapping and secret files are mounted at /srv/deskferry/config; the state is the volume /srv/deskferry/state.
# docs/operations.md shows a real installation, docker-compose.yml a rehearsal against both platforms, simulated.
# Plain instructions only: docker with and without BuildKit, podman and buildah all take them (buildah and podman keep
# the health check with --format docker).

# The same version as rust-toolchain.toml, which stays outside: it would make rustup fetch tools that no build needs.
# This image has the C compiler that SQLite and ring are built with.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# Queries were checked when .sqlx was prepared; the build needs no database.
ENV SQLX_OFFLINE=true

# The dependencies, in a layer that only Cargo.toml and Cargo.lock can make stale: built around an empty program.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir --parents src tests/it \
    && touch src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs tests/it/main.rs > /dev/null \
    && cargo build --release --locked --bin deskferry

# The program. Copied files keep their times, and cargo believes in times: without `touch` the empty program would be
# taken for the current one. The last line fails if it was.
COPY .sqlx .sqlx
COPY migrations migrations
COPY config config
COPY src src
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin deskferry \
    && target/release/deskferry --version | grep '^deskferry '

FROM debian:bookworm-slim
# The system's root certificates are what TLS trusts; without them no request succeeds.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm --recursive --force /var/lib/apt/lists/* \
    && groupadd --gid 10001 deskferry \
    && useradd --uid 10001 --gid deskferry --no-create-home --home-dir /srv/deskferry --shell /usr/sbin/nologin deskferry \
    && install --directory --owner deskferry --group deskferry --mode 0700 /srv/deskferry/config /srv/deskferry/state
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/deskferry/
COPY --from=build /src/target/release/deskferry /usr/local/bin/deskferry
USER 10001:10001
WORKDIR /srv/deskferry
ENV DESKFERRY_CONFIG=/srv/deskferry/config/deskferry.toml \
    DESKFERRY__STATE__PATH=/srv/deskferry/state/deskferry.db
VOLUME ["/srv/deskferry/state"]
# The service listens on loopback unless the settings say otherwise, and they may say so only with a token. For a published
# port: [ops] listen = "0.0.0.0:8787" and token_file, or DESKFERRY__OPS__LISTEN and DESKFERRY__OPS__TOKEN_FILE.
EXPOSE 8787
# Whether the process works, not whether the platforms do: a restart cannot mend those. `health --ready` asks for both.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 CMD ["deskferry", "health"]
# A first SIGTERM finishes what is under way, within service.drain; give it longer than that (docker stop --time 90).
STOPSIGNAL SIGTERM
ENTRYPOINT ["deskferry"]
CMD ["run"]
