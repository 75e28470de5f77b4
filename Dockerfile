# deskferry as a container. Configuration is mounted at /srv/deskferry/config, the state lives in /srv/deskferry/state.
#
#   docker build -t deskferry .
#   docker run --rm -v ./config:/srv/deskferry/config:ro -v deskferry-state:/srv/deskferry/state deskferry check

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# gcc for the bundled SQLite and for ring.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# Queries were checked when .sqlx was prepared; the build needs no database.
ENV SQLX_OFFLINE=true
RUN cargo build --release --locked --bin deskferry

FROM debian:bookworm-slim
# The system's root certificates are what TLS trusts; without them no request succeeds.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 deskferry \
    && useradd --uid 10001 --gid deskferry --no-create-home --shell /usr/sbin/nologin deskferry \
    && install --directory --owner deskferry --group deskferry --mode 0700 /srv/deskferry/state
COPY --from=build /src/target/release/deskferry /usr/local/bin/deskferry
COPY --from=build /src/LICENSE-MIT /src/LICENSE-APACHE /usr/share/doc/deskferry/
USER 10001:10001
WORKDIR /srv/deskferry
VOLUME ["/srv/deskferry/state"]
ENV DESKFERRY__STATE__PATH=/srv/deskferry/state/deskferry.db
# A first SIGTERM finishes what is under way; give it time (docker stop --time 60).
STOPSIGNAL SIGTERM
ENTRYPOINT ["deskferry"]
CMD ["--help"]
