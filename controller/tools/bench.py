"""The controller against a local AWS that takes 50 ms longer for every call: time, processor time, memory, calls by service; for
one stack, and for several in one region.

usage: bench.py CONTROLLER LOCAL_AWS LOCAL_TELEGRAM [--stacks 1,10,100] [--delay 0.05]

Prints tables and one line of JSON. Wall times include the stand-in's own work, which is told beside them: it is one Python
process that answers one call at a time.
"""

import argparse
import atexit
import collections
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

# What Terraform 1.11 with its AWS provider took for the same stack, at the same delay, when it was last measured.
TERRAFORM = {"asOf": "2026-11", "planSeconds": 21, "planCalls": 119, "planMegabytes": 500, "applyCalls": 274}
TOKEN = "123456:not-a-real-token-of-any-bot-000000"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/bench@sha256:" + "0" * 64
SPEC = """apiVersion: polybot.dev/v1alpha1
kind: PolybotStack
metadata: {{ name: bench{n} }}
spec:
  prefix: talo
  environment: b{n}
  region: us-east-1
  domain: {{ hostedZone: int-devops.click, name: b{n}.int-devops.click }}
  telegram:
    apiUrl: {telegram}
    webhook: {{ ipAddress: 127.0.0.1 }}
  polybot: {{ image: {{ uri: "{image}" }} }}
  yolo5: {{ image: {{ uri: "{image}" }}, replicas: {{ min: 1, max: 3 }}, scaling: {{ cpu: {{ target: 20 }} }} }}
  notifications: [{{ email: ops@example.com }}]
"""


class Aws:
    """The local AWS and its control routes."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
        # However this ends: an interrupt lets it end its own server.
        atexit.register(self.process.send_signal, signal.SIGINT)
        self.env = {}
        while "AWS_EC2_METADATA_DISABLED" not in self.env:
            name, value = self.process.stdout.readline().removeprefix("export ").strip().split("=", 1)
            self.env[name] = value

    def ask(self, route, body=None):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.env['AWS_ENDPOINT_URL']}/_local/{route}", data)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def delay(self, seconds):
        self.ask("switch", {"delay": seconds})

    def calls(self):
        """Calls since this was last asked, by service, and how many of them write."""
        calls = self.ask("calls")
        services = collections.Counter(call.split(":")[0] for call in calls)
        writes = sum(not re.match("Describe|List|Get|GET|HEAD", call.split(":")[1]) for call in calls)
        return dict(services.most_common()), writes


def run(program, aws, *args, expect=(0,)):
    """One run of the controller: seconds of wall and processor time, peak memory, and the calls it made."""
    aws.calls()
    with tempfile.TemporaryFile() as out:
        begun = time.perf_counter()
        process = subprocess.Popen([program, *args], stdout=out, stderr=out,
                                   env={**os.environ, **aws.env, "TELEGRAM_TOKEN": TOKEN})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        code = os.waitstatus_to_exitcode(status)
        if code not in expect:
            out.seek(0)
            raise SystemExit(f"{' '.join(map(str, args))} ended with {code}:\n{out.read().decode()}")
    services, writes = aws.calls()
    return {"wall": round(wall, 3), "cpu": round(usage.ru_utime + usage.ru_stime, 3),
            "megabytes": round(usage.ru_maxrss / 1024), "calls": sum(services.values()), "writes": writes,
            "services": services}


def middle(runs):
    return sorted(runs, key=lambda r: r["wall"])[len(runs) // 2]


def row(what, r, stacks=1):
    each = f"{r['calls'] / stacks:8.1f} {r['cpu'] / stacks * 1000:9.0f} {r['megabytes'] / stacks:9.1f}"
    print(f"{what:34} {r['wall']:7.2f} {r['cpu']:7.2f} {r['megabytes']:6} {r['calls']:7} {r['writes']:7} {each}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("controller")
    parser.add_argument("local_aws")
    parser.add_argument("local_telegram")
    parser.add_argument("--stacks", default="1,10")
    parser.add_argument("--delay", type=float, default=0.05)
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    counts = [int(n) for n in args.stacks.split(",")]

    telegram = subprocess.Popen([args.local_telegram, "--listen", "127.0.0.1:0", "--token", TOKEN], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
    atexit.register(telegram.terminate)
    url = telegram.stdout.readline().split("=", 1)[1].strip()
    aws = Aws(args.local_aws)
    result = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", "delay": args.delay,
              "terraform": TERRAFORM}
    print(f"every call takes {args.delay * 1000:.0f} ms longer; load of the machine {os.getloadavg()[0]:.1f}")
    print(f"{'':34} {'wall s':>7} {'cpu s':>7} {'MB':>6} {'calls':>7} {'writes':>7} {'calls/1':>8} {'cpu ms/1':>9} {'MB/1':>9}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def spec(n, api):
            path = folder / f"{n}.yaml"
            path.write_text(SPEC.format(n=n, telegram=api, image=IMAGE))
            return path

        first = spec(0, url)
        aws.delay(args.delay)
        result["converge"] = run(args.controller, aws, "apply", "--yes", "--poll", "100ms", "-f", first)
        row("apply, from nothing to converged", result["converge"])
        result["plan"] = middle([run(args.controller, aws, "plan", "-f", first) for _ in range(5)])
        row("plan of it, median of 5", result["plan"])
        aws.delay(0)
        result["planWithoutDelay"] = middle([run(args.controller, aws, "plan", "-f", first) for _ in range(5)])
        row("the same without the delay", result["planWithoutDelay"])
        print("   " + ", ".join(f"{service} {n}" for service, n in result["plan"]["services"].items()))

        result["stacks"] = {}
        made = 1
        for count in counts:
            for n in range(made, count):
                # One webhook is for one bot: the others have a Telegram that cannot be reached, and wait for it.
                # Some settings of a new table are for a second pass.
                one = spec(n, "http://127.0.0.1:9")
                for _ in range(2):
                    run(args.controller, aws, "apply", "--yes", "--once", "-f", one, expect=(0, 2))
            made = max(made, count)
            while unsettled(args.controller, aws, folder):
                run(args.controller, aws, "apply", "--yes", "--once", "-f", folder, expect=(0, 1, 2))
            aws.delay(args.delay)
            result["stacks"][count] = run(args.controller, aws, "plan", "-f", folder)
            aws.delay(0)
            row(f"plan of {count} stacks in one region", result["stacks"][count], count)
    t = TERRAFORM
    print(f"Terraform, measured {t['asOf']} on the same stack: plan {t['planSeconds']} s, {t['planCalls']} calls, "
          f"{t['planMegabytes']} MB; apply {t['applyCalls']} calls")
    print(json.dumps(result))


def unsettled(program, aws, folder):
    """Whether a plan of the whole folder still has something to write, or could not read everything (one slow server)."""
    env = {**os.environ, **aws.env, "TELEGRAM_TOKEN": TOKEN}
    return subprocess.run([program, "plan", "-f", folder], env=env, capture_output=True).returncode != 0


if __name__ == "__main__":
    main()
