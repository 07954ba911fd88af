//! Rules that types cannot say. Each fault names the field and how to mend it.

use super::{Billing, Cidr, PolybotStack, pattern::Pattern};
use crate::kinds::log_group::DAYS;
use std::collections::BTreeMap;

/// Path, message and hint.
pub type Found = (String, String, String);

/// The path of what tells a stack from all others in its account and region.
pub const IDENTITY: &str = "metadata.name";

/// Every fault of one stack.
pub fn check(stack: &PolybotStack) -> Vec<Found> {
    let mut found: Vec<Found> = vec![];
    let mut fault = |path: &str, message: String, hint: &str| found.push((path.to_owned(), message, hint.to_owned()));
    let spec = &stack.spec;

    let lower = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    for (path, value) in [("spec.prefix", &spec.prefix), ("spec.environment", &spec.environment)] {
        if !lower(value) || value.starts_with('-') || value.ends_with('-') || value.len() > 20 {
            fault(
                path,
                format!("{value:?} cannot be part of AWS names"),
                "use 1 to 20 lower-case letters, digits and dashes, no dash at an end",
            );
        }
    }
    if let Some(account) = spec.account_id.as_ref().filter(|a| a.len() != 12 || !a.bytes().all(|b| b.is_ascii_digit()))
    {
        fault("spec.accountId", format!("{account:?} is no account id"), "twelve digits, in quotes");
    }

    let network = &spec.network;
    let zones = if network.zone_names.is_empty() { network.zones as usize } else { network.zone_names.len() };
    if zones < 2 {
        fault("spec.network.zoneNames", format!("{zones} zone"), "a load balancer needs two");
    }
    if !(16..=24).contains(&network.cidr.bits()) {
        fault(
            "spec.network.cidr",
            format!("a VPC of AWS is /16 to /28, and /24 subnets must fit: {} will not do", network.cidr),
            "for example 10.0.0.0/16",
        );
    } else if zones > 1 << (24 - network.cidr.bits()) {
        fault(
            "spec.network.cidr",
            format!("{} has no room for {zones} subnets of /24", network.cidr),
            "a larger block, for example 10.0.0.0/16",
        );
    }

    let domain = &spec.domain;
    let (zone, name) = (domain.hosted_zone.trim_end_matches('.'), domain.name.trim_end_matches('.'));
    if name != zone && !name.ends_with(&format!(".{zone}")) {
        fault(
            "spec.domain.name",
            format!("{name} is not within the hosted zone {zone}"),
            &format!("for example bot.{zone}"),
        );
    }
    if name.len() > 64 {
        fault("spec.domain.name", format!("{} characters", name.len()), "a certificate's common name holds at most 64");
    }
    if domain.certificate.self_signed.is_some() && domain.certificate.arn.is_some() {
        fault("spec.domain.certificate", "both selfSigned and arn".to_owned(), "keep one of the two");
    }
    if let Some(own) = &domain.certificate.self_signed {
        if own.renew_before_days >= own.valid_days {
            fault(
                "spec.domain.certificate.selfSigned.renewBeforeDays",
                format!(
                    "{} days of {}: a new one would be due at once, for ever",
                    own.renew_before_days, own.valid_days
                ),
                "fewer than validDays",
            );
        }
        if own.country.as_ref().is_some_and(|c| c.len() != 2) {
            fault(
                "spec.domain.certificate.selfSigned.country",
                "a country code has two letters".to_owned(),
                "for example US",
            );
        }
    }

    let token = &spec.telegram.token;
    let sources =
        [token.env.is_some(), token.file.is_some(), token.secret.is_some(), token.kubernetes_secret.is_some()];
    if sources.iter().filter(|s| **s).count() != 1 {
        fault(
            "spec.telegram.token",
            "the token comes from exactly one place".to_owned(),
            "one of env, file, secret, kubernetesSecret",
        );
    }
    for (i, source) in spec.telegram.sources.iter().enumerate() {
        if source.bits() < 8 {
            fault(
                &format!("spec.telegram.sources[{i}]"),
                format!("{source} is far more than Telegram"),
                "149.154.160.0/20 and 91.108.4.0/22",
            );
        }
    }

    let mut images = vec![("spec.polybot.image", &spec.polybot.image)];
    images.extend(spec.yolo5.iter().map(|y| ("spec.yolo5.image", &y.image)));
    for (path, image) in images {
        let ways = [image.tag.is_some(), image.digest.is_some(), image.uri.is_some()].iter().filter(|w| **w).count();
        if ways != 1 {
            fault(
                path,
                "an image is given by exactly one of tag, digest and uri".to_owned(),
                "for example { tag: v1.0.0 }",
            );
        }
        if let Some(Err(message)) = image.tag.as_ref().filter(|t| Pattern::is_meant(t)).map(|t| t.parse::<Pattern>()) {
            fault(
                &format!("{path}.tag"),
                message,
                "a star stands for the last numbers: v1.*, v1.4.*, v*; or name one tag",
            );
        }
        if image.uri.is_some() && image.repository.is_some() {
            fault(path, "a uri names its repository itself".to_owned(), "leave out repository");
        }
    }
    let mut rollouts = vec![("spec.polybot.rollout", &spec.polybot.rollout)];
    rollouts.extend(spec.yolo5.iter().map(|y| ("spec.yolo5.rollout", &y.rollout)));
    for (path, r) in rollouts {
        if r.max_healthy_percent.saturating_sub(r.min_healthy_percent) > 100 {
            fault(
                path,
                format!("{} to {} percent", r.min_healthy_percent, r.max_healthy_percent),
                "AWS allows at most 100 between minHealthyPercent and maxHealthyPercent",
            );
        }
        if r.min_healthy_percent == 100 && r.max_healthy_percent == 100 {
            fault(
                path,
                "100 to 100 percent leaves no room to replace anything".to_owned(),
                "raise maxHealthyPercent or lower minHealthyPercent",
            );
        }
    }
    if let Some(yolo5) = &spec.yolo5 {
        if yolo5.replicas.min > yolo5.replicas.max {
            fault(
                "spec.yolo5.replicas",
                format!("min {} is over max {}", yolo5.replicas.min, yolo5.replicas.max),
                "min <= max",
            );
        }
        if yolo5.replicas.min == 0 && yolo5.scaling.backlog.is_none() {
            fault(
                "spec.yolo5.replicas.min",
                "min 0 needs scaling.backlog: a group without instances has no CPU to scale on, so no worker would ever run"
                    .to_owned(),
                "at least 1, or scaling: { backlog: { latencyTarget: 60s, secondsPerMessage: 1 } }",
            );
        }
        if yolo5.replicas.max == 0 {
            fault("spec.yolo5.replicas.max", "no worker could ever run".to_owned(), "at least 1");
        }
        if yolo5.scaling.cpu.is_some() && yolo5.scaling.backlog.is_some() {
            fault("spec.yolo5.scaling", "both cpu and backlog".to_owned(), "keep one of the two");
        }
        if yolo5.scaling.backlog.as_ref().is_some_and(|b| b.seconds_per_message <= 0.0) {
            fault(
                "spec.yolo5.scaling.backlog.secondsPerMessage",
                "a message takes some time".to_owned(),
                "for example 1",
            );
        }
    }

    let queues = &spec.queues;
    for (name, q) in [("identify", &queues.identify), ("results", &queues.results), ("work", &queues.work)] {
        if q.visibility_timeout.as_seconds() > 43_200 {
            fault(
                &format!("spec.queues.{name}.visibilityTimeout"),
                format!("{} is over SQS's 12h", q.visibility_timeout),
                "0s to 12h",
            );
        }
        if !(60..=1_209_600).contains(&q.retention.as_seconds()) {
            fault(
                &format!("spec.queues.{name}.retention"),
                format!("SQS keeps messages 60s to 14d, not {}", q.retention),
                "for example 4d",
            );
        }
    }
    for (name, table) in [("predictions", &spec.tables.predictions), ("chats", &spec.tables.chats)] {
        if (table.billing == Billing::Provisioned) != table.provisioned.is_some() {
            fault(
                &format!("spec.tables.{name}"),
                "billing and provisioned contradict each other".to_owned(),
                "billing: provisioned with provisioned: { read, write }, or neither",
            );
        }
    }
    if !DAYS.contains(&spec.log_retention_days) {
        let days: Vec<_> = DAYS.iter().map(ToString::to_string).collect();
        fault(
            "spec.logRetentionDays",
            format!("CloudWatch does not keep logs for {} days", spec.log_retention_days),
            &format!("one of {}", days.join(", ")),
        );
    }
    if spec.bucket.image_prefix.is_empty()
        || spec.bucket.image_prefix.contains('/')
        || spec.bucket.image_prefix == contract::record::PREDICTED_PREFIX
    {
        fault(
            "spec.bucket.imagePrefix",
            format!("{:?} will not do", spec.bucket.image_prefix),
            "one word, other than predicted",
        );
    }
    for (i, n) in spec.notifications.iter().enumerate() {
        if !n.email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.')) {
            fault(
                &format!("spec.notifications[{i}].email"),
                format!("{:?} is no e-mail address", n.email),
                "for example ops@example.com",
            );
        }
    }
    if let Some(ssh) = &spec.access.ssh {
        if ssh.public_key.is_some() == ssh.key_name.is_some() {
            fault("spec.access.ssh", "SSH takes one key".to_owned(), "either publicKey or keyName");
        }
        if ssh.public_key.as_ref().is_some_and(|k| k.contains("PRIVATE")) {
            fault(
                "spec.access.ssh.publicKey",
                "this is a private key".to_owned(),
                "the public half, from the file that ends in .pub; and make a new pair, since this one has been seen",
            );
        }
        for (i, cidr) in ssh.cidrs.iter().enumerate() {
            if cidr.contains(Cidr::literal([0, 0, 0, 0], 0)) || cidr.bits() < 8 {
                fault(
                    &format!("spec.access.ssh.cidrs[{i}]"),
                    format!("SSH from {cidr} is SSH from everywhere"),
                    "your own addresses, for example 203.0.113.0/24; or none, and Session Manager",
                );
            }
        }
    }
    for address in spec.on_delete.addresses.keys() {
        let known = [
            "table/predictions",
            "table/chats",
            "bucket/images",
            "secret/telegram-token",
            "secret/certificate",
            "repository/polybot",
            "repository/yolo5",
        ];
        let images = std::iter::once(&spec.polybot.image).chain(spec.yolo5.iter().map(|yolo5| &yolo5.image));
        let mut repositories = images.filter_map(|image| image.repository.as_deref());
        let named = address.strip_prefix("repository/").is_some_and(|name| repositories.any(|r| r == name));
        if !named && !known.contains(&address.as_str()) {
            fault(
                "spec.onDelete.addresses",
                format!("{address} holds no data or does not exist"),
                &format!("one of {}", known.join(", ")),
            );
        }
    }
    for (i, ignore) in spec.ignore_drift.iter().enumerate() {
        let at = |field: &str| format!("spec.ignoreDrift[{i}].{field}");
        let kind = ignore.address.split('/').next().unwrap_or_default();
        if crate::kinds::kind(kind).is_none() || !ignore.address.contains('/') {
            let message = format!("{:?} is no address", ignore.address);
            fault(
                &at("address"),
                message,
                "as drift prints it, for example scaling_group/yolo5, or security_group_rule/*",
            );
        }
        if ignore.reason.trim().is_empty() {
            fault(&at("reason"), "no reason".to_owned(), "say why this is left alone, for those who read it later");
        }
    }
    if let Some(role) = spec.assume_role.as_ref().filter(|role| !names_role(&role.arn)) {
        let message = format!("{:?} is no ARN of a role", role.arn);
        fault("spec.assumeRole.arn", message, "for example arn:aws:iam::123456789012:role/polybot");
    }
    if let Some(cluster) = &spec.cluster {
        if cluster.drift_period.is_some_and(|d| !(30..=86_400).contains(&d.as_seconds())) {
            let message = "a stack is looked at every 30s to 1d".to_owned();
            fault("spec.cluster.driftPeriod", message, "for example 10m");
        }
        let ends = |part: &str| part.starts_with('-') || part.ends_with('-');
        let names = |name: &str| name.len() <= 253 && name.split('.').all(|part| lower(part) && !ends(part));
        if cluster.outputs_to.as_ref().is_some_and(|name| !names(name)) {
            let message = "no name of a ConfigMap".to_owned();
            let hint = "lower-case letters, digits, dashes and dots, begun and ended by a letter or digit";
            fault("spec.cluster.outputsTo", message, hint);
        }
    }
    for (i, waiver) in spec.waivers.iter().enumerate() {
        if !waiver.rule.starts_with("CKV") && !waiver.rule.starts_with("POLYBOT_") {
            let message = format!("{:?} is no rule", waiver.rule);
            fault(&format!("spec.waivers[{i}].rule"), message, "as check prints it, for example CKV_AWS_21");
        }
        if waiver.reason.trim().is_empty() {
            fault(&format!("spec.waivers[{i}].reason"), "no reason".to_owned(), "say why, for those who read it later");
        }
    }
    for key in spec.tags.keys() {
        if key.starts_with("polybot.dev/") || key.starts_with("aws:") {
            fault(&format!("spec.tags.{key}"), "this prefix is not yours".to_owned(), "another name");
        }
    }
    found
}

/// Whether this is the ARN of a role, with or without a path.
fn names_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else { return false };
    let name = resource.strip_prefix("role/").unwrap_or_default();
    partition.starts_with("aws")
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b))
}

/// Faults between stacks: the index of the later one with each.
pub fn check_all(stacks: &[&PolybotStack]) -> Vec<(usize, Found)> {
    let mut found = vec![];
    let (mut identities, mut prefixes, mut hosts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (i, stack) in stacks.iter().enumerate() {
        let spec = &stack.spec;
        let of_role = || Some(spec.assume_role.as_ref()?.arn.split(':').nth(4)?.to_owned());
        let place = (spec.account_id.clone().or_else(of_role), spec.region.clone());
        let name = stack.metadata.name.clone().unwrap_or_default();
        if identities.insert((name.clone(), place.clone()), i).is_some() {
            let message = format!("a second stack called {name} in {}", spec.region);
            found.push((i, (IDENTITY.to_owned(), message, "another name or another region".to_owned())));
        }
        if prefixes.insert((format!("{}-{}", spec.prefix, spec.environment), place), i).is_some() {
            let message = format!(
                "another stack in {} has the same prefix and environment, so all names would clash",
                spec.region
            );
            found.push((i, ("spec.environment".to_owned(), message, "another environment".to_owned())));
        }
        if hosts.insert(spec.domain.name.trim_end_matches('.').to_lowercase(), i).is_some() {
            let message = format!("another stack has the host name {}", spec.domain.name);
            found.push((i, ("spec.domain.name".to_owned(), message, "one host name a stack".to_owned())));
        }
    }
    found
}
