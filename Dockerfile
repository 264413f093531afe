# Not run here: this project's build machines have no container engine. Checked for syntax only.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make perl gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --bins

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home strait
COPY --from=build /src/target/release/strait /src/target/release/broker-lite /usr/local/bin/
USER strait
EXPOSE 9465
ENTRYPOINT ["strait"]
CMD ["run", "/etc/strait/strait.toml"]
