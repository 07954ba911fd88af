"""IAM for the services' own roles: who calls with the credentials of a role may do what the role's policies allow, and
nothing else. Callers with any other credentials (tests) may do everything. A resource of None is any: what is listed, and the
little whose resource a request does not tell. Of conditions those are looked at that are on a resource's tags, on the prefix of
a list of objects, and on the keys of a batch of items.

`GET /_local/role/NAME` hands out credentials of a role, as an instance gets them from its profile. `GET /_local/asked` tells
which actions each role has used, and which it was refused.
"""

import fnmatch
import json
import re
import secrets
import urllib.parse

ISSUED = {}
"""Access key id -> role name."""
ASKED = {"allowed": {}, "refused": {}}
"""Role name -> the actions that it has used, or was refused."""

# REST calls of S3 by method, on an object and on a bucket.
OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "POST": "PutObject"}
BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
# The parts of a bucket, by the parameter that names them: what reading and writing them is called.
PARTS = {"policy": "BucketPolicy", "encryption": "EncryptionConfiguration", "lifecycle": "LifecycleConfiguration",
         "ownershipControls": "BucketOwnershipControls", "publicAccessBlock": "BucketPublicAccessBlock",
         "tagging": "BucketTagging", "versioning": "BucketVersioning"}
LISTS = {"versions": "ListBucketVersions", "uploads": "ListBucketMultipartUploads"}


def issue(role):
    """Credentials of a role."""
    key = "ASIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    ISSUED[key] = role
    return {"AccessKeyId": key, "SecretAccessKey": secrets.token_hex(20), "Token": secrets.token_hex(20)}


def role_of(environ):
    """The role whose credentials sign a request, if it is one."""
    credential = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return ISSUED.get(credential.group(1)) if credential else None


def refusal(account, environ, body):
    """Why this request is refused, or None."""
    credential = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    if not credential or credential.group(1) not in ISSUED:
        return None
    role, region, service = ISSUED[credential.group(1)], credential.group(2), credential.group(3)
    for action, resource in wanted(account, region, service, environ, body):
        may = allowed(account, role, action, resource, facts(account, region, environ, body, action, resource))
        note(role, action, may)
        if not may:
            return (f"User: arn:aws:sts::{account}:assumed-role/{role}/i-0 is not authorized to perform: {action} on "
                    f"resource: {resource} because no identity-based policy allows the {action} action")
    return None


def may_list(account, environ):
    """Whether the caller may learn that an object does not exist. S3 answers 403 instead of 404 to who may not list."""
    role = role_of(environ)
    bucket, _, key = environ.get("PATH_INFO", "/").lstrip("/").partition("/")
    if role is None or not key:
        return True
    may = allowed(account, role, "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    note(role, "s3:ListBucket", may)
    return may


def note(role, action, may):
    """Keeps what was asked."""
    ASKED["allowed" if may else "refused"].setdefault(role, set()).add(action)


def wanted(account, region, service, environ, body):
    """The actions of a request and the resources they are on."""
    if service == "sts":
        return []
    # CloudWatch signs with a name of its own.
    service = "cloudwatch" if service == "monitoring" else service
    if service == "s3":
        bucket, _, key = environ.get("PATH_INFO", "/").lstrip("/").partition("/")
        method = environ["REQUEST_METHOD"]
        if key:
            # A version that is named has actions of its own.
            named = method in ("GET", "HEAD", "DELETE") and "versionId=" in environ.get("QUERY_STRING", "")
            action = OBJECT.get(method, method) + ("Version" if named else "")
            return [(f"s3:{action}", f"arn:aws:s3:::{bucket}/{urllib.parse.unquote(key)}")]
        if method == "POST" and "delete" in environ.get("QUERY_STRING", ""):
            # A version that is named has an action of its own here, too.
            objects = re.findall(rb"<Object>(.*?)</Object>", body, re.DOTALL)
            named = [(re.search(rb"<Key>([^<]+)</Key>", one), b"<VersionId>" in one) for one in objects]
            return [(f"s3:DeleteObject{'Version' if version else ''}", f"arn:aws:s3:::{bucket}/{key.group(1).decode()}")
                    for key, version in named]
        asked = set(urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        for part in asked & set(PARTS):
            verb = {"GET": "Get", "PUT": "Put", "DELETE": "Put"}[method]
            return [(f"s3:{verb}{PARTS[part]}", f"arn:aws:s3:::{bucket}")]
        for part in asked & set(LISTS):
            return [(f"s3:{LISTS[part]}", f"arn:aws:s3:::{bucket}")]
        return [(f"s3:{BUCKET.get(method, method)}", f"arn:aws:s3:::{bucket}")]
    if service == "route53":
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if "hostedzonesbyname" in path:
            return [("route53:ListHostedZonesByName", None)]
        return [("route53:ListResourceRecordSets" if method == "GET" else "route53:ChangeResourceRecordSets", None)]
    if "HTTP_X_AMZ_TARGET" not in environ:
        form = {key: values[0] for key, values in urllib.parse.parse_qs(body.decode()).items()}
        return queried(account, region, service, form)
    operation = environ["HTTP_X_AMZ_TARGET"].rsplit(".", 1)[-1]
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
    if service == "logs":
        group = given.get("logGroupName") or given.get("resourceArn", "").rpartition("log-group:")[2] or "*"
        return [(action, f"{arn}log-group:{group}")]
    if service == "secretsmanager":
        return [(action, secret_arn(account, region, given))]
    if service == "ecr" and operation != "GetAuthorizationToken":
        return [(action, f"{arn}repository/{given.get('repositoryName', '*')}")]
    if service == "ssm":
        return [(action, f"arn:aws:ssm:{region}::parameter{given.get('Name', '')}")]
    if service == "cloudwatch" and not operation.startswith(("Describe", "List")):
        names = given.get("AlarmNames") or [given.get("AlarmName", "")]
        return [(action, given.get("ResourceARN") or f"{arn}alarm:{name}") for name in names]
    if service == "acm" and not operation.startswith("List"):
        return [(action, given.get("CertificateArn") or f"{arn}certificate/new")]
    return [(action, "*" if service == "ecr" else None)]


# What the ids of EC2 begin with, and what their ARNs call them.
EC2 = {"vpc": "vpc", "subnet": "subnet", "sg": "security-group", "sgr": "security-group-rule", "rtb": "route-table",
       "igw": "internet-gateway", "lt": "launch-template", "key": "key-pair"}
# The parameters that say what a call of EC2 is on; a group within a rule, say, is none.
ON = re.compile(r"(Vpc|Subnet|Group|SecurityGroupRule|RouteTable|InternetGateway|LaunchTemplate|KeyPair)Id(\.\d+)?|ResourceId\.\d+")


def queried(account, region, service, form):
    """The actions of a service that is asked by form fields, and the resources they are on. Who puts a role into an instance
    profile hands it on to EC2."""
    operation = form["Action"]
    action = f"{service}:{operation}"
    arn = f"arn:aws:{service}:{region}:{account}:"
    if operation.startswith(("Describe", "List", "Get")):
        return [(action, None)]
    if service == "ec2":
        ids = [value for key, value in form.items() if ON.fullmatch(key)]
        on = [f"{arn}{EC2.get(one.split('-')[0], 'other')}/{one}" for one in ids]
        if operation.startswith("Authorize"):
            # The rule that is to come, too, and it has no tags yet.
            on.append(f"{arn}security-group-rule/new")
        return [(action, one) for one in on] or [(action, None)]
    if service == "elasticloadbalancing":
        new = {"CreateLoadBalancer": "loadbalancer/app/", "CreateTargetGroup": "targetgroup/"}
        if operation in new:
            return [(action, f"{arn}{new[operation]}{form['Name']}/0")]
        on = [form[key] for key in ("ListenerArn", "RuleArn", "LoadBalancerArn", "TargetGroupArn", "ResourceArns.member.1") if key in form]
        return [(action, on[0] if on else None)]
    if service == "autoscaling":
        group = form.get("AutoScalingGroupName") or form.get("Tags.member.1.ResourceId")
        return [(action, f"{arn}autoScalingGroup:0:autoScalingGroupName/{group}")]
    if service == "sns":
        on = form.get("TopicArn") or form.get("ResourceArn") or form.get("SubscriptionArn") or f"{arn}{form.get('Name')}"
        return [(action, on)]
    if service == "iam":
        return in_iam(account, operation, form)
    return [(action, None)]


def in_iam(account, operation, form):
    """The same for IAM, whose ARNs have the path of what is there."""
    from moto.iam.models import iam_backends
    backend = iam_backends[account]["aws"]

    def arn(kind, there, name):
        found = next((one.arn for one in list(there.values()) if one.name == name), None)
        return found or f"arn:aws:iam::{account}:{kind}{form.get('Path', '/')}{name}"
    action = f"iam:{operation}"
    role = arn("role", backend.roles, form["RoleName"]) if "RoleName" in form else None
    if "InstanceProfileName" not in form:
        return [(action, role)]
    asked = [(action, arn("instance-profile", backend.instance_profiles, form["InstanceProfileName"]))]
    return asked + [("iam:PassRole", role)] if operation == "AddRoleToInstanceProfile" else asked


def facts(account, region, environ, body, action, resource):
    """What conditions may ask about a request, as lists of values: the tags of a resource of EC2, the prefix of a list of objects,
    the partition keys of a batch of items."""
    from moto.dynamodb.models import dynamodb_backends
    from moto.ec2.models import ec2_backends
    known = {}
    if resource and resource.startswith("arn:aws:ec2:"):
        tags = ec2_backends[account][region].tags.get(resource.rsplit("/", 1)[-1], {})
        known.update({f"aws:ResourceTag/{key}": [value] for key, value in tags.items()})
    if action.startswith("s3:List"):
        known["s3:prefix"] = urllib.parse.parse_qs(environ.get("QUERY_STRING", "")).get("prefix", [""])
    if action == "dynamodb:BatchWriteItem":
        name = resource.rsplit("/", 1)[-1]
        table = dynamodb_backends[account][region].tables.get(name)
        asked = [part for one in json.loads(body)["RequestItems"][name] for part in one.values()]
        items = [part.get("Key") or part.get("Item") for part in asked]
        known["dynamodb:LeadingKeys"] = [next(iter(item[table.hash_key_attr].values())) for item in items] if table else []
    return known


def secret_arn(account, region, given):
    """The whole ARN, with its six random characters, of a secret that is named in any way, or is not there."""
    from moto.secretsmanager.models import secretsmanager_backends
    name = given.get("SecretId") or given.get("Name", "")
    for secret in secretsmanager_backends[account][region].secrets.values():
        if name in (secret.name, secret.arn):
            return secret.arn
    return name if name.startswith("arn:") else f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-000000"


def allowed(account, role, action, resource, known=None):
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
                   and (resource is None or any(fnmatch.fnmatchcase(resource, r) for r in listed(statement["Resource"])))
                   and (resource is None or known is None or holds(statement, known)))
            if hit and statement["Effect"] == "Deny":
                return False
            allow = allow or hit
    return allow


# What the conditions begin with that are looked at.
LOOKED_AT = ("aws:ResourceTag/", "s3:prefix", "dynamodb:LeadingKeys")


def holds(statement, known):
    """Whether those of a statement's conditions hold that are looked at."""
    for operator, wished in statement.get("Condition", {}).items():
        for key, patterns in wished.items():
            if not key.startswith(LOOKED_AT):
                continue
            like = fnmatch.fnmatchcase if operator.endswith("StringLike") else lambda value, pattern: value == pattern
            fits = [any(like(value, pattern) for pattern in listed(patterns)) for value in known.get(key, [])]
            if not (all(fits) if operator.startswith("ForAllValues:") else any(fits)):
                return False
    return True


def listed(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]
