"""A local AWS: moto's server on 127.0.0.1 with the rules that real AWS has and moto lacks (rules.py), seeded with what an
account of ours has before the first apply: the hosted zone and Canonical's image parameter.

usage: server.py [--port N] [--watch-stdin]

Prints one line, `ready http://127.0.0.1:PORT`, when it serves. With --watch-stdin it ends when its standard input ends, so
that a test that is killed leaves no server behind.
"""

import argparse
import os
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--watch-stdin", action="store_true")
    args = parser.parse_args()

    rules.install()
    app = rules.Control(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", args.port, app, threaded=True, request_handler=QuietHandler)
    server.daemon_threads = True
    rules.seed()
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)

    if args.watch_stdin:
        def watch():
            while sys.stdin.buffer.read(4096):
                pass
            os._exit(0)
        threading.Thread(target=watch, daemon=True).start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
