"""The instance metadata service (IMDSv2), for processes that stand for instances of the local AWS. Each instance has its own under
`/_local/imds/INSTANCE`: that is what such a process gets as AWS_EC2_METADATA_SERVICE_ENDPOINT. Only what our services ask for is
there; anything else is 404, as metadata that does not exist.
"""

import json
import secrets

ASKED = set()
"""Instances that somebody stands for: those whose metadata has been asked for."""
TOKENS = set()
TTL = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
"""How long a token is good for: a header of every answer, which the SDKs insist on."""


def serve(account, path, environ, interrupted):
    """Status and text of the answer to a request; `path` is what follows `/_local/imds/`."""
    instance, _, path = path.partition("/latest/")
    ASKED.add(instance)
    if path == "api/token":
        if environ["REQUEST_METHOD"] != "PUT":
            return "405 Method Not Allowed", ""
        token = secrets.token_urlsafe(16)
        TOKENS.add(token)
        return "200 OK", token
    # Version 1, without a token, is turned off on our instances.
    if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") not in TOKENS:
        return "401 Unauthorized", ""
    state = state_of(account, instance)
    facts = {"meta-data/instance-id": instance, "meta-data/autoscaling/target-lifecycle-state": state}
    if instance in interrupted:
        facts["meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": "2026-01-01T00:02:00Z"})
    text = facts.get(path)
    return ("200 OK", text) if text else ("404 Not Found", "")


def state_of(account, instance):
    """Where the group of an instance wants it to end up; None outside of a group."""
    from moto.autoscaling.models import autoscaling_backends
    for backend in autoscaling_backends[account].values():
        for group in backend.autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance.id == instance:
                    return "Terminated" if state.lifecycle_state.startswith("Terminating") else "InService"
    return None
