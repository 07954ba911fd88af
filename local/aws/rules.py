"""What real AWS does and moto does not. Each patch names the rule it stands for; each has a test in local/tests/."""

import copy
import fnmatch
import functools
import inspect
import io
import json
import os
import re
import select
import sys
import threading
import time
import urllib.parse
from socket import MSG_PEEK

import access
import flask
import imds
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult

ACCOUNT = "123456789012"
ZONE = "int-devops.click"
UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"

READS = re.compile("Describe|List|Get|GET|HEAD")
# Data events, which no trail keeps by default.
DATA = re.compile("(Message|MessageBatch|Visibility|Item)$")

# Switches, set over `POST /_local/switch {"name": value}`.
SWITCHES = {
    # Logical seconds in a real one for scaling groups (fleets.py); 0 stops them until somebody advances the clock.
    "clock_rate": 600.0,
    # Seconds after which Python lets another thread go on. Next to nothing shows what two calls at once do to each other.
    "thread_switch": 0.005,
    # Logical seconds until an instance is healthy, and until one that is not is given up (AWS: about an hour).
    "boot_seconds": 60.0,
    "health_patience": 600.0,
    # Launch-template versions (numbers) whose instances never get healthy, as a load balancer or a worker on them would tell.
    "unhealthy_versions": [],
    # Whether launch hooks are answered by processes that stand for the instances, and not by this server.
    "real_workers": False,
    # Whether target tracking moves the size of groups.
    "tracking": False,
    # Seconds after the deletion of a queue in which its name cannot be used again (AWS: 60).
    "queue_cooldown": 0.0,
    # The n-th write call from now is held for ever: before AWS acts on it, or after, when only the answer is missing.
    # `GET /_local/held` answers when that has happened.
    "hold_before": 0,
    "hold_after": 0,
    # The n-th write call from now is answered, and `held` tells of it.
    "tell_after": 0,
    # The same for the next call of a name, whether it writes or reads: `s3:GET`.
    "hold_before_call": "",
    "hold_after_call": "",
    "tell_after_call": "",
    # `service:Operation` or `service:*` of calls that are refused with AccessDenied.
    "deny": [],
    # The same with an error code of one's choice: {"sts:*": "ExpiredToken"}.
    "refuse": {},
    # Seconds that every call takes longer.
    "delay": 0.0,
    # Seconds until EC2 knows of a new instance profile.
    "profile_delay": 0.0,
    # Availability zones that fail, so that no list of available ones has them.
    "failed_zones": [],
    # Whether nobody has confirmed the e-mails of subscriptions.
    "unconfirmed": False,
    # Ids of spot instances that EC2 takes back in two minutes, as their metadata tells.
    "spot_interrupted": [],
}


class Refusal(ServiceException):
    """An error of any service, with its code and message."""

    def __init__(self, code, message):
        self.code = code
        super().__init__(message)


def wrap(owner, name):
    """Replaces a function by one that gets the original as its first argument."""
    def decorate(new):
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            return new(original, *args, **kwargs)
        setattr(owner, name, wrapped)
        return new
    return decorate


def install():
    import fleets
    for patch in (dynamodb, s3, iam, sts, ec2, autoscaling, fleets.install, elb, acm, route53, secrets, ecr, sqs, sns,
                  launch_templates):
        patch()


def ec2_refusal(code, message):
    from moto.ec2.exceptions import EC2ClientError
    return EC2ClientError(code, message)


def dynamodb():
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler

    # A write of an item is whole or not at all, and its condition holds while it is made. moto reads, checks and writes in
    # steps that other threads come between: two first writes of one item lost one of them.
    alone = threading.RLock()

    @wrap(DynamoHandler, "call_action")
    def call_action(original, self):
        with alone:
            return original(self)

    # ListTables goes in alphabetical order and may start at a name that does not exist.
    @wrap(DynamoDBBackend, "list_tables")
    def list_tables(_, self, limit, exclusive_start_table_name):
        names = sorted(n for n in self.tables if n > (exclusive_start_table_name or ""))
        page = names[: limit or 100]
        return page, page[-1] if len(names) > len(page) else None

    # DescribeTable of a protected table refuses to be deleted (moto has this); an index is made or dropped one at a time, and has a
    # throughput where its table has one.
    @wrap(DynamoDBBackend, "update_table")
    def update_table(original, self, name, attr_definitions, global_index, throughput, billing_mode, *args, **kwargs):
        updated = [change["Update"]["IndexName"] for change in global_index or [] if "Update" in change]
        if len(global_index or []) - len(updated) > 1:
            raise Refusal("LimitExceededException", "Only 1 online index can be created or deleted simultaneously per table")
        without = [index.name for index in self.get_table(name).global_indexes if index.name not in updated]
        if billing_mode == "PROVISIONED" and without:
            raise Refusal("ValidationException", "One or more parameter values were invalid: ProvisionedThroughput must be specified "
                          f"for index: {without[0]}")
        return original(self, name, attr_definitions, global_index, throughput, billing_mode, *args, **kwargs)


def s3():
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket
    from moto.s3.responses import S3Response

    # The answer's root element is VersioningConfiguration, which strict clients insist on.
    def get_bucket_versioning(self):
        status = self.backend.get_bucket_versioning(self.bucket_name)
        inner = f"<Status>{status}</Status>" if status else ""
        xmlns = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return 200, {"Content-Type": "application/xml"}, f"<VersioningConfiguration {xmlns}>{inner}</VersioningConfiguration>"
    S3Response.get_bucket_versioning = get_bucket_versioning

    # A statement that holds only without TLS says nothing here: there is no TLS between this process and itself. moto reads
    # statements without their conditions.
    @wrap(FakeBucket, "get_permission")
    def get_permission(original, self, action, resource):
        policy = self.policy
        if policy is None:
            return original(self, action, resource)
        document = json.loads(policy)
        plain = [s for s in document.get("Statement", []) if "aws:SecureTransport" not in json.dumps(s.get("Condition", {}))]
        if not plain:
            return PermissionResult.NEUTRAL
        self.policy = json.dumps({**document, "Statement": plain}).encode()
        try:
            return original(self, action, resource)
        finally:
            self.policy = policy


def iam():
    from moto.iam.models import IAMBackend
    from moto.iam.responses import IamResponse

    def tag_instance_profile(self):
        profile = self.backend.get_instance_profile(self._get_param("InstanceProfileName"))
        tags = {t["Key"]: t for t in profile.tags}
        tags.update({t["Key"]: t for t in self._get_param("Tags", [])})
        profile.tags = list(tags.values())
        return EmptyResult()
    IamResponse.tag_instance_profile = tag_instance_profile

    # Names over AWS's limits.
    @wrap(IAMBackend, "create_role")
    def create_role(original, self, role_name, *args, **kwargs):
        if len(role_name) > 64:
            raise Refusal("ValidationError", f"1 validation error detected: Value '{role_name}' at 'roleName' failed to "
                          "satisfy constraint: Member must have length less than or equal to 64")
        return original(self, role_name, *args, **kwargs)


    @wrap(IAMBackend, "create_instance_profile")
    def create_instance_profile(original, self, name, *args, **kwargs):
        if len(name) > 128:
            raise Refusal("ValidationError", f"Value '{name}' at 'instanceProfileName' failed to satisfy constraint")
        profile = original(self, name, *args, **kwargs)
        profile.made = time.time()
        return profile

    # The list of profiles is by path, as that of roles.
    def list_instance_profiles(self):
        prefix = self._get_param("PathPrefix") or "/"
        profiles = [p for p in self.backend.get_instance_profiles() if p.path.startswith(prefix)]
        return ActionResult({"InstanceProfiles": profiles, "IsTruncated": False})
    IamResponse.list_instance_profiles = list_instance_profiles


def sts():
    from moto.iam.models import iam_backends
    from moto.sts.models import STSBackend

    # A role whose trust asks for an external id is taken only with that. moto lets anybody take any role, known or not.
    @wrap(STSBackend, "assume_role")
    def assume_role(original, self, **asked):
        arn, word = asked["role_arn"], asked["external_id"]
        roles = [r for r in list(iam_backends[arn.split(":")[4]]["aws"].roles.values()) if r.arn == arn]
        statements = [s for r in roles for s in access.listed(json.loads(r.assume_role_policy_document).get("Statement", []))]
        wanted = [s.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId") for s in statements]
        if wanted and not any(words is None or word in access.listed(words) for words in wanted):
            raise Refusal("AccessDenied", f"User: arn:aws:iam::{self.account_id}:user/moto is not authorized to perform: "
                          f"sts:AssumeRole on resource: {arn}")
        return original(self, **asked)


def in_use(backend, what, of):
    """Ids of instances and load balancers that hold `what` (a function from an instance or balancer to its holdings)."""
    from moto.elbv2.models import elbv2_backends
    holders = []
    for reservation in backend.reservations.values():
        for i in reservation.instances:
            if i.state != "terminated" and of in what(i):
                holders.append(i.id)
    for balancer in elbv2_backends[backend.account_id][backend.region_name].load_balancers.values():
        if of in what(balancer):
            holders.append(balancer.name)
    return holders


def ec2():
    from moto.ec2.models import EC2Backend
    from moto.ec2.models.core import TaggedEC2Resource
    from moto.ec2.models.security_groups import SecurityGroupRule
    from moto.ec2.responses.security_groups import SecurityGroups
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

    # No rule, but time: moto looks through the tags of everything for those of each thing that a list tells.
    @wrap(TaggedEC2Resource, "get_tags")
    def tags_of(original, self):
        # A copy, for another call may write them meanwhile.
        tags = dict(self.ec2_backend.tags.get(self.id, {})) if self.id else {}
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "") if tags else ""
        return [{"resource_id": self.id, "key": key, "value": value, "resource_type": kind} for key, value in tags.items()]

    @wrap(EC2Backend, "describe_availability_zones")
    def zones(original, self, *args, **kwargs):
        return [z for z in original(self, *args, **kwargs) if z.name not in SWITCHES["failed_zones"]]

    # Deleting what something still uses is refused with DependencyViolation.
    def subnets_of(thing):
        if hasattr(thing, "subnets"):
            return [getattr(s, "id", s) for s in thing.subnets]
        return [getattr(thing, "subnet_id", None)]

    @wrap(EC2Backend, "delete_subnet")
    def delete_subnet(original, self, subnet_id):
        holders = in_use(self, subnets_of, subnet_id)
        if holders:
            raise ec2_refusal("DependencyViolation",
                              f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return original(self, subnet_id)

    def groups_of(thing):
        return [getattr(g, "id", g) for g in getattr(thing, "security_groups", None) or []]

    @wrap(EC2Backend, "delete_security_group")
    def delete_security_group(original, self, name=None, group_id=None):
        group = self.get_security_group_from_id(group_id) if group_id else None
        if group:
            others = [g for groups in self.groups.values() for g in groups.values() if g.id != group_id]
            cited = any(str(group_id) in json.dumps(r.source_group, default=str)
                        for g in others for r in [*g.ingress_rules, *g.egress_rules])
            if cited or in_use(self, groups_of, group_id):
                raise ec2_refusal("DependencyViolation", f"resource {group_id} has a dependent object")
        return original(self, name, group_id)

    @wrap(EC2Backend, "delete_vpc")
    def delete_vpc(original, self, vpc_id):
        gateways = [g for g in self.internet_gateways.values() if g.vpc and g.vpc.id == vpc_id]
        groups = [g for g in self.groups.get(vpc_id, {}).values() if g.name != "default"]
        tables = [t for t in self.route_tables.values() if t.vpc_id == vpc_id and not is_main(t)]
        if gateways or groups or tables:
            raise ec2_refusal("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return original(self, vpc_id)

    def is_main(table):
        return getattr(table, "main_association_id", None) is not None

    # The same client token makes the same instances, once.
    @wrap(EC2Backend, "run_instances")
    def run_instances(original, self, *args, **kwargs):
        token = kwargs.get("client_token")
        made = self.__dict__.setdefault("by_token", {})
        # moto stands "ABCDE" for no token.
        if token in (None, "ABCDE"):
            return original(self, *args, **kwargs)
        if token not in made:
            made[token] = original(self, *args, **kwargs)
        return made[token]

    # A gateway cannot be detached while something in the VPC has a public address.
    @wrap(EC2Backend, "detach_internet_gateway")
    def detach_internet_gateway(original, self, internet_gateway_id, vpc_id):
        from moto.elbv2.models import elbv2_backends
        balancers = elbv2_backends[self.account_id][self.region_name].load_balancers.values()
        if any(b.vpc_id == vpc_id and b.scheme == "internet-facing" for b in balancers):
            raise ec2_refusal("DependencyViolation",
                              f"Network {vpc_id} has some mapped public address(es). Please unmap those public "
                              "address(es) before detaching the gateway.")
        return original(self, internet_gateway_id, vpc_id)

    # A VPC has one gateway.
    @wrap(EC2Backend, "attach_internet_gateway")
    def attach_internet_gateway(original, self, internet_gateway_id, vpc_id):
        if any(g.vpc and g.vpc.id == vpc_id for g in self.internet_gateways.values() if g.id != internet_gateway_id):
            raise ec2_refusal("InvalidParameterValue", f"Network {vpc_id} already has an internet gateway attached")
        return original(self, internet_gateway_id, vpc_id)

    # A rule whose peer is a group has a description of its own, which is no part of its identity.
    original_init = SecurityGroupRule.__init__

    def init(self, *args, **kwargs):
        original_init(self, *args, **kwargs)
        peer = dict(self.source_group)
        self.described = peer.pop("Description", None) or self.ip_range.get("Description")
        self.source_group = peer
    SecurityGroupRule.__init__ = init
    SecurityGroupRule.description = property(lambda self: self.described)

    def describe(self, egress):
        group = self.ec2_backend.get_security_group_from_id(self._get_param("GroupId"))
        rules = group.egress_rules if egress else group.ingress_rules
        for wish in self._get_param("SecurityGroupRuleDescriptions", []):
            for rule in rules:
                if rule.id == wish["SecurityGroupRuleId"]:
                    rule.described = wish.get("Description")
        return ActionResult({"Return": True})
    SecurityGroups.update_security_group_rule_descriptions_ingress = lambda self: describe(self, False)
    SecurityGroups.update_security_group_rule_descriptions_egress = lambda self: describe(self, True)


def sns():
    from moto.sns.models import SNSBackend

    # Until an e-mail is confirmed, its subscription has no ARN, by which it could be ended.
    @wrap(SNSBackend, "list_subscriptions_by_topic")
    def list_subscriptions_by_topic(original, self, *args, **kwargs):
        subscriptions, token = original(self, *args, **kwargs)
        if SWITCHES["unconfirmed"]:
            subscriptions = [copy.copy(subscription) for subscription in subscriptions]
            for subscription in subscriptions:
                subscription.arn = "PendingConfirmation"
        return subscriptions, token


def launch_templates():
    from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
    from moto.ec2.responses.launch_templates import LaunchTemplates

    # Names: 3 to 128 characters.
    from moto.ec2.models import EC2Backend

    @wrap(EC2Backend, "create_launch_template")
    def create_launch_template(original, self, name, *args, **kwargs):
        if not 3 <= len(name) <= 128:
            raise ec2_refusal("InvalidLaunchTemplateName.MalformedException", "Launch template names must be between 3 and "
                              "128 characters")
        return original(self, name, *args, **kwargs)

    # Numbers are never used again, and a version that was deleted is gone.
    original_init = LaunchTemplate.__init__

    def init(self, *args, **kwargs):
        self.counter = 0
        original_init(self, *args, **kwargs)
    LaunchTemplate.__init__ = init
    # Tags set later are tags too; moto shows those of the creation for ever.
    LaunchTemplate.tags = property(lambda self: self.get_tags(), lambda self, _: None)

    def create_version(self, data, description):
        self.counter += 1
        version = LaunchTemplateVersion(self, self.counter, data, description)
        self.versions.append(version)
        return version
    LaunchTemplate.create_version = create_version

    def get_version(self, number):
        from moto.ec2.exceptions import InvalidLaunchTemplateVersionNotFound
        if str(number).lower() == "$latest":
            return self.versions[-1]
        if str(number).lower() == "$default":
            return self.default_version()
        for version in self.versions:
            if str(version.number) == str(number):
                return version
        raise InvalidLaunchTemplateVersionNotFound(template_id=self.id, version=number)
    LaunchTemplate.get_version = get_version
    LaunchTemplate.default_version = lambda self: next(v for v in self.versions if v.number == self.default_version_number)

    # A version with a source takes over what it does not say itself.
    @wrap(LaunchTemplates, "create_launch_template_version")
    def create_launch_template_version(original, self):
        source = self._get_param("SourceVersion")
        if source:
            template = self.ec2_backend.get_launch_template(self._get_param("LaunchTemplateId"))
            given = self._get_param("LaunchTemplateData", {})
            self.params["LaunchTemplateData"] = {**template.get_version(source).data, **given}
        return original(self)

    # User data given to a version is the text in base64, as it is for a template.
    from moto.ec2.utils import parse_user_data

    def user_data(self):
        given = self.data.get("UserData")
        return parse_user_data(given) if isinstance(given, str) else given
    LaunchTemplateVersion.user_data = property(user_data)

    def delete_launch_template_versions(self):
        self.error_on_dryrun()
        template = self.ec2_backend.get_launch_template(self._get_param("LaunchTemplateId"))
        gone, kept = [], []
        for number in self._get_param("Versions", []):
            entry = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": int(number)}
            found = [v for v in template.versions if str(v.number) == str(number)]
            if not found or int(number) == template.default_version_number:
                kept.append({**entry, "ResponseError": {"code": "launchTemplateVersionDoesNotExist"}})
                continue
            template.versions.remove(found[0])
            gone.append(entry)
        return ActionResult({"SuccessfullyDeletedLaunchTemplateVersions": gone,
                             "UnsuccessfullyDeletedLaunchTemplateVersions": kept})
    LaunchTemplates.delete_launch_template_versions = delete_launch_template_versions

    # moto ends a list after 15 templates and gives no token to go on with.
    @wrap(LaunchTemplates, "_get_int_param")
    def get_int_param(original, self, name, if_none=None):
        return original(self, name, None if name == "MaxResults" else if_none)


def autoscaling():
    from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
    from moto.autoscaling.responses import AutoScalingResponse

    # A second group of a name is refused; moto replaces the first. A profile is not known to EC2 at once.
    @wrap(AutoScalingBackend, "create_auto_scaling_group")
    def create(original, self, name, *args, **kwargs):
        if len(name) > 255 or ":" in name:
            raise Refusal("ValidationError", f"Value '{name}' at 'autoScalingGroupName' failed to satisfy constraint")
        delay = SWITCHES["profile_delay"]
        young = [p.name for p in self.iam_backend_profiles() if delay and time.time() - p.__dict__.get("made", 0) < delay]
        if young:
            raise Refusal("ValidationError", f"Invalid IAM Instance Profile name - {young[0]}")
        if name in self.autoscaling_groups:
            raise Refusal("AlreadyExists", f"AutoScalingGroup by this name already exists - A group with the name {name} "
                          "already exists")
        return original(self, name, *args, **kwargs)

    # Instances come from the version that the group names, with its groups, profile and tags.
    @wrap(FakeAutoScalingGroup, "replace_autoscaling_group_instances")
    def replace(original, self, count_needed, propagated_tags):
        before = {s.instance.id for s in self.instance_states}
        result = original(self, count_needed, propagated_tags)
        template, version = self.ec2_launch_template, self.launch_template_version
        if template:
            data = template.get_version(version).data if not hasattr(version, "data") else version.data
            backend = self.autoscaling_backend.ec2_backend
            for state in self.instance_states:
                if state.instance.id not in before:
                    ids = data.get("SecurityGroupIds") or []
                    groups = [g for g in (backend.get_security_group_from_id(i) for i in ids) if g]
                    if groups:
                        state.instance.security_groups = groups
                        for nic in state.instance.nics.values():
                            nic._group_set = groups
        return result

    def profiles(self):
        from moto.iam.models import iam_backends
        return iam_backends[self.account_id]["aws"].instance_profiles.values()
    AutoScalingBackend.iam_backend_profiles = profiles

    # A target-tracking policy has two alarms of AWS's making.
    def put_scaling_policy(self):
        answer = original_put(self)
        name, group = self._get_param("PolicyName"), self._get_param("AutoScalingGroupName")
        if self._get_param("PolicyType") == "TargetTrackingScaling":
            alarms = [f"TargetTracking-{group}-Alarm{side}-{name}" for side in ("High", "Low")]
            arn = f"arn:aws:cloudwatch:{self.region}:{self.current_account}:alarm:"
            answer.result["Alarms"] = [{"AlarmName": a, "AlarmARN": arn + a} for a in alarms]
            for policy in self.autoscaling_backend.policies.values():
                if policy.name == name:
                    policy.alarms = answer.result["Alarms"]
        return answer
    original_put = AutoScalingResponse.put_scaling_policy
    AutoScalingResponse.put_scaling_policy = put_scaling_policy

    # Without a list of metrics all of them are turned on.
    @wrap(FakeAutoScalingGroup, "enable_metrics_collection")
    def enable_metrics(original, self, metrics):
        return original(self, metrics or ["GroupMinSize", "GroupMaxSize", "GroupDesiredCapacity", "GroupInServiceInstances",
                                          "GroupPendingInstances", "GroupStandbyInstances", "GroupTerminatingInstances",
                                          "GroupTotalInstances"])
    AutoScalingResponse.disable_metrics_collection = lambda self: (setattr(group_of(self), "metrics", []), EmptyResult())[1]

    # Scaling notifications: a topic hears of exactly the events of the last call for it.
    def put_notification_configuration(self):
        group = group_of(self)
        events = self._get_param("NotificationTypes", [])
        group.__dict__.setdefault("notifications", {})[self._get_param("TopicARN")] = events
        return EmptyResult()

    def describe_notification_configurations(self):
        wanted = self._get_param("AutoScalingGroupNames", [])
        rows = [{"AutoScalingGroupName": g.name, "TopicARN": topic, "NotificationType": event}
                for g in self.autoscaling_backend.autoscaling_groups.values() if not wanted or g.name in wanted
                for topic, events in g.__dict__.get("notifications", {}).items() for event in events]
        return ActionResult({"NotificationConfigurations": rows})

    def delete_notification_configuration(self):
        group_of(self).__dict__.setdefault("notifications", {}).pop(self._get_param("TopicARN"), None)
        return EmptyResult()

    for function in (put_notification_configuration, describe_notification_configurations, delete_notification_configuration):
        setattr(AutoScalingResponse, function.__name__, function)


def group_of(self):
    """The group that a call of Auto Scaling names."""
    name = self._get_param("AutoScalingGroupName")
    group = self.autoscaling_backend.autoscaling_groups.get(name)
    if not group:
        raise Refusal("ValidationError", f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def elb():
    from moto.elbv2.models import ELBv2Backend
    from moto.elbv2.exceptions import ELBClientError

    def refusal(code, message):
        error = ELBClientError(message)
        error.code = code
        return error

    # A protected load balancer is not deleted.
    @wrap(ELBv2Backend, "delete_load_balancer")
    def delete_load_balancer(original, self, arn):
        balancer = self.load_balancers.get(arn)
        if balancer and balancer.attrs.get("deletion_protection.enabled") == "true":
            raise refusal("OperationNotPermitted",
                          f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled")
        return original(self, arn)

    # Names: at most 32 letters, digits and dashes, no dash at an end. A name that exists is a success with the same settings,
    # and refused with others.
    def check_name(name, what):
        if len(name) > 32 or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", name):
            raise refusal("ValidationError", f"{what} name '{name}' must be at most 32 characters of A-Z, a-z, 0-9 and -")

    @wrap(ELBv2Backend, "create_load_balancer")
    def create_load_balancer(original, self, name, *args, **kwargs):
        check_name(name, "Load balancer")
        same = [b for b in self.load_balancers.values() if b.name == name]
        made = original(self, name, *args, **kwargs) if not same else same[0]
        asked = inspect.signature(original).bind(self, name, *args, **kwargs).arguments
        if same and (made.scheme, sorted(s.id for s in made.subnets)) != (asked["scheme"], sorted(asked["subnet_ids"])):
            raise refusal("DuplicateLoadBalancerName", f"A load balancer with the same name '{name}' exists, but with "
                          "different settings")
        return made

    @wrap(ELBv2Backend, "create_target_group")
    def create_target_group(original, self, name, **kwargs):
        check_name(name, "Target group")
        return original(self, name, **kwargs)


def acm():
    from moto.acm.models import AWSCertificateManagerBackend
    from moto.elbv2.models import elbv2_backends

    # A certificate that is imported again under its ARN keeps its tags, and takes no new ones.
    @wrap(AWSCertificateManagerBackend, "import_certificate")
    def import_certificate(original, self, certificate, private_key, chain, arn, tags):
        had = self._certificates.get(arn) if arn else None
        if had and tags:
            raise Refusal("ValidationException", "Tagging is not permitted on re-import.")
        kept = list(had.tags.items()) if had else []
        result = original(self, certificate, private_key, chain, arn, tags)
        for key, value in kept:
            self._certificates[arn].tags[key] = value
        return result

    # A certificate that a listener uses is not deleted.
    @wrap(AWSCertificateManagerBackend, "delete_certificate")
    def delete_certificate(original, self, arn):
        for balancer in elbv2_backends[self.account_id][self.region_name].load_balancers.values():
            for listener in balancer.listeners.values():
                if arn in json.dumps([getattr(listener, "certificate", None), getattr(listener, "certificates", None)], default=str):
                    raise Refusal("ResourceInUseException", f"Certificate {arn} in account {self.account_id} is in use.")
        return original(self, arn)


def route53():
    from moto.route53.models import Route53Backend
    from moto.route53.exceptions import Route53ClientError

    # CREATE of a record that exists and DELETE of one that does not are refused, and the batch is atomic.
    @wrap(Route53Backend, "change_resource_record_sets")
    def change(original, self, zoneid, change_list):
        zone = self.get_hosted_zone(zoneid)
        here = {(r.name.rstrip(".").lower(), r.type) for r in zone.rrsets}
        for entry in change_list:
            record = entry["ResourceRecordSet"]
            key = (record["Name"].rstrip(".").lower(), record["Type"])
            message = None
            if entry["Action"] == "CREATE" and key in here:
                message = f"Tried to create resource record set [name='{key[0]}.', type='{key[1]}'] but it already exists"
            if entry["Action"] == "DELETE" and key not in here:
                message = f"Tried to delete resource record set [name='{key[0]}.', type='{key[1]}'] but it was not found"
            if message:
                raise Route53ClientError("InvalidChangeBatch", f"[{message}]")
        return original(self, zoneid, change_list)


def secrets():
    from moto.secretsmanager.models import SecretsManagerBackend
    from moto.secretsmanager.exceptions import InvalidRequestException

    # A name whose secret is scheduled for deletion cannot be used.
    @wrap(SecretsManagerBackend, "create_secret")
    def create_secret(original, self, name, *args, **kwargs):
        secret = self.secrets.get(name)
        if secret and getattr(secret, "deleted_date", None):
            raise InvalidRequestException("You can't create this secret because a secret with this name is already "
                                          "scheduled for deletion.")
        return original(self, name, *args, **kwargs)


    # The value that is read is that of the version with the stage AWSCURRENT, also after the stage has moved.
    @wrap(SecretsManagerBackend, "update_secret_version_stage")
    def update_stage(original, self, secret_id, version_stage, remove_from_version_id, move_to_version_id):
        result = original(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
        if version_stage == "AWSCURRENT" and move_to_version_id:
            self.secrets[secret_id].default_version_id = move_to_version_id
        return result


def ecr():
    from moto.ecr.models import ECRBackend

    # An absent scanOnPush is false: the call replaces the whole configuration.
    @wrap(ECRBackend, "put_image_scanning_configuration")
    def put_scanning(original, self, registry_id, repository_name, image_scan_config):
        return original(self, registry_id, repository_name, {"scanOnPush": False, **(image_scan_config or {})})


def expire():
    """Carries out the lifecycle policies of all repositories, as ECR does within a day: by count only."""
    from moto.ecr.models import ecr_backends

    def matches(selection, image):
        patterns = selection.get("tagPatternList") or [p + "*" for p in selection.get("tagPrefixList") or []]
        if selection["tagStatus"] != "tagged":
            return selection["tagStatus"] == "any" or not image.image_tags
        return all(any(fnmatch.fnmatchcase(t, p) for t in image.image_tags) for p in patterns)

    gone = []
    for repository in (r for b in ecr_backends[ACCOUNT].values() for r in b.repositories.values() if r.lifecycle_policy):
        earlier, doomed = [], []
        for rule in sorted(json.loads(repository.lifecycle_policy)["rules"], key=lambda r: r["rulePriority"]):
            # They are in the order of their pushes. What an earlier rule matches, no later one takes.
            found = [i for i in repository.images if matches(rule["selection"], i)][::-1]
            doomed += [i for i in found[rule["selection"]["countNumber"]:] if not any(matches(e, i) for e in earlier)]
            earlier.append(rule["selection"])
        gone += [f"{repository.name}:{','.join(i.image_tags)}" for i in doomed]
        repository.images = [i for i in repository.images if not any(i is d for d in doomed)]
    return gone


def sqs():
    from moto.sqs.models import Queue, SQSBackend, _filter_message_attributes

    deleted = {}
    # moto looks through all queues for the one that dead letters go to, while others are made: one at a time.
    changing = threading.RLock()

    # A name cannot be used again for 60 seconds after its queue was deleted (switchable).
    @wrap(SQSBackend, "delete_queue")
    def delete_queue(original, self, queue_name):
        with changing:
            result = original(self, queue_name)
        deleted[(self.account_id, self.region_name, queue_name)] = time.time()
        return result

    @wrap(SQSBackend, "create_queue")
    def create_queue(original, self, name, tags=None, **kwargs):
        at = deleted.get((self.account_id, self.region_name, name))
        if at and time.time() - at < SWITCHES["queue_cooldown"]:
            raise Refusal("QueueDeletedRecently",
                          "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
        with changing:
            return original(self, name, tags, **kwargs)

    # Attributes outside of their ranges are refused, at creation and later.
    ranges = {"VisibilityTimeout": (0, 43_200), "MessageRetentionPeriod": (60, 1_209_600), "DelaySeconds": (0, 900),
              "ReceiveMessageWaitTimeSeconds": (0, 20), "MaximumMessageSize": (1_024, 1_048_576)}

    @wrap(Queue, "_set_attributes")
    def set_attributes(original, self, attributes, now=None):
        for key, (least, most) in ranges.items():
            if key in attributes and not least <= int(attributes[key]) <= most:
                raise Refusal("InvalidAttributeValue", f"Invalid value for the parameter {key}.")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,75}(\.fifo)?|[A-Za-z0-9_-]{1,80}", self.name):
            raise Refusal("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to "
                          "80 in length")
        had = getattr(self, "policy", None)
        with changing:
            original(self, attributes, now)
        # Attributes that are not given stay as they are.
        if "Policy" not in attributes:
            self.policy = had

    # Receiving takes the same time however long the queue is; moto copies and scans all of it.
    @wrap(SQSBackend, "receive_message")
    def receive(original, self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
        queue = self.get_queue(queue_name)
        if queue.fifo_queue:
            return original(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names)
        end = time.time() + wait_seconds_timeout
        while True:
            # Who waited and died takes nothing: its message would count as received once more.
            if hung_up():
                return []
            with lock:
                taken = take(queue, count, visibility_timeout)
            if taken or time.time() >= end:
                break
            queue.wait_for_messages(min(0.2, max(0.0, end - time.time())))
        for message in taken:
            _filter_message_attributes(message, message_attribute_names or [])
        return taken

    def hung_up():
        socket = flask.request.environ.get("werkzeug.socket")
        if socket is None or not select.select([socket], [], [], 0)[0]:
            return False
        try:
            return not socket.recv(1, MSG_PEEK)
        except OSError:
            return True

    lock = threading.Lock()

    def take(queue, count, visibility):
        taken, dead = [], []
        redrive = queue.redrive_policy if queue.dead_letter_queue is not None else None
        for message in queue._messages:
            if not message.visible or message.delayed:
                continue
            if redrive and message.approximate_receive_count >= int(redrive["maxReceiveCount"]):
                dead.append(message)
                continue
            message.mark_received(visibility_timeout=visibility)
            queue.pending_messages.add(message)
            copied = copy.copy(message)
            copied.message_attributes = dict(message.message_attributes)
            taken.append(copied)
            if len(taken) == count:
                break
        for message in dead:
            queue._messages.remove(message)
            queue.dead_letter_queue.add_message(message)
        return taken


def seed():
    """What is there before the first apply. In the regions of the specs."""
    from moto.ec2.models import ec2_backends
    from moto.route53.models import route53_backends
    from moto.ssm.models import ssm_backends
    from moto.ssm.models import Parameter

    zones = route53_backends[ACCOUNT]["aws"]
    if not any(z.name.rstrip(".") == ZONE for z in zones.zones.values()):
        zones.create_hosted_zone(name=f"{ZONE}.", private_zone=False, caller_reference="seed", vpcid=None, vpcregion=None,
                                 comment=None, delegation_set_id=None)
    for region in ("us-east-1", "us-east-2", "eu-central-1"):
        ami = next(i for i in ec2_backends[ACCOUNT][region].amis.values() if "ubuntu" in (i.name or "").lower())
        ssm = ssm_backends[ACCOUNT][region]
        ssm._parameters[UBUNTU].append(Parameter(
            account_id=ACCOUNT, name=UBUNTU, value=ami.id, parameter_type="String", description="", allowed_pattern=None,
            keyid=None, last_modified_date=time.time(), version=1, data_type="aws:ec2:image"))


class Control:
    """Control routes under `/_local/` in front of moto, refusals by switch, and the log of calls."""

    def __init__(self, app, serve):
        self.app = app
        # Starts a server of this on a port.
        self.serve = lambda port: serve(port, self)
        self.calls = []
        self.events = []
        self.held = threading.Event()
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if path.startswith("/_local/"):
            return self.control(path, environ, start_response)
        name = self.name(environ)
        self.calls.append(name)
        time.sleep(SWITCHES["delay"])
        if self.due("hold_before", name):
            return self.hold()
        if self.due("hold_after", name):
            list(self.app(environ, lambda *_: None))
            return self.hold()
        if self.due("tell_after", name):
            return self.told(self.app(environ, start_response))
        for call, code in [*((c, None) for c in SWITCHES["deny"]), *SWITCHES["refuse"].items()]:
            service, _, operation = call.partition(":")
            if name.split(":")[0] == service and operation in ("*", name.split(":")[1]):
                return refuse(service, environ, start_response, code)
        body = b""
        if environ.get("CONTENT_LENGTH"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
        if name == "cloudtrail:LookupEvents":
            return self.lookup(json.loads(body), start_response)
        if name == "sts:GetCallerIdentity" and access.role_of(environ):
            return identity(access.role_of(environ), start_response)
        if name == "iam:SimulatePrincipalPolicy":
            return simulate(urllib.parse.parse_qs(body.decode()), start_response)
        if not READS.match(name.split(":")[1]) and not DATA.search(name):
            self.note(name, environ, body)
        if access.ISSUED:
            message = access.refusal(ACCOUNT, environ, body)
            if message:
                return refuse(name.split(":")[0], environ, start_response, None, message)
            if name == "s3:GET":
                return self.perhaps_hidden(environ, start_response)
        # A dry run does nothing; moto carries most of them out.
        if name.startswith("ec2:") and b"DryRun=true" in body:
            return refuse("ec2", environ, start_response, "DryRunOperation")
        return self.app(environ, start_response)

    def perhaps_hidden(self, environ, start_response):
        """S3's answer to who may not list: what is not there looks forbidden."""
        status = []
        answer = list(self.app(environ, lambda s, h, *_: status.extend((s, h))))
        if status[0].startswith("404") and not access.may_list(ACCOUNT, environ):
            return refuse("s3", environ, start_response)
        start_response(*status)
        return answer

    def note(self, name, environ, body):
        """Keeps a call that changes something, for CloudTrail."""
        key = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        key = key.group(1) if key else ""
        path = environ.get("PATH_INFO", "") + "?" + environ.get("QUERY_STRING", "")
        text = urllib.parse.unquote_plus(path + " " + body[:4096].decode("utf-8", "replace"))
        self.events.append((time.time(), name, access.ISSUED.get(key, key), text))
        del self.events[:-500]

    def lookup(self, request, start_response):
        """CloudTrail's LookupEvents by the name of a resource, newest first: those whose request names it."""
        wanted = [a["AttributeValue"] for a in request.get("LookupAttributes", []) if a["AttributeKey"] == "ResourceName"]
        # An ARN's last part is what most requests name; what a policy in a request names is not what it is about.
        parts = [re.compile(rf"(?<![\w:-]){re.escape(part)}(?![\w-])") for value in wanted for part in {value, re.split(r"[/:]", value)[-1]}]
        events = [{"EventTime": at, "EventName": name.split(":")[1], "EventSource": f"{name.split(':')[0]}.amazonaws.com",
                   "Username": who, "ReadOnly": "false"}
                  for at, name, who, text in reversed(self.events) if any(part.search(text) for part in parts)]
        return answer(start_response, "200 OK", {"Events": events[:request.get("MaxResults", 50)]})

    def due(self, switch, name):
        """Whether this is the call to hold: the one that is named, or the n-th write, counted down."""
        with self.lock:
            if SWITCHES[f"{switch}_call"] == name:
                SWITCHES[f"{switch}_call"] = ""
                return True
            if READS.match(name.split(":")[1]):
                return False
            if SWITCHES[switch] == 0:
                return False
            SWITCHES[switch] -= 1
            return SWITCHES[switch] == 0

    def fork(self, connection):
        """Another process that has all that this one has, from now on for itself: a test prepares a stack once and tries on
        copies of it what may befall it. Nothing else may be asked for meanwhile. It ends as this one does, or by `/_local/end`."""
        reader, writer = os.pipe()
        if os.fork() == 0:
            # What this process was told on stays the other's.
            connection.close()
            os.close(reader)
            server = self.serve(0)
            self.held.clear()
            os.write(writer, f"http://127.0.0.1:{server.server_address[1]}".encode())
            os.close(writer)
            server.serve_forever()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            return told.read()

    def told(self, body):
        yield from body
        self.held.set()

    def hold(self):
        self.held.set()
        threading.Event().wait()

    def name(self, environ):
        """`service:Operation`; for the services that speak REST `service:METHOD`."""
        scope = re.search(r"/([a-z0-9-]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
        service = scope.group(1) if scope else "?"
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target:
            return f"{service}:{target.rsplit('.', 1)[1]}"
        if service in ("s3", "route53"):
            return f"{service}:{environ['REQUEST_METHOD']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = re.search(rb"(?:^|&)Action=([A-Za-z0-9]+)", body)
        return f"{service}:{action.group(1).decode() if action else '?'}"

    def control(self, path, environ, start_response):
        import fleets
        if path.startswith("/_local/imds/"):
            status, text = imds.serve(ACCOUNT, path[len("/_local/imds/"):], environ, SWITCHES["spot_interrupted"])
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), (imds.TTL, "21600")]
            start_response(status, headers)
            return [text.encode()]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = json.loads(environ["wsgi.input"].read(length) or b"{}")
        if path == "/_local/switch":
            unknown = set(body) - set(SWITCHES)
            if unknown:
                return answer(start_response, "400 Bad Request", {"error": f"no switch {sorted(unknown)}"})
            # What has passed by now was at the old rate.
            fleets.control("/_local/fleet", {})
            SWITCHES.update(body)
            sys.setswitchinterval(SWITCHES["thread_switch"])
            return answer(start_response, "200 OK", SWITCHES)
        told = fleets.control(path, body)
        if told is not None:
            return answer(start_response, "200 OK", told)
        if path == "/_local/fork":
            return answer(start_response, "200 OK", {"endpoint": self.fork(environ["werkzeug.socket"])})
        if path == "/_local/inventory":
            return answer(start_response, "200 OK", inventory())
        if path == "/_local/end":
            os._exit(0)
        if path == "/_local/expire":
            return answer(start_response, "200 OK", expire())
        if path == "/_local/held":
            self.held.wait()
            self.held.clear()
            return answer(start_response, "200 OK", {})
        if path.startswith("/_local/role/"):
            return answer(start_response, "200 OK", access.issue(path.rsplit("/", 1)[-1]))
        if path == "/_local/asked":
            asked = {how: {role: sorted(actions) for role, actions in roles.items()} for how, roles in access.ASKED.items()}
            return answer(start_response, "200 OK", asked)
        if path.startswith("/_local/certificate/"):
            found = certificate_of(path.rsplit("/", 1)[-1])
            return answer(start_response, "200 OK" if found else "404 Not Found", found or {"error": "no certificate"})
        if path == "/_local/calls":
            # The calls since this was last asked.
            calls, self.calls = self.calls, []
            return answer(start_response, "200 OK", calls)
        return answer(start_response, "404 Not Found", {"error": f"no route {path}"})


# What there may be of a stack, by service and the name of what holds it in moto's backend.
HOLDERS = {
    "acm": ["_certificates"],
    "autoscaling": ["autoscaling_groups", "policies"],
    "cloudwatch": ["alarms"],
    "dynamodb": ["tables"],
    "ec2": ["vpcs", "subnets", "internet_gateways", "route_tables", "groups", "nat_gateways", "addresses", "enis", "volumes",
            "vpc_end_points", "key_pairs", "launch_templates"],
    "ecr": ["repositories"],
    "elbv2": ["load_balancers", "target_groups"],
    "iam": ["roles", "instance_profiles", "managed_policies", "inline_policies"],
    "logs": ["groups"],
    "s3": ["buckets"],
    "secretsmanager": ["secrets"],
    "sns": ["topics", "subscriptions"],
    "sqs": ["queues"],
    "ssm": ["_parameters"],
}


def inventory():
    """How many of each kind there are in the account and region, whoever made them and whatever their tags say: no controller's
    view. Security groups lie by VPC, rules of a load balancer in it."""
    from moto.backends import get_backend
    count = {}
    for service, holders in HOLDERS.items():
        everywhere = service in ("iam", "s3")
        backend = get_backend(service)[ACCOUNT]["aws" if everywhere else os.environ["AWS_DEFAULT_REGION"]]
        for holder in holders:
            things = getattr(backend, holder)
            nested = service == "ec2" and holder in ("groups", "subnets")
            count[f"{service}.{holder.strip('_')}"] = sum(map(len, things.values())) if nested else len(things)
    balancers = get_backend("elbv2")[ACCOUNT][os.environ["AWS_DEFAULT_REGION"]].load_balancers.values()
    count["elbv2.listeners"] = sum(len(balancer.listeners) for balancer in balancers)
    zones = get_backend("route53")[ACCOUNT]["aws"].zones.values()
    count["route53.records"] = sum(len(zone.rrsets) for zone in zones)
    instances = get_backend("ec2")[ACCOUNT][os.environ["AWS_DEFAULT_REGION"]].all_instances()
    count["ec2.instances"] = sum(i.state != "terminated" for i in instances)
    return count


def identity(role, start_response):
    """Who a role's credentials are of; moto does not know them."""
    body = ('<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/{role}/i-0</Arn><UserId>AROA:i-0</UserId><Account>{ACCOUNT}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>").encode()
    start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def simulate(form, start_response):
    """IAM's answer to whether a role may do something to everything; moto has none. Who is no role may do all."""
    source = form["PolicySourceArn"][0]
    role = source.partition(":role/")[2].rsplit("/", 1)[-1]
    results = "".join(
        f"<member><EvalActionName>{action[0]}</EvalActionName><EvalDecision>"
        f"{'allowed' if not role or access.allowed(ACCOUNT, role, action[0], None) else 'implicitDeny'}</EvalDecision></member>"
        for key, action in form.items() if key.startswith("ActionNames.member."))
    body = ('<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><SimulatePrincipalPolicyResult>'
            f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
            "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>").encode()
    start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def certificate_of(host):
    """The imported certificate of a host with its key, as a load balancer gets it; real AWS hands out no key."""
    from moto.acm.models import acm_backends
    for backend in acm_backends[ACCOUNT].values():
        for bundle in backend._certificates.values():
            if bundle.common_name == host:
                text = lambda b: b.decode() if isinstance(b, bytes) else b  # noqa: E731
                return {"certificate": text(bundle.cert), "key": text(bundle.key)}
    return None


def answer(start_response, status, value):
    body = json.dumps(value).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def refuse(service, environ, start_response, code=None, message=None):
    """An error in the service's own format, AccessDenied unless told otherwise: JSON for those with a target header, XML
    for the others."""
    message = message or (code and f"refused by a switch: {code}") or "User is not authorized to perform this action"
    if environ.get("HTTP_X_AMZ_TARGET"):
        body = json.dumps({"__type": code or "AccessDeniedException", "message": message}).encode()
        kind = "application/x-amz-json-1.0"
    else:
        code = code or ("UnauthorizedOperation" if service == "ec2" else "AccessDenied")
        inner = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        if service == "ec2":
            text = f"<Response><Errors>{inner}</Errors><RequestID>r</RequestID></Response>"
        elif service == "s3":
            text = inner
        else:
            text = f"<ErrorResponse>{inner}<RequestId>r</RequestId></ErrorResponse>"
        body, kind = text.encode(), "text/xml"
    status = "403 Forbidden" if "Thrott" not in (code or "") else "400 Bad Request"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
