# syntax=docker/dockerfile:1

# The image holds one program and what glibc and TLS need: no shell, no package manager, no root.
#
#   docker build -t entraway .
#   docker run --rm -p 8080:8080 -v "$PWD/config.yaml:/etc/entraway/config.yaml:ro" -e DATABASE_URL entraway
#   docker run --rm entraway --help
#
# With what is not in it by default (docs/operations.md): docker build --build-arg FEATURES=otlp -t entraway .

# The Debian of both stages has to be the same one, or the program may ask for a newer glibc than there is.
ARG RUST_VERSION=1.95.0
ARG DEBIAN_NAME=bookworm
ARG DEBIAN_VERSION=12

FROM docker.io/library/rust:${RUST_VERSION}-${DEBIAN_NAME} AS build
ARG FEATURES=""
WORKDIR /src
COPY . .
# Cargo's downloads and the crates' builds are kept in caches between builds of the image, not in a layer; so the
# program has to be copied out.
RUN --mount=type=cache,id=entraway-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=entraway-target,target=/src/target,sharing=locked \
    cargo build --release --locked --no-default-features --features "$FEATURES" --bin entraway \
    && cp target/release/entraway /entraway

FROM gcr.io/distroless/cc-debian${DEBIAN_VERSION}:nonroot
COPY --from=build /entraway /entraway
# Where config.yaml is looked for.
WORKDIR /etc/entraway
EXPOSE 8080
# In exec form: there is no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/entraway", "healthcheck"]
ENTRYPOINT ["/entraway"]
CMD ["serve"]
