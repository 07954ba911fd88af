#!/usr/bin/env bash
# Makes the model once and prints its path. The weights are Ultralytics' (AGPL-3.0); they are converted on this machine and
# committed nowhere. Several callers at once: one works, the others wait. It is made again when the file or what makes it is not
# what it was.
set -euo pipefail
cd "$(dirname "$0")/.."
model=model/yolov5s.onnx
mkdir -p model
exec 9>model/.lock
flock 9
# The tools name the weights by their hash.
hashes() { sha256sum tools/{graph,model,pt}.py tools/{requirements,weights}.txt "$model" 2>/dev/null; }
made=$model.sha256
if [ "$(hashes)" != "$(cat "$made" 2>/dev/null)" ]; then
    stamp=.venv/requirements.txt
    if ! cmp -s tools/requirements.txt "$stamp"; then
        python3 -m venv --clear .venv
        .venv/bin/python -m pip install --quiet --require-hashes --requirement tools/requirements.txt
        cp tools/requirements.txt "$stamp"
    fi
    .venv/bin/python tools/model.py "$model" >&2
    hashes >"$made"
    echo "made $PWD/$model from Ultralytics' YOLOv5s v6.0 weights, licence AGPL-3.0" >&2
fi
echo "$PWD/$model"
