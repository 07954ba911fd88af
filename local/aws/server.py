"""A local AWS: moto's server on 127.0.0.1 with the rules that real AWS has and moto lacks (rules.py), seeded with what an
account of ours has before the first apply: the hosted zone and Canonical's image parameter.

usage: server.py [--port N] [--watch-stdin]

Prints one line, `ready http://127.0.0.1:PORT`, when it serves. With --watch-stdin it ends when its standard input ends, so
that a test that is killed leaves no server behind.
"""

import argparse
import functools
import os
import signal
import sys
import threading

# Known before moto is imported: moto reads its settings once.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("MOTO_ENABLE_AMI_VALIDATION", "true")
os.environ.setdefault("MOTO_ENABLE_KEYPAIR_VALIDATION", "true")
os.environ.setdefault("MOTO_ACCOUNT_ID", "123456789012")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402

import rules  # noqa: E402


class QuietHandler(WSGIRequestHandler):
    """Keeps connections open (HTTP/1.1) and logs only errors."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code="-", size="-"):
        if str(code).startswith("5"):
            super().log_request(code, size)


class Application(DomainDispatcherApplication):
    """Finds the service of a host once: moto lists its own folder and tries all patterns anew for every call."""

    @functools.lru_cache(maxsize=1000)
    def get_backend_for_host(self, host):
        return super().get_backend_for_host(host)


def serve(port, app):
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=QuietHandler)
    server.daemon_threads = True
    if WATCHES:
        threading.Thread(target=watch, daemon=True).start()
    return server


def watch():
    while os.read(0, 4096):
        pass
    os._exit(0)


# Whether to end with the standard input.
WATCHES = False


def main():
    global WATCHES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--watch-stdin", action="store_true")
    args = parser.parse_args()
    WATCHES = args.watch_stdin
    # Forks end by themselves, and nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    rules.install()
    app = rules.Control(Application(create_backend_app), serve)
    server = app.serve(args.port)
    rules.seed()
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)

    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
