"""A user of the local Telegram, for the demo: sends photos with captions, waits for what comes back, and saves it.

usage: user.py TELEGRAM OUT PHOTO
"""

import json
import pathlib
import sys
import time
import urllib.request
import uuid

TELEGRAM, OUT, PHOTO = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
ADA = 7


def call(path, body=None, kind="application/json"):
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(f"{TELEGRAM}/_local/{path}", data, {"Content-Type": kind} if data else {})
    with urllib.request.urlopen(request, timeout=100) as answer:
        return json.load(answer)


def send(photos, caption):
    """Sends one photo, or several as an album; the ids of the messages."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="caption"\r\n\r\n{caption}\r\n'.encode()]
    for photo in photos:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{photo.name}"\r\n'
        parts.append(f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo.read_bytes() + b"\r\n")
    form = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return [m["message_id"] for m in call(f"users/{ADA}/photos", form, f"multipart/form-data; boundary={boundary}")]


def photo_after(message, patience=90):
    """The bot's newest photo after a message, also where a text has become one."""
    end = time.time() + patience
    while time.time() < end:
        for m in reversed(call(f"users/{ADA}")["messages"]):
            if m["message_id"] > message and m["from"]["is_bot"] and m.get("photo"):
                return m
        time.sleep(0.1)
    sys.exit(f"error: no photo came back within {patience} s; the chat: {TELEGRAM}/")


def save(message, name):
    path = OUT / name
    with urllib.request.urlopen(f"{TELEGRAM}/_local/files/{message['photo'][-1]['file_unique_id']}", timeout=30) as answer:
        path.write_bytes(answer.read())
    return path


call("users", {"id": ADA, "name": "Ada"})
for photos, caption, name in (
    ([PHOTO], "blur 8, rotate 90", "filtered.jpg"),
    ([PHOTO, PHOTO.with_name("chelsea.jpg")], "concat", "album.jpg"),
    ([PHOTO], "predict", "predicted.jpg"),
):
    begun = time.time()
    sent = send(photos, caption)
    came = photo_after(sent[-1])
    text = " / ".join((came.get("caption") or "").splitlines())
    print(f"{caption!r:22} {time.time() - begun:5.2f} s  {save(came, name)}  {text}", flush=True)
