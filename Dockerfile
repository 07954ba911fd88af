# The three programs, each in an image of its own: `--target polybot`, `--target yolo5`, `--target controller`.
#
# BUILDER has Rust (the version of rust-toolchain.toml), a C compiler and nasm; BASE has glibc and certificate authorities.
# Both can be given by digest. No image holds a model: yolo5 takes one from a volume, or from MODEL in the build context.
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
ARG PROGRAM
# The registry and the target directory outlive the build, so that the next one compiles only what changed.
RUN --mount=type=cache,target=/root/.cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package "$PROGRAM" --bin "$PROGRAM" \
    && strip -o /program "target/release/$PROGRAM"

FROM ${BASE} AS polybot
ARG VERSION=dev
LABEL org.opencontainers.image.title="polybot" org.opencontainers.image.version="${VERSION}" org.opencontainers.image.licenses="MIT"
COPY --from=build /program /usr/local/bin/polybot
# Nothing is written to disk: run it with a read-only root.
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["/usr/local/bin/polybot"]

FROM ${BASE} AS yolo5
ARG VERSION=dev
LABEL org.opencontainers.image.title="yolo5" org.opencontainers.image.version="${VERSION}" org.opencontainers.image.licenses="MIT"
COPY --from=build /program /usr/local/bin/yolo5
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/yolo5"]
CMD ["worker"]

FROM ${BASE} AS controller
ARG VERSION=dev
LABEL org.opencontainers.image.title="polybot-controller" org.opencontainers.image.version="${VERSION}" org.opencontainers.image.licenses="MIT"
COPY --from=build /program /usr/local/bin/controller
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/controller"]
