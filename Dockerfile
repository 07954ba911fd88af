# The images, each by its target: polybot, yolo5, controller; yolo5-with-model for a registry of your own; local, what stands for AWS and
# Telegram in compose.yaml. One file and not three, because the three programs come out of one build of one workspace: a file each would
# compile what they share three times.
#
# BUILDER has Rust (the version of rust-toolchain.toml) and a C compiler; BASE has glibc and certificate authorities; PYTHON has Python.
# Give them by digest (NAME@sha256:…) to build the same again. Programs that are built already are taken instead of building them with
# `--build-context build=DIR`, where DIR/programs has them.
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

# The workspace without its code: it changes when a dependency does, and only then are they compiled again.
FROM ${BUILDER} AS skeleton
WORKDIR /all
COPY . .
RUN mkdir /skeleton && cp --parents Cargo.toml Cargo.lock .cargo/release.toml */Cargo.toml /skeleton/ \
    && for sources in */src; do \
         mkdir /skeleton/$sources && : >/skeleton/$sources/lib.rs; \
         [ ! -e $sources/main.rs ] || echo 'fn main() {}' >/skeleton/$sources/main.rs; \
       done \
    && find /skeleton -exec touch --date=@0 {} +

FROM ${BUILDER} AS build
WORKDIR /src
COPY --from=skeleton /skeleton/ .
RUN cargo --config .cargo/release.toml build --release --locked --bins
COPY . .
# A file that is older than what was built of the skeleton would look unchanged; one in target that is newer, changed.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + && cargo --config .cargo/release.toml build --release --locked --bins \
    && mkdir /programs && find target/release -maxdepth 1 -type f -executable -exec strip {} \; -exec mv {} /programs/ \;

# Nothing is written to disk: run each with a read-only root. The user is distroless's nonroot, by number for runtimes that check it.
FROM ${BASE} AS polybot
COPY --from=build /programs/polybot /usr/local/bin/polybot
# glibc would give the memory of each picture back and have it cleared page by page for the next, which takes as long as most
# filters do. It keeps some dozen MB instead.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=67108864
USER 65532:65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/polybot", "--health"]
ENTRYPOINT ["/usr/local/bin/polybot"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="polybot" \
      org.opencontainers.image.description="A Telegram bot that filters pictures and finds objects in them" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# Without a model: it is given at /model, by a volume or by the image below.
FROM ${BASE} AS yolo5
COPY --from=build /programs/yolo5 /usr/local/bin/yolo5
# glibc would keep what large pictures took, in an arena for each thread: 60 MB more at the peak.
ENV YOLO5_MODEL=/model/yolov5s.onnx MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=262144 MALLOC_TRIM_THRESHOLD_=1048576
USER 65532:65532
# It loads the model before it answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["/usr/local/bin/yolo5", "health"]
ENTRYPOINT ["/usr/local/bin/yolo5"]
CMD ["worker"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="yolo5" \
      org.opencontainers.image.description="Finds the objects of COCO in pictures with YOLOv5" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# With the model of `--build-context model=yolo5/model`. For a private registry: the weights are Ultralytics', under AGPL-3.0.
FROM yolo5 AS yolo5-with-model
COPY --from=model yolov5s.onnx /model/yolov5s.onnx
LABEL org.opencontainers.image.licenses="MIT AND AGPL-3.0-only"

# A command-line tool: what is healthy while it runs is told on its own routes, and asked by who runs it.
FROM ${BASE} AS controller
COPY --from=build /programs/controller /usr/local/bin/controller
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/controller"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="polybot-controller" \
      org.opencontainers.image.description="Builds and keeps the AWS stack that Polybot runs on" \
      org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# The stand-ins for AWS and Telegram, for one machine. Never published.
FROM ${PYTHON} AS local
COPY local/aws/requirements.txt /aws/requirements.txt
RUN python3 -m pip install --no-cache-dir --quiet --require-hashes --requirement /aws/requirements.txt
COPY local/aws/ /aws/
COPY --from=build /programs/local-telegram /programs/local-front /usr/local/bin/
USER 65532:65532
