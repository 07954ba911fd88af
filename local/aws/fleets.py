"""Scaling groups as real AWS runs them and moto does not: instances carry the version they are made from and take time to get
healthy, a refresh replaces them a few at a time, fails, bakes, is cancelled and rolled back, and hooks hold those that come and
those that leave.

Everything happens in logical seconds. The clock runs `clock_rate` times as fast as the real one; with 0 it stands, and moves
only by `POST /_local/advance {"seconds": n}`. Groups are brought up to date whenever somebody looks at them.

GET /_local/fleet tells what every group has now, GET /_local/fleet/events every moment at which something changed: how many
instances were healthy then, and of which versions.
"""

import math
import threading
import time

import imds
import rules

# A tick of the simulation, in logical seconds; no longer than the least time that anything here takes.
TICK = 5.0
# AWS looks at a metric once a minute, scales out at once, and in after a quarter of an hour below the target.
TRACKING_PERIOD = 60.0
SCALE_IN_AFTER = 15

LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"

# AWS forgets refreshes.
SIX_WEEKS = 42 * 86_400.0

RUNNING = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")

EVENTS = []
CPU = {}
LOCK = threading.RLock()


class Clock:
    """Logical time: what the real clock says, at the rate of the switch."""

    def __init__(self):
        self.logical, self.real = 0.0, time.monotonic()

    def now(self):
        real = time.monotonic()
        self.logical += (real - self.real) * rules.SWITCHES["clock_rate"]
        self.real = real
        return self.logical

    def advance(self, seconds):
        self.now()
        self.logical += seconds


CLOCK = Clock()


def note(group, at, what, **more):
    """Writes down a moment."""
    here = [s for s in group.instance_states if s.leaving is None]
    healthy = [s for s in here if s.healthy]
    versions = {}
    for s in healthy:
        versions[str(s.version)] = versions.get(str(s.version), 0) + 1
    EVENTS.append({"at": round(at, 1), "group": group.name, "what": what, "desired": group.desired_capacity, "total": len(here),
                   "healthy": len(healthy), "versions": versions, **more})
    del EVENTS[:-20_000]


def stored(group):
    """The version that the group itself names, as a number."""
    if group.ec2_launch_template is None:
        return None
    return int(group.ec2_launch_template.get_version(group.launch_template_version).number)


def running(group):
    return next((r for r in group.refreshes if r["Status"] in RUNNING), None)


def in_service(group):
    return [s for s in group.instance_states if s.leaving is None]


def launch(group, count, version, at):
    """Starts instances from a version, whatever the group itself names."""
    if count <= 0:
        return
    named = group.launch_template_version
    if version is not None:
        group.launch_template_version = str(version)
    try:
        group.replace_autoscaling_group_instances(count, group.get_propagated_tags())
    finally:
        group.launch_template_version = named
    arriving = hooks(group, LAUNCHING)
    for s in group.instance_states[-count:]:
        s.born, s.version = at, version
        if arriving:
            s.lifecycle_state, s.waits = "Pending:Wait", at + min(arrival(h) for h in arriving)
    # A group in the making is not listed yet; moto registers its first instances itself.
    if group.name in group.autoscaling_backend.autoscaling_groups:
        group.autoscaling_backend.update_attached_target_groups(group.name)
    note(group, at, "launched", count=count, version=version)


def hooks(group, transition):
    return [h for h in group.autoscaling_backend.describe_lifecycle_hooks(group.name) if h.lifecycle_transition == transition]


def take_away(group, states, at):
    """Instances leave: at once, or when the group's hook has been answered or its time is up."""
    holding = hooks(group, TERMINATING)
    for s in states:
        s.leaving, s.waits = at + max((patience(s, h) for h in holding), default=0), None
        s.lifecycle_state = "Terminating:Wait" if holding else "Terminating"
        note(group, at, "leaves", instance=s.instance_id, version=s.version)
    for s in states:
        for arn in group.target_group_arns or []:
            group.autoscaling_backend.elbv2_backend.deregister_targets(arn, [{"Id": s.instance_id}])
        if not holding:
            end(group, s)


def patience(state, hook):
    """How long a hook holds an instance, in logical seconds; a real process that stands for it has real seconds."""
    real = state.instance_id in imds.ASKED
    return hook.heartbeat_timeout * (max(rules.SWITCHES["clock_rate"], 1.0) if real else 1.0)


def arrival(hook):
    """How long a hook waits for an instance that comes; real workers have real seconds."""
    return hook.heartbeat_timeout * (max(rules.SWITCHES["clock_rate"], 1.0) if rules.SWITCHES["real_workers"] else 1.0)


def arrive(group, state, at):
    """The hook of an instance that comes was answered, or its time is up and it comes all the same."""
    state.waits, state.lifecycle_state, state.healthy = None, "InService", True
    note(group, at, "healthy", instance=state.instance_id, version=state.version)


def abandon(group, state, at):
    end(group, state)
    note(group, at, "abandoned", instance=state.instance_id, version=state.version)


def boots(group, state, at):
    """Whether an instance is up by now. Without a load balancer's health and without a hook nobody but EC2 itself is asked, which
    knows nothing of what runs on it."""
    judged = group.health_check_type == "ELB" or hooks(group, LAUNCHING)
    bad = judged and state.version in rules.SWITCHES["unhealthy_versions"]
    return at - state.born >= rules.SWITCHES["boot_seconds"] and not bad


def end(group, state):
    group.instance_states = [s for s in group.instance_states if s is not state]
    group.autoscaling_backend.ec2_backend.terminate_instances([state.instance_id])


def step(group, at):
    """One tick."""
    group.instance_states = [s for s in group.instance_states if not s.lost]
    for s in list(group.instance_states):
        if s.leaving is not None and at >= s.leaving:
            end(group, s)
        elif s.waits is not None:
            if boots(group, s, at) and not rules.SWITCHES["real_workers"]:
                arrive(group, s, at)
            elif at >= s.waits:
                given_up = any(h.default_result != "CONTINUE" for h in hooks(group, LAUNCHING))
                (abandon if given_up else arrive)(group, s, at)
        elif s.leaving is None and not s.healthy and boots(group, s, at):
            s.healthy = True
            note(group, at, "healthy", instance=s.instance_id, version=s.version)
    refresh = running(group)
    if refresh:
        go_on(group, refresh, at)
    else:
        mend(group, at)
    track(group, at)


def mend(group, at):
    """Outside of a refresh: as many as desired, of the version that the group names, and none that stays unhealthy."""
    here = in_service(group)
    # One that a hook still holds is not looked at.
    stuck = [s for s in here if not s.healthy and s.waits is None and at - s.born >= rules.SWITCHES["health_patience"]]
    # Who leaves first: those that never got healthy, then those of the oldest version; nobody who is protected.
    spare = sorted((s for s in here if not s.protected_from_scale_in), key=lambda s: (s.healthy, s.version or 0))
    surplus = len(here) - (group.desired_capacity or 0)
    leaving = spare[:max(surplus, 0)] or stuck
    take_away(group, leaving, at)
    launch(group, (group.desired_capacity or 0) - len(in_service(group)), stored(group), at)


def go_on(group, refresh, at):
    """One tick of a refresh, or of its way back."""
    back = refresh["Status"] == "RollbackInProgress"
    wish = refresh["back"] if back else refresh["to"]
    if refresh["Status"] == "Cancelling":
        return finish(group, refresh, at, "Cancelled", refresh.get("StatusReason", "Cancelled due to user request."))
    refresh["Status"] = "InProgress" if refresh["Status"] == "Pending" else refresh["Status"]
    if not back and (alarm := firing(group, refresh)):
        return fail(group, refresh, at, f"The alarm {alarm} is in the state ALARM.")
    matches = (lambda s: s.version == wish) if refresh["skip"] or back else (lambda s: s.born >= refresh["begun"])
    here = in_service(group)
    new, old = [s for s in here if matches(s)], [s for s in here if not matches(s)]
    desired = group.desired_capacity or 0
    least = math.ceil(desired * refresh["least"] / 100)
    most = max(math.floor(desired * refresh["most"] / 100), 1)
    healthy = [s for s in new if s.healthy]
    refresh["PercentageComplete"] = 100 if not desired else min(100, 100 * (desired - min(len(old), desired)) // desired)
    refresh["InstancesToUpdate"] = len(old)
    if refresh["Status"] == "Baking":
        if at - refresh["baking"] >= refresh["bake"]:
            finish(group, refresh, at, "Successful")
        return
    if not old and len(healthy) >= desired:
        take_away(group, sorted(new, key=lambda s: s.healthy)[:len(new) - desired], at)
        if back:
            finish(group, refresh, at, "RollbackSuccessful", refresh["StatusReason"])
        elif refresh["bake"] > 0:
            refresh.update(Status="Baking", baking=at, PercentageComplete=100)
            note(group, at, "bakes")
        else:
            finish(group, refresh, at, "Successful")
        return
    progress = (len(healthy), len(old))
    if progress != refresh.get("progress"):
        refresh.update(progress=progress, moved=at)
    elif at - refresh["moved"] >= rules.SWITCHES["health_patience"]:
        why = f"Instances of version {wish} failed their health checks."
        if back:
            return finish(group, refresh, at, "RollbackFailed", why)
        return fail(group, refresh, at, why)
    # Those that serve nobody go first, then as many of the healthy ones as the least allows.
    serving = sum(s.healthy for s in here)
    for s in sorted((s for s in old if refresh["protected"] or not s.protected_from_scale_in), key=lambda s: s.healthy):
        if s.healthy and serving - 1 < least:
            break
        serving -= s.healthy
        take_away(group, [s], at)
    # One instance at most beyond the limit where the limit leaves no room at all.
    launch(group, min(desired - len(new), most - len(in_service(group))), wish if wish is not None else stored(group), at)


def firing(group, refresh):
    from moto.cloudwatch.models import cloudwatch_backends
    alarms = cloudwatch_backends[group.account_id][group.region].alarms
    return next((name for name in refresh["alarms"] if name in alarms and alarms[name].state_value == "ALARM"), None)


def fail(group, refresh, at, why):
    """A refresh that failed goes back to the version that the group names, where that was asked for."""
    if not refresh["auto_rollback"]:
        return finish(group, refresh, at, "Failed", why)
    go_back(group, refresh, at, why)


def go_back(group, refresh, at, why):
    refresh.update(Status="RollbackInProgress", StatusReason=why, back=stored(group), moved=at, progress=None)
    refresh["RollbackDetails"] = {"RollbackReason": why, "RollbackStartTime": refresh["StartTime"]}
    note(group, at, "goes back", why=why)


def replaces_protected(how):
    """Whether instances that are protected from scale-in are replaced too; without that AWS waits for them."""
    return how.get("ScaleInProtectedInstances") == "Refresh"


def finish(group, refresh, at, status, why=None):
    """Only success changes what the group itself names."""
    if status == "Successful" and refresh.get("DesiredConfiguration"):
        group._set_launch_configuration(None, refresh["DesiredConfiguration"]["LaunchTemplate"], None)
    refresh["Status"] = status
    if why:
        refresh["StatusReason"] = why
    note(group, at, status, refresh=refresh["InstanceRefreshId"], why=why)


def track(group, at):
    """Target tracking, once a minute, where the switch is on."""
    if not rules.SWITCHES["tracking"] or at - group.tracked < TRACKING_PERIOD:
        return
    group.tracked = at
    size = max(len(in_service(group)), 1)
    for policy in group.autoscaling_backend.describe_policies(group.name, None, ["TargetTrackingScaling"]):
        rule = policy.target_tracking_configuration.__dict__
        value, target = metric(group, rule, size), float(rule["TargetValue"])
        if value is None:
            continue
        # The low alarm's threshold lies a tenth below the target.
        group.low = group.low + 1 if value < 0.9 * target else 0
        wish = math.ceil(size * value / target)
        if value > target or group.low >= SCALE_IN_AFTER:
            wish = min(max(wish, group.min_size), group.max_size)
            if wish != group.desired_capacity:
                group.desired_capacity, group.low = wish, 0
                note(group, at, "scales", metric=round(value, 2), target=target)


def metric(group, rule, size):
    """What a policy looks at: the scripted CPU, or how many messages wait for each instance."""
    from moto.sqs.models import sqs_backends
    if rule.get("PredefinedMetricSpecification"):
        return CPU.get(group.name)
    for part in rule.get("CustomizedMetricSpecification", {}).get("Metrics", []):
        for dimension in part.get("MetricStat", {}).get("Metric", {}).get("Dimensions", []):
            if dimension["Name"] == "QueueName":
                queue = sqs_backends[group.account_id][group.region].queues.get(dimension["Value"])
                return sum(m.visible and not m.delayed for m in queue._messages) / size if queue else None
    return None


def busy(group):
    """Whether time alone changes anything."""
    return (running(group) is not None or rules.SWITCHES["tracking"]
            or any(s.leaving is not None or not s.healthy for s in group.instance_states)
            or len(in_service(group)) != group.desired_capacity)


def settle():
    """Brings every group up to now."""
    from moto.autoscaling.models import autoscaling_backends
    now = CLOCK.now()
    for account in autoscaling_backends.values():
        for backend in account.values():
            for group in list(backend.autoscaling_groups.values()):
                while group.settled + TICK <= now and busy(group):
                    group.settled += TICK
                    step(group, group.settled)
                if not busy(group):
                    group.settled = now


def fleet():
    """What every group has now."""
    from moto.autoscaling.models import autoscaling_backends
    groups = [g for account in autoscaling_backends.values() for b in account.values() for g in b.autoscaling_groups.values()]
    return {g.name: {
        "desired": g.desired_capacity, "min": g.min_size, "max": g.max_size, "version": stored(g),
        "hooks": {h.lifecycle_transition: h.name for h in g.autoscaling_backend.describe_lifecycle_hooks(g.name)},
        "refreshes": [{"status": r["Status"], "to": r["to"], "why": r.get("StatusReason")} for r in g.refreshes],
        "instances": [{"id": s.instance_id, "version": s.version, "state": s.lifecycle_state, "healthy": s.healthy,
                       "protected": bool(s.protected_from_scale_in)} for s in g.instance_states],
    } for g in groups}


def control(path, body):
    """The routes under `/_local/` that are about fleets: the answer, or None."""
    with LOCK:
        if path == "/_local/advance":
            CLOCK.advance(float(body["seconds"]))
        elif path == "/_local/cpu":
            CPU.update(body)
        elif path not in ("/_local/fleet", "/_local/fleet/events"):
            return None
        settle()
        return EVENTS if path == "/_local/fleet/events" else fleet()


def install():
    from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState, TerminateInstanceActivity
    from moto.autoscaling.responses import AutoScalingResponse
    from moto.core.responses import ActionResult, EmptyResult
    refusal = rules.Refusal

    # One call at a time, and each sees the groups as they are by now.
    @rules.wrap(AutoScalingResponse, "call_action")
    def call_action(original, self):
        with LOCK:
            settle()
            return original(self)

    # Hooks that come with a new group are there before its first instances; moto does not know them.
    @rules.wrap(AutoScalingResponse, "create_auto_scaling_group")
    def create_auto_scaling_group(original, self):
        name, backend = self._get_param("AutoScalingGroupName"), self.autoscaling_backend
        hooks = self._get_params().get("LifecycleHookSpecificationList") or []
        hooks = [] if name in backend.autoscaling_groups else hooks
        for h in hooks:
            backend.create_lifecycle_hook(h["LifecycleHookName"], name, h["LifecycleTransition"],
                                          int(h.get("HeartbeatTimeout", 3600)), h.get("DefaultResult", "ABANDON"))
        try:
            return original(self)
        except Exception:
            for h in hooks:
                backend.delete_lifecycle_hook(name, h["LifecycleHookName"])
            raise

    @rules.wrap(FakeAutoScalingGroup, "__init__")
    def init(original, self, *args, **kwargs):
        self.refreshes, self.settled, self.tracked, self.low = [], CLOCK.now(), CLOCK.now(), 0
        original(self, *args, **kwargs)

    @rules.wrap(InstanceState, "__init__")
    def state(original, self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.born, self.healthy, self.leaving, self.waits, self.lost = CLOCK.now(), False, None, None, False
        self.version = stored(self.auto_scaling_group)

    # An instance names the version it was made from.
    def launch_template(self):
        template = self.auto_scaling_group.ec2_launch_template
        if template is None:
            return None
        return {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "Version": str(self.version)}
    InstanceState.launch_template = property(launch_template)

    # The size is changed at once, but while a refresh runs, which then sees to it.
    def set_desired_capacity(self, wish):
        self.desired_capacity = self.min_size if wish is None else wish
        if not running(self):
            mend(self, CLOCK.now())
    FakeAutoScalingGroup.set_desired_capacity = set_desired_capacity

    # A hand that sets it is held to the limits.
    def set_by_hand(self, name, wish):
        group = self.autoscaling_groups[name]
        for word, bad, limit in [("above max", wish > group.max_size, group.max_size),
                                 ("below min", wish < group.min_size, group.min_size)]:
            if bad:
                raise refusal("ValidationError", f"New SetDesiredCapacity value {wish} is {word} value {limit} for the "
                              "AutoScalingGroup.")
        group.set_desired_capacity(wish)
    AutoScalingBackend.set_desired_capacity = set_by_hand

    # The limits move the desired size, and not what happens to run.
    @rules.wrap(FakeAutoScalingGroup, "update")
    def update(original, self, availability_zones, desired_capacity, max_size, min_size, launch_config_name, launch_template,
               *args, **kwargs):
        refresh = running(self)
        if launch_template and refresh and refresh["to"] is not None:
            raise refusal("ValidationError", "An active instance refresh with a desired configuration exists. All configuration "
                          "options derived from the desired configuration are not available for update while the instance "
                          "refresh is active.")
        if desired_capacity is None:
            least, most = self.min_size if min_size is None else min_size, self.max_size if max_size is None else max_size
            desired_capacity = min(max(self.desired_capacity, least), most)
        return original(self, availability_zones, desired_capacity, max_size, min_size, launch_config_name, launch_template,
                        *args, **kwargs)

    # A group that is deleted by force takes its instances, policies and hooks with it at once.
    @rules.wrap(AutoScalingBackend, "delete_auto_scaling_group")
    def delete(original, self, name):
        for policy in [n for n, p in self.policies.items() if p.auto_scaling_group_name == name]:
            del self.policies[policy]
        for hook in [h for h in self.lifecycle_hooks.values() if h.auto_scaling_group_name == name]:
            self.delete_lifecycle_hook(name, hook.name)
        group = self.autoscaling_groups.get(name)
        if group:
            group.refreshes, group.min_size = [], 0
            for s in list(group.instance_states):
                end(group, s)
        return original(self, name)

    # An instance that somebody terminates is replaced when the group's health check comes round; until then it is listed.
    def terminated(self, ids):
        with LOCK:
            settle()
            for group in self.autoscaling_groups.values():
                for s in [s for s in group.instance_states if s.instance_id in ids and not s.lost]:
                    s.lost, s.healthy = True, False
                    note(group, CLOCK.now(), "lost", instance=s.instance_id)
    AutoScalingBackend.notify_terminate_instances = terminated

    def group_of(self):
        return rules.group_of(self)

    def start_instance_refresh(self):
        group = group_of(self)
        if running(group):
            raise refusal("InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution "
                          "of this Instance Refresh.")
        wish, how = self._get_param("DesiredConfiguration"), self._get_param("Preferences") or {}
        yes = lambda name: str(how.get(name)).lower() == "true"  # noqa: E731
        to = ((wish or {}).get("LaunchTemplate") or {}).get("Version")
        if yes("AutoRollback") and not str(to).isdigit():
            raise refusal("ValidationError", "AutoRollback needs a desired configuration with a numbered version.")
        if yes("AutoRollback") and not str(group.launch_template_version).isdigit():
            raise refusal("ValidationError", "A group that names $Latest or $Default cannot be rolled back.")
        least, most = int(how.get("MinHealthyPercentage", 90)), int(how.get("MaxHealthyPercentage", 100))
        if most - least > 100:
            raise refusal("ValidationError", "MaxHealthyPercentage may be at most 100 above MinHealthyPercentage.")
        if to is not None:
            group.ec2_launch_template.get_version(to)
        now = CLOCK.now()
        refresh = {
            "InstanceRefreshId": f"refresh-{group.name}-{len(group.refreshes) + 1}",
            "AutoScalingGroupName": group.name,
            "Status": "Pending",
            "PercentageComplete": 0,
            "StartTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "DesiredConfiguration": wish,
            "Preferences": how or None,
            "to": None if to is None else int(to), "skip": yes("SkipMatching"), "auto_rollback": yes("AutoRollback"),
            "least": least, "most": most, "bake": float(how.get("BakeTime", 0)), "begun": now, "moved": now,
            "protected": replaces_protected(how),
            "alarms": list(((how.get("AlarmSpecification") or {}).get("Alarms")) or []),
        }
        group.refreshes.insert(0, refresh)
        # Nothing happens before this moment.
        group.settled = now
        note(group, now, "refresh", refresh=refresh["InstanceRefreshId"], to=refresh["to"], least=least)
        return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})

    def describe_instance_refreshes(self):
        known = [r for r in group_of(self).refreshes if CLOCK.now() - r["begun"] < SIX_WEEKS]
        rows = [{k: v for k, v in r.items() if k[0].isupper()} for r in known]
        return ActionResult({"InstanceRefreshes": rows[: self._get_int_param("MaxRecords") or 50]})

    def active(self, statuses):
        refresh = running(group_of(self))
        if not refresh or refresh["Status"] not in statuses:
            raise refusal("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling "
                          f"group {self._get_param('AutoScalingGroupName')}")
        return refresh

    def cancel_instance_refresh(self):
        refresh = active(self, RUNNING)
        refresh["Status"] = "Cancelling"
        return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})

    def rollback_instance_refresh(self):
        refresh = active(self, ("Pending", "InProgress", "Baking"))
        if refresh["to"] is None:
            raise refusal("IrreversibleInstanceRefresh", "The refresh has no desired configuration to go back from.")
        go_back(group_of(self), refresh, CLOCK.now(), "Rollback requested by a user.")
        return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})

    # A termination by name: through the hook too, even of an instance that is protected from scale-in.
    @rules.wrap(AutoScalingBackend, "terminate_instance")
    def terminate_instance(original, self, instance_id, should_decrement):
        with LOCK:
            group, state = next((g, s) for g in self.autoscaling_groups.values() for s in g.instance_states
                                if s.instance_id == instance_id)
            activity = TerminateInstanceActivity(state.instance, group.desired_capacity)
            if should_decrement:
                group.desired_capacity -= 1
            take_away(group, [state], CLOCK.now())
            return activity

    # What a worker says while it is held by a hook, when it comes or when it leaves.
    def held(self):
        group = group_of(self)
        wanted = self._get_param("InstanceId")
        here = {h.name: h for h in self.autoscaling_backend.describe_lifecycle_hooks(group.name)}
        hook = here.get(self._get_param("LifecycleHookName"))
        comes = hook is not None and hook.lifecycle_transition == LAUNCHING
        found = [s for s in group.instance_states if s.instance_id == wanted and (s.waits if comes else s.leaving) is not None]
        if not found or not hook:
            raise refusal("ValidationError", f"No active Lifecycle Action found with instance ID {wanted}")
        return group, found[0], hook

    def complete_lifecycle_action(self):
        group, state, hook = held(self)
        if hook.lifecycle_transition == LAUNCHING:
            goes_on = self._get_param("LifecycleActionResult") == "CONTINUE"
            (arrive if goes_on else abandon)(group, state, CLOCK.now())
            return EmptyResult()
        end(group, state)
        note(group, CLOCK.now(), "drained", instance=state.instance_id)
        return EmptyResult()

    def record_lifecycle_action_heartbeat(self):
        _, state, hook = held(self)
        if hook.lifecycle_transition == LAUNCHING:
            state.waits = CLOCK.now() + arrival(hook)
        else:
            state.leaving = CLOCK.now() + patience(state, hook)
        return EmptyResult()

    @rules.wrap(AutoScalingResponse, "put_lifecycle_hook")
    def put_lifecycle_hook(original, self):
        group_of(self)
        return original(self)

    for function in (start_instance_refresh, describe_instance_refreshes, cancel_instance_refresh, rollback_instance_refresh,
                     complete_lifecycle_action, record_lifecycle_action_heartbeat):
        setattr(AutoScalingResponse, function.__name__, function)
