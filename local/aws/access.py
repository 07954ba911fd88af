"""IAM for the services' own roles: who calls with the credentials of a role may do what the role's policies allow, and
nothing else. Callers with any other credentials (the controller, tests) may do everything.

`GET /_local/role/NAME` hands out credentials of a role, as an instance gets them from its profile.
"""

import fnmatch
import json
import re
import secrets
import urllib.parse

ISSUED = {}
"""Access key id -> role name."""

# REST calls of S3 by method, on an object and on a bucket.
OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "POST": "PutObject"}
BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket"}


def issue(role):
    """Credentials of a role."""
    key = "ASIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    ISSUED[key] = role
    return {"AccessKeyId": key, "SecretAccessKey": secrets.token_hex(20), "Token": secrets.token_hex(20)}


def refusal(account, environ, body):
    """Why this request is refused, or None."""
    credential = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    if not credential or credential.group(1) not in ISSUED:
        return None
    role, region, service = ISSUED[credential.group(1)], credential.group(2), credential.group(3)
    for action, resource in wanted(account, region, service, environ, body):
        if not allowed(account, role, action, resource):
            return (f"User: arn:aws:sts::{account}:assumed-role/{role}/i-0 is not authorized to perform: {action} on "
                    f"resource: {resource} because no identity-based policy allows the {action} action")
    return None


def may_list(account, environ):
    """Whether the caller may learn that an object does not exist. S3 answers 403 instead of 404 to who may not list."""
    credential = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    role = ISSUED.get(credential.group(1)) if credential else None
    bucket = environ.get("PATH_INFO", "/").lstrip("/").partition("/")[0]
    return role is None or allowed(account, role, "s3:ListBucket", f"arn:aws:s3:::{bucket}")


def wanted(account, region, service, environ, body):
    """The actions of a request and the resources they are on."""
    if service == "sts":
        return []
    if service == "s3":
        bucket, _, key = environ.get("PATH_INFO", "/").lstrip("/").partition("/")
        method = environ["REQUEST_METHOD"]
        if key:
            return [(f"s3:{OBJECT.get(method, method)}", f"arn:aws:s3:::{bucket}/{urllib.parse.unquote(key)}")]
        if method == "POST" and "delete" in environ.get("QUERY_STRING", ""):
            keys = re.findall(rb"<Key>([^<]+)</Key>", body)
            return [("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{k.decode()}") for k in keys]
        return [(f"s3:{BUCKET.get(method, method)}", f"arn:aws:s3:::{bucket}")]
    operation = environ.get("HTTP_X_AMZ_TARGET", "?").rsplit(".", 1)[-1]
    given = json.loads(body or b"{}")
    # Batches of a queue are the single action in IAM.
    action = f"{service}:{operation.removesuffix('Batch') if service == 'sqs' else operation}"
    arn = f"arn:aws:{service}:{region}:{account}:"
    if service == "sqs":
        name = given.get("QueueUrl", "").rsplit("/", 1)[-1] or given.get("QueueName", "*")
        return [(action, arn + name)]
    if service == "dynamodb":
        if operation == "TransactWriteItems":
            parts = [(verb, part["TableName"]) for item in given["TransactItems"] for verb, part in item.items()]
            names = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
            return [(f"dynamodb:{names[verb]}", f"{arn}table/{table}") for verb, table in parts]
        if "RequestItems" in given:
            return [(action, f"{arn}table/{table}") for table in given["RequestItems"]]
        index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
        return [(action, f"{arn}table/{given.get('TableName', '*')}{index}")]
    if service == "secretsmanager":
        return [(action, secret_arn(account, region, given.get("SecretId", "")) or arn + "secret:?")]
    if service == "ecr" and operation != "GetAuthorizationToken":
        return [(action, f"{arn}repository/{given.get('repositoryName', '*')}")]
    return [(action, "*")]


def secret_arn(account, region, name):
    """The whole ARN, with its six random characters, of a secret that is named in any way."""
    from moto.secretsmanager.models import secretsmanager_backends
    for secret in secretsmanager_backends[account][region].secrets.values():
        if name in (secret.name, secret.arn):
            return secret.arn
    return None


def allowed(account, role, action, resource):
    """Whether some statement of the role allows it and none denies it."""
    from moto.iam.models import iam_backends
    found = [r for r in iam_backends[account]["aws"].roles.values() if r.name == role]
    if not found:
        return False
    allow = False
    for document in found[0].policies.values():
        document = json.loads(urllib.parse.unquote(document)) if isinstance(document, str) else document
        for statement in listed(document["Statement"]):
            hit = (any(fnmatch.fnmatchcase(action.lower(), a.lower()) for a in listed(statement["Action"]))
                   and any(fnmatch.fnmatchcase(resource, r) for r in listed(statement["Resource"])))
            if hit and statement["Effect"] == "Deny":
                return False
            allow = allow or hit
    return allow


def listed(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]
