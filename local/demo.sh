#!/usr/bin/env bash
# The whole story on one machine: a local AWS and a local Telegram, one stack from nothing to converged, two bots and a
# detector that run on what it made, photos in and photos out, three things broken by hand and mended, all removed again.
# Everything it starts it stops.
#
# KEEP=1 leaves it running for the browser until Ctrl-C; LESS=1 leaves the bots out; UP=1 (make up) starts everything and
# tells no story. With TELEGRAM_TOKEN set, the bots talk to the real Telegram by polling: the controller, and with it any
# webhook, stays with the local one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
# Runs a command whose exit code tells something, and shows the code.
tell() { printf '\033[2m$ %s\033[0m\n' "$*"; local code=0; "$@" || code=$?; printf '\033[2m(exit %s)\033[0m\n' "$code"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
pictures=$(mktemp -d -t polybot-demo.XXXXXX)
started=()
clean_up() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
# Starts something in the background; its output goes to a file of its name, which is shown if it does not get ready.
start() {
  local name=$1; shift
  "$@" >"$work/$name.out" 2>"$work/$name.log" &
  started+=($!)
}
# Waits until a line with this word is in what a background program has printed, as long as it lives: the first local AWS of a
# clone fetches its Python packages, which takes minutes on a slow line.
ready() {
  local name=$1 word=$2 tries=0
  until grep -qs "$word" "$work/$name.out" "$work/$name.log"; do
    tries=$((tries + 1))
    if [ $tries -gt 6000 ] || ! kill -0 "${started[-1]}" 2>/dev/null; then cat "$work/$name".*; fail "$name did not start"; fi
    read -rt 0.1 <> <(:) || true
  done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

say "Building"
cargo build --quiet --locked --workspace
target=${CARGO_TARGET_DIR:-target}/debug
export PATH="$target:$PATH"

say "Starting a local AWS and a local Telegram"
start aws local-aws
ready aws AWS_ENDPOINT_URL
cat "$work/aws.out"
# shellcheck disable=SC1091
. "$work/aws.out"
export AWS_DEFAULT_REGION=$AWS_REGION
real_token=${TELEGRAM_TOKEN:-} real_url=${TELEGRAM_API_URL:-https://api.telegram.org}
# Made up; the local Telegram knows the bot by it.
export TELEGRAM_TOKEN=123456:made-up-for-the-demo-0000000000000
start telegram local-telegram --listen "127.0.0.1:${TELEGRAM_PORT:-0}" --token "$TELEGRAM_TOKEN"
ready telegram TELEGRAM_API_URL
# shellcheck disable=SC1091
. "$work/telegram.out"
cat "$work/telegram.out"
hands() { printf '\033[2m$ hands %s\033[0m\n' "$*"; local/.venv/bin/python local/aws/hands.py "$@"; }

spec=$work/local.yaml
# The fleet follows what waits in the queue: a laptop has no CPU of its own for each instance.
sed -e "s|^  telegram:|  telegram:\n    apiUrl: $TELEGRAM_API_URL|" \
  -e "s|scaling: { cpu: .*|scaling: { backlog: { latencyTarget: 10s, secondsPerMessage: 1 } }|" specs/local.yaml >"$spec"

say "The spec is checked before anything is asked of AWS"
run controller validate -f "$spec"

say "From nothing: everything but the fleets, which want images"
tell controller apply -f "$spec" --yes --poll 1s

say "Images are pushed; the next apply finishes"
hands push v1.0.0
tell controller apply -f "$spec" --yes --poll 1s

say "The stack"
run controller status -f "$spec"
controller graph -f "$spec" >"$pictures/stack.mmd"
echo "the graph: $pictures/stack.mmd"

say "A second plan has nothing to do"
tell controller plan -f "$spec"

if [ -z "${LESS:-}" ]; then
  say "Two bots behind a load balancer, and a detector for each instance of its group, on what the stack made; each with its role's permissions and no more"
  model=$(yolo5/tools/model.sh)
  # A service with the environment and the credentials that its instances would have.
  service() {
    local name=$1 kind=$2; shift 2
    controller status -f "$spec" -o env --service "$kind" >"$work/$name.env"
    curl -sf "$AWS_ENDPOINT_URL/_local/role/talo-local-$kind-$AWS_REGION" | python3 -c '
import json, sys
role = json.load(sys.stdin)
for name, key in (("ACCESS_KEY_ID", "AccessKeyId"), ("SECRET_ACCESS_KEY", "SecretAccessKey"), ("SESSION_TOKEN", "Token")):
    print(f"export AWS_{name}={role[key]}")' >>"$work/$name.env"
    start "$name" env -u TELEGRAM_TOKEN bash -c 'set -a; . "$0"; exec "$@"' "$work/$name.env" "$@"
  }
  ports=("$(free_port)" "$(free_port)")
  mode=()
  real=()
  if [ -n "$real_token" ]; then
    mode=(--polling)
    real=("TELEGRAM_TOKEN=$real_token" "TELEGRAM_API_URL=$real_url")
  fi
  for i in 0 1; do
    service "bot$i" polybot env "POLYBOT_LISTEN=127.0.0.1:${ports[$i]}" "${real[@]}" polybot "${mode[@]}"
    ready "bot$i" "polybot serves"
  done
  # From here on an instance of the detector is a process, which has real seconds to come up and to leave: a logical minute a second.
  curl -sf -o "$work/switches" -d '{"clock_rate": 60, "health_patience": 3600, "real_workers": true, "tracking": true}' \
    "$AWS_ENDPOINT_URL/_local/switch"
  service detector yolo5 env YOLO5_LISTEN=127.0.0.1:0 "YOLO5_MODEL=$model" local-fleet --group talo-local-yolo5 -- yolo5 worker
  ready detector "ready for jobs"
  start front local-front --host local-polybot.int-devops.click \
    --to "http://127.0.0.1:${ports[0]}" --to "http://127.0.0.1:${ports[1]}"
  ready front "ready https"
  echo "two bots, a detector for each instance (3 at most), and TLS on $(cut -d' ' -f2 "$work/front.out") with the stack's own certificate"

  if [ -n "$real_token" ]; then
    say "Your bot answers in Telegram now: send it a photo (KEEP=1 leaves it running)"
  elif [ -z "${UP:-}" ]; then
    say "Ada sends photos; what comes back"
    run python3 local/user.py "$TELEGRAM_API_URL" "$pictures" yolo5/samples/grace_hopper.jpg
  fi
  echo "the chat: $TELEGRAM_API_URL/"
fi

if [ -z "${UP:-}" ]; then
  say "Three things broken by hand"
  hands break

  say "The plan that mends them"
  tell controller plan -f "$spec"

  say "Repaired"
  tell controller apply -f "$spec" --yes --poll 1s
  tell controller plan -f "$spec"
fi

if [ -n "${KEEP:-}${UP:-}" ]; then
  # For another shell: `. local/.up/env`, and the controller sees this AWS.
  if [ -n "${UP:-}" ]; then
    { cat "$work/aws.out" "$work/telegram.out"; echo "export TELEGRAM_TOKEN=$TELEGRAM_TOKEN AWS_DEFAULT_REGION=$AWS_REGION"; } >local/.up/env
    cp "$spec" local/.up/local.yaml
  fi
  say "Left running: $TELEGRAM_API_URL/ (Ctrl-C ends it)"
  trap 'exit 0' INT TERM
  while true; do sleep 3600 & started+=($!); wait $! || true; done
fi

say "Destroyed; what holds data stays until it is named"
run controller destroy -f "$spec" --confirm local --poll 1s
run controller destroy -f "$spec" --confirm local --with-data all --poll 1s
tell controller status -f "$spec"
echo
echo "pictures: $pictures"
