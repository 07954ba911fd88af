#!/usr/bin/env bash
# The whole system in the background, for daily work: `up.sh up` starts what `make demo` starts, `up.sh down` ends it.
# `. local/.up/env` makes the controller of another shell see its AWS; its spec is local/.up/local.yaml. `controller load-test` then
# makes the detector's group grow, and with it processes; they go again when nothing waits any more.
set -euo pipefail
cd "$(dirname "$0")/.."
here=local/.up
running() { [ -f "$here/pid" ] && kill -0 "$(cat "$here/pid")" 2>/dev/null; }

case ${1:-} in
  up)
    if running; then echo "it runs already; make down ends it"; exit 0; fi
    mkdir -p "$here"
    UP=1 TELEGRAM_PORT=${TELEGRAM_PORT:-8081} setsid bash local/demo.sh >"$here/log" 2>&1 </dev/null &
    echo $! >"$here/pid"
    # It says so when everything serves; its output until then tells what goes on.
    # (Not a pipe: tail, which nobody reads then any more, would fail it.)
    sed '/Left running/q' < <(tail -n +1 -f --pid="$!" "$here/log")
    running || { echo "error: it did not start; see $here/log" >&2; exit 1; }
    echo "logs: $here/log; another shell: . $here/env; make down ends it"
    ;;
  down)
    if ! running; then echo "nothing runs"; exit 0; fi
    pid=$(cat "$here/pid")
    kill -TERM "$pid"
    tail -f --pid="$pid" /dev/null
    rm -f "$here/pid" "$here/env"
    echo "ended"
    ;;
  *) echo "usage: up.sh up|down" >&2; exit 2 ;;
esac
