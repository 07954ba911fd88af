#!/usr/bin/env bash
# The demo: a local AWS, one stack from nothing to converged, three things broken by hand, mended, and all removed again.
# Everything it starts it stops; everything it writes is in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
# Runs a command whose exit code tells something, and shows the code.
tell() { printf '\033[2m$ %s\033[0m\n' "$*"; local code=0; "$@" || code=$?; printf '\033[2m(exit %s)\033[0m\n' "$code"; }

work=$(mktemp -d)
aws_pid=
clean_up() { [ -n "$aws_pid" ] && kill "$aws_pid" 2>/dev/null; rm -rf "$work"; }
trap clean_up EXIT

say "Building"
cargo build --quiet --locked --workspace
target=${CARGO_TARGET_DIR:-target}/debug
export PATH="$target:$PATH"

say "Starting a local AWS"
make --no-print-directory aws >"$work/aws.env" 2>"$work/aws.log" &
aws_pid=$!
until grep -q AWS_ENDPOINT_URL "$work/aws.env" 2>/dev/null; do
  kill -0 "$aws_pid" 2>/dev/null || { cat "$work/aws.log"; exit 1; }
  read -rt 0.2 <> <(:) || true
done
cat "$work/aws.env"
# shellcheck disable=SC1091
. "$work/aws.env"
export AWS_DEFAULT_REGION=$AWS_REGION
# A made-up token: there is no Telegram here, so the webhook waits and says so, and the rest goes on.
export TELEGRAM_TOKEN=123456:made-up-for-the-demo-0000000000000
hands() { printf '\033[2m$ hands %s\033[0m\n' "$*"; local/.venv/bin/python local/aws/hands.py "$@"; }
spec=specs/local.yaml

say "The spec is checked before anything is asked of AWS"
run controller validate -f $spec

say "From nothing: everything but the fleets, which want images"
tell controller apply -f $spec --yes --poll 1s

say "Images are pushed; the next apply finishes"
hands push v1.0.0
tell controller apply -f $spec --yes --poll 1s

say "The stack"
run controller status -f $spec
run controller graph -f $spec | head -40

say "A second plan has nothing to do"
tell controller plan -f $spec

say "Three things broken by hand"
hands break

say "The plan that mends them"
tell controller plan -f $spec

say "Repaired"
tell controller apply -f $spec --yes --poll 1s
tell controller plan -f $spec

say "Destroyed; what holds data stays until it is named"
run controller destroy -f $spec --confirm local --poll 1s
run controller destroy -f $spec --confirm local --with-data all --poll 1s
tell controller status -f $spec
