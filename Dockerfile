# Not run here: this project's build machines have no container engine. Checked for syntax only.
#
# Small (two programs, the CAs, a C library), not root, and content with a read-only root file system:
#   docker run --read-only -v ./strait.toml:/etc/strait/strait.toml:ro -p 9465:9465 strait
# The broker alone: docker build --target broker-lite -t broker-lite .
#   docker run --read-only -v data:/var/lib/broker-lite -p 9092:9092 broker-lite \
#       --listen :9092 --set advertised.listeners=PLAINTEXT://localhost:9092
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make perl gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols
RUN cargo build --profile dist --locked --workspace --bins && mkdir -p /empty

FROM debian:bookworm-slim AS broker-lite
COPY --from=build /src/target/dist/broker-lite /usr/local/bin/
COPY --from=build --chown=10001:10001 /empty /var/lib/broker-lite
USER 10001:10001
VOLUME /var/lib/broker-lite
EXPOSE 9092
ENTRYPOINT ["broker-lite", "--data", "/var/lib/broker-lite"]
# On every address, and clients are told the container's name: what others in its network reach it by.
CMD ["--listen", ":9092"]

FROM debian:bookworm-slim
# Without them no broker's certificate is trusted, unless ssl.ca.location is set.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/dist/strait /src/target/dist/broker-lite /usr/local/bin/
# By number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 10001:10001
# A container is reached from outside itself only.
ENV STRAIT_HTTP_LISTEN=0.0.0.0:9465
EXPOSE 9465
ENTRYPOINT ["strait"]
CMD ["run", "/etc/strait/strait.toml"]
