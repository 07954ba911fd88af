//! What a stack costs a month, from the resources that the spec stands for. Only what is paid by the hour is summed; what is
//! paid by use is named, since nobody knows the use.

use crate::{
    engine::Wanted,
    facts::Facts,
    kinds::{
        alarm::Alarm, launch_template_version::LaunchTemplateVersion, load_balancer::LoadBalancer,
        scaling_group::ScalingGroup, scaling_policy::ScalingPolicy, secret::Secret, table::Table,
    },
    spec::PolybotStack,
    stack,
};
use schemars::JsonSchema;
use serde::Serialize;

/// The day the prices are of. They are on-demand prices of Linux in USD without tax, as AWS lists them at
/// <https://aws.amazon.com/ec2/pricing/on-demand/> and on the pages of the other services.
pub const AS_OF: &str = "2025-01-01";
/// Regions that the prices are of: the two have the same ones.
pub const REGIONS: [&str; 2] = ["us-east-1", "us-east-2"];
/// Hours of a month, as AWS counts.
const HOURS: f64 = 730.0;

/// USD an hour.
const INSTANCES: [(&str, f64); 22] = [
    ("t3.nano", 0.0052),
    ("t3.micro", 0.0104),
    ("t3.small", 0.0208),
    ("t3.medium", 0.0416),
    ("t3.large", 0.0832),
    ("t3.xlarge", 0.1664),
    ("t3a.micro", 0.0094),
    ("t3a.small", 0.0188),
    ("t3a.medium", 0.0376),
    ("t3a.large", 0.0752),
    ("c5.large", 0.085),
    ("c6i.large", 0.085),
    ("c6i.xlarge", 0.17),
    ("c6a.large", 0.0765),
    ("c6a.xlarge", 0.153),
    ("c7i.large", 0.08925),
    ("c7i.xlarge", 0.1785),
    ("c7a.large", 0.10264),
    ("m5.large", 0.096),
    ("m6i.large", 0.096),
    ("m7i.large", 0.1008),
    ("m7i.xlarge", 0.2016),
];
/// USD an hour of a load balancer; its capacity units are paid by use.
const BALANCER: f64 = 0.0225;
/// USD an hour of a public IPv4 address: each instance has one, and the load balancer one in each zone.
const ADDRESS: f64 = 0.005;
/// USD a month of a GB of gp3.
const DISK: f64 = 0.08;
/// USD a month of a secret.
const SECRET: f64 = 0.40;
/// USD a month of an alarm; target tracking makes two.
const ALARM: f64 = 0.10;
/// USD an hour of a unit of provisioned reads and writes.
const READ_UNIT: f64 = 0.00013;
/// See [`READ_UNIT`].
const WRITE_UNIT: f64 = 0.00065;

/// One line: something that is paid by the hour.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What.
    pub what: String,
    /// USD a month at the least size; absent where the price is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// USD a month at the greatest size; absent where the price is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
}

/// What a stack costs a month.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Day of the prices.
    pub as_of: String,
    /// What is paid by the hour.
    pub lines: Vec<Line>,
    /// Sum at the least size, USD a month.
    pub least: f64,
    /// Sum at the greatest size, USD a month.
    pub most: f64,
    /// Whether a price is not known, so that the sums are too low.
    pub incomplete: bool,
    /// What is paid by use and not in the sums.
    pub by_use: Vec<String>,
}

/// The cost of the stack that a spec stands for.
pub fn of(stack: &PolybotStack) -> Cost {
    let wanted = stack::stack(stack, &Facts::assumed(stack));
    let known = REGIONS.contains(&stack.spec.region.as_str());
    let mut lines = fleets(&wanted);
    let zones: usize = wanted.of::<LoadBalancer>().map(|(_, b)| b.subnets.len()).sum();
    let balancers = count(wanted.of::<LoadBalancer>().count());
    lines.push(same("load balancer", balancers * BALANCER * HOURS));
    lines.push(same(format!("{zones} public addresses of the load balancer"), count(zones) * ADDRESS * HOURS));
    let secrets = wanted.of::<Secret>().count();
    lines.push(same(format!("{secrets} secrets"), count(secrets) * SECRET));
    let policies = wanted.of::<ScalingPolicy>().count();
    lines.push(same(format!("{} alarms of target tracking", 2 * policies), count(2 * policies) * ALARM));
    let alarms = wanted.of::<Alarm>().count();
    lines.push(same(format!("{alarms} alarms of rollouts (an account has 10 alarms for free)"), count(alarms) * ALARM));
    for (address, table) in wanted.of::<Table>() {
        if let Some((read, write)) = table.provisioned {
            let units = |n: i64| f64::from(i32::try_from(n).unwrap_or(i32::MAX));
            // The index has units of its own.
            let copies = count(1 + table.indexes.len());
            let price = copies * (units(read) * READ_UNIT + units(write) * WRITE_UNIT) * HOURS;
            lines.push(same(format!("{address}: {read} read and {write} write units"), price));
        }
    }
    if !known {
        for line in &mut lines {
            (line.least, line.most) = (None, None);
        }
    }
    let sum = |of: fn(&Line) -> Option<f64>| lines.iter().filter_map(of).sum();
    Cost {
        as_of: AS_OF.to_owned(),
        least: sum(|l| l.least),
        most: sum(|l| l.most),
        incomplete: lines.iter().any(|l| l.most.is_none()),
        by_use: [
            "load balancer capacity units",
            "data out to the internet",
            "SQS requests (each idle receiver: about 130,000 a month)",
            "DynamoDB reads, writes and storage where on demand, and its backups",
            "S3 storage and requests",
            "image storage",
            "SNS e-mails",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
        lines,
    }
}

/// Instances with their disks and addresses, at the least and the greatest size of their groups.
fn fleets(wanted: &Wanted) -> Vec<Line> {
    let mut lines = vec![];
    for (address, group) in wanted.of::<ScalingGroup>() {
        let version = wanted.of::<LaunchTemplateVersion>().find(|(a, _)| a.name == address.name);
        let Some((_, version)) = version else { continue };
        let hour = INSTANCES.iter().find(|(name, _)| *name == version.instance_type).map(|(_, price)| *price);
        let disk = f64::from(version.volume.gib) * DISK;
        let month = hour.map(|h| (h + ADDRESS) * HOURS + disk);
        let (least, most) = (f64::from(group.min), f64::from(group.max));
        let what = format!(
            "{}: {} {} with {} GB and a public address each",
            address.name,
            if group.min == group.max { group.max.to_string() } else { format!("{} to {}", group.min, group.max) },
            version.instance_type,
            version.volume.gib
        );
        lines.push(Line { what, least: month.map(|m| m * least), most: month.map(|m| m * most) });
    }
    lines
}

fn same(what: impl Into<String>, price: f64) -> Line {
    Line { what: what.into(), least: Some(price), most: Some(price) }
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

impl Cost {
    /// `94.23 to 205.11 USD a month`.
    pub fn range(&self) -> String {
        let at_least = if self.incomplete { "at least " } else { "" };
        if (self.most - self.least).abs() < 0.005 {
            format!("{at_least}{:.2} USD a month", self.most)
        } else {
            format!("{at_least}{:.2} to {:.2} USD a month", self.least, self.most)
        }
    }

    /// How much more than another, at the least and at the greatest size: `+7.59 to +30.37 USD a month`.
    pub fn delta(&self, before: &Self) -> String {
        let (least, most) = (self.least - before.least, self.most - before.most);
        if (least - most).abs() < 0.005 {
            format!("{most:+.2} USD a month")
        } else {
            format!("{least:+.2} to {most:+.2} USD a month")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> PolybotStack {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/prod.yaml");
        crate::spec::load::load(&[path.into()]).unwrap().remove(0)
    }

    #[test]
    fn production_is_summed_at_both_sizes() {
        let cost = of(&spec());
        // By hand: bots 2 x ((0.0104 + 0.005) x 730 + 16 x 0.08) = 25.044; a worker (0.0416 + 0.005) x 730 + 1.28 = 35.298;
        // balancer 16.425 and its addresses 7.30; two secrets 0.80; two alarms of target tracking and five of rollouts 0.70.
        let fixed = 25.044 + 16.425 + 7.30 + 0.80 + 0.70;
        assert!((cost.least - (fixed + 35.298)).abs() < 1e-6, "{}", cost.least);
        assert!((cost.most - (fixed + 4.0 * 35.298)).abs() < 1e-6, "{}", cost.most);
        assert!(!cost.incomplete);
        assert_eq!(cost.range(), "85.57 to 191.46 USD a month");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut stack = spec();
        stack.spec.polybot.instance_type = "x9.huge".into();
        let cost = of(&stack);
        assert!(cost.incomplete && cost.range().starts_with("at least 60.52"), "{}", cost.range());
        stack.spec.region = "eu-central-1".parse().unwrap();
        assert!(of(&stack).lines.iter().all(|l| l.least.is_none()));
    }

    #[test]
    fn a_difference_has_a_sign() {
        let before = of(&spec());
        let mut stack = spec();
        stack.spec.polybot.replicas = 3;
        assert_eq!(of(&stack).delta(&before), "+12.52 USD a month");
    }
}
