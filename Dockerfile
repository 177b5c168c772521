# syntax=docker/dockerfile:1

# The image contains the program and the files that glibc and TLS need: no shell and no package manager. It does not run
# as root.
#
#   docker build -t entraway .
#   docker run --rm -p 8080:8080 -v "$PWD/config.yaml:/etc/entraway/config.yaml:ro" -e DATABASE_URL entraway
#   docker run --rm entraway --help
#
# With traces (docs/how-to/monitor.md): docker build --build-arg FEATURES=otlp -t entraway .

# Base images are pinned by digest (docs/how-to/deploy.md, "Base images"). Both stages must have the same Debian version,
# because the program must not require a newer glibc than the image has.
FROM docker.io/library/rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
ARG FEATURES=""
WORKDIR /src
COPY . .
# Downloads and build results are in cache mounts, not in a layer, so the program is copied out.
RUN --mount=type=cache,id=entraway-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=entraway-target,target=/src/target,sharing=locked \
    cargo build --profile dist --locked --no-default-features --features "$FEATURES" --bin entraway \
    && cp target/dist/entraway /entraway

FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
COPY --from=build /entraway /entraway
# Folder of config.yaml.
WORKDIR /etc/entraway
EXPOSE 8080
# In exec form, because the image has no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/entraway", "healthcheck"]
ENTRYPOINT ["/entraway"]
CMD ["serve"]
