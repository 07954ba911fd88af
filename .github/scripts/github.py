#!/usr/bin/env python3
"""What the workflows say on GitHub: one comment on a pull request, one issue about drift, and the digests that were reviewed.

usage: github.py comment FILE           puts the file on pull request PULL_REQUEST: one comment, updated in place
       github.py issue FILE EXIT_CODE SPEC   opens or updates the issue about drift, or closes it when all is well
       github.py reviewed               prints `--expect DIGEST` for each plan shown on the pull request of COMMIT

In the environment: GITHUB_API_URL and GITHUB_REPOSITORY (a job has them), GH_TOKEN. Nothing but the standard library.
"""

import datetime
import json
import os
import re
import sys
import urllib.request

BOT = "github-actions[bot]"
TITLE = "Drift: AWS is not as the specs say"
PLAN = "<!-- polybot-controller: plan -->"


def call(method, path, body=None):
    """One call; what it answers."""
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    headers = {"Authorization": f"Bearer {os.environ['GH_TOKEN']}", "Accept": "application/vnd.github+json",
               "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        return json.load(answer)


def pages(path):
    """Everything of a list."""
    page = 1
    while True:
        got = call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
        yield from got
        if len(got) < 100:
            return
        page += 1


def comments(request, marker):
    """The comments that this workflow's own account wrote and that begin with the marker. Nobody else's count."""
    for comment in pages(f"issues/{request}/comments"):
        if comment["user"]["login"] == BOT and comment["body"].startswith(marker):
            yield comment


def comment(file):
    text = open(file, encoding="utf-8").read()
    request = os.environ["PULL_REQUEST"]
    existing = next(comments(request, text.splitlines()[0]), None)
    if existing:
        call("PATCH", f"issues/comments/{existing['id']}", {"body": text})
    else:
        call("POST", f"issues/{request}/comments", {"body": text})


def forgotten(spec):
    """Whether the spec was changed over a day ago, so that nobody is about to apply what still waits for it."""
    last = call("GET", f"commits?path={spec}&per_page=1")
    then = datetime.datetime.fromisoformat(last[0]["commit"]["committer"]["date"].replace("Z", "+00:00"))
    return datetime.datetime.now(datetime.timezone.utc) - then > datetime.timedelta(days=1)


def issue(file, code, spec):
    found = next((i for i in pages("issues?state=open&labels=drift") if i["title"] == TITLE), None)
    # In sync, or about to be applied: nobody has to look. What waits for longer is an apply that failed, or what time has brought: a
    # certificate that has to be renewed.
    if code == "0" or (code == "2" and not forgotten(spec)):
        if found:
            call("POST", f"issues/{found['number']}/comments", {"body": "In sync again."})
            call("PATCH", f"issues/{found['number']}", {"state": "closed"})
        return
    text = open(file, encoding="utf-8").read()
    if found:
        call("PATCH", f"issues/{found['number']}", {"body": text})
    else:
        call("POST", "issues", {"title": TITLE, "labels": ["drift"], "body": text})


def reviewed():
    requests = call("GET", f"commits/{os.environ['COMMIT']}/pulls")
    shown = list(comments(requests[0]["number"], PLAN)) if requests else []
    digests = re.search(r"^<!-- digests: (.*) -->\r?$", shown[-1]["body"], re.MULTILINE) if shown else None
    # Where nothing was shown, only a plan that writes nothing may pass: no digest is this word.
    words = digests.group(1).split() if digests else []
    print(" ".join(f"--expect {word}" for word in words or ["nothing-was-reviewed"]))


if __name__ == "__main__":
    {"comment": comment, "issue": issue, "reviewed": reviewed}[sys.argv[1]](*sys.argv[2:])
