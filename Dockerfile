# syntax=docker/dockerfile:1

# The image holds one program and what glibc and TLS need: no shell, no package manager, no root.
#
#   docker build -t entraway .
#   docker run --rm -p 8080:8080 -v "$PWD/config.yaml:/etc/entraway/config.yaml:ro" -e DATABASE_URL entraway
#   docker run --rm entraway --help
#
# With what is not in it by default (docs/operations.md): docker build --build-arg FEATURES=otlp -t entraway .

# Both base images are pinned by digest (docs/operations.md, "Base images"). The Debian of both stages has to be the same
# one, or the program may ask for a newer glibc than there is.
FROM docker.io/library/rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
ARG FEATURES=""
WORKDIR /src
COPY . .
# Cargo's downloads and the crates' builds are kept in caches between builds of the image, not in a layer; so the
# program has to be copied out.
RUN --mount=type=cache,id=entraway-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=entraway-target,target=/src/target,sharing=locked \
    cargo build --profile dist --locked --no-default-features --features "$FEATURES" --bin entraway \
    && cp target/dist/entraway /entraway

FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
COPY --from=build /entraway /entraway
# Where config.yaml is looked for.
WORKDIR /etc/entraway
EXPOSE 8080
# In exec form: there is no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/entraway", "healthcheck"]
ENTRYPOINT ["/entraway"]
CMD ["serve"]
