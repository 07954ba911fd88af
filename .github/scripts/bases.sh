#!/usr/bin/env bash
# The images that the Dockerfile builds on, by the digests that their tags have now: `BASE=name:tag@sha256:…`, as `make images` takes it.
set -euo pipefail
for name in BUILDER BASE; do
  image=$(sed -n "s/^ARG $name=//p" Dockerfile)
  # As JSON: a template that begins with the manifest makes buildx print a table.
  digest=$(docker buildx imagetools inspect --format '{{json .Manifest.Digest}}' "$image" | tr -d '"')
  echo "$name=$image@$digest"
done
