# syntax=docker/dockerfile:1

# The program, built with the toolchain that the repository names. The caches stay on the build machine; the binary is
# copied out of them, because a cache mount is no part of the image.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin redial \
    && install -D target/release/redial /out/redial

# Certificates for third parties and brokers that speak TLS, and nothing else.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin redial
COPY --from=build /out/redial /usr/local/bin/redial
# A message's headers may be nested thousands deep, and the AMQP library reads them by recursion on threads of its own: with the
# usual 2 MiB a publisher could end the process with one message. Only address space is reserved, not memory.
ENV RUST_MIN_STACK=536870912
USER 10001:10001
WORKDIR /etc/redial
EXPOSE 8080
# It asks /readyz of the address that it listens on: ready, or ready while RabbitMQ is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["redial", "health"]
ENTRYPOINT ["redial"]
CMD ["serve"]
