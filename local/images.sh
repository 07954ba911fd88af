#!/usr/bin/env bash
# Builds the images with docker or buildah, whichever is there. What is said to the build comes from the environment:
# VERSION (dev), TARGETS, BUILDER, BASE and PYTHON (images to build on, best by digest: labels then say which), PROGRAMS (a folder of programs that are built
# already: DIR/programs/polybot, …), TOOL (buildah: also where docker is), MODEL (a folder with yolov5s.onnx: yolo5 gets it inside, for a private registry).
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-dev}
targets=${TARGETS:-polybot yolo5 controller local}
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
for name in BUILDER BASE PYTHON; do
  [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
done
[ -z "${PROGRAMS:-}" ] || arguments+=(--build-context "build=$PROGRAMS")
[ -z "${MODEL:-}" ] || arguments+=(--build-context "model=$MODEL")

if [ "${TOOL:-docker}" = docker ] && docker info >/dev/null 2>&1; then
  # An attestation makes an index of an image, and ECR scans no index.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1
  build=(docker build)
elif command -v buildah >/dev/null; then
  # Docker's format: the other one has no health check.
  build=(buildah build --layers --format docker)
else
  echo "error: neither docker (with its engine running) nor buildah is here; install one of them" >&2
  exit 1
fi

for target in $targets; do
  case $target in
    polybot | yolo5) image=$target ;;
    *) image=polybot-$target ;;
  esac
  base=${BASE:-}
  [ "$target" != local ] || base=${PYTHON:-}
  labels=()
  if [[ $base = *@* ]]; then
    labels=(--label "org.opencontainers.image.base.name=${base%@*}" --label "org.opencontainers.image.base.digest=${base#*@}")
  fi
  if [ "$target" = yolo5 ] && [ -n "${MODEL:-}" ]; then target=yolo5-with-model; fi
  "${build[@]}" "${arguments[@]}" "${labels[@]}" --target "$target" --tag "localhost/$image:$version" .
done
