//! What tells that a service does badly, beyond the health of its instances. A rollout goes back when one of these rings, and
//! the stack's topic hears of it.

use super::Arn;
use crate::{
    aws::{Aws, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs, differs_as},
};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt};

/// An alarm of CloudWatch: it rings when a number is above its limit for some minutes. No data is no reason to ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Its name, unique in account and region.
    pub name: String,
    /// What it means when it rings, for those who get it.
    pub description: String,
    /// The number it looks at, once a minute.
    pub metric: Metric,
    /// The number may be this high.
    pub limit: f64,
    /// So many minutes in a row above the limit make it ring.
    pub minutes: i32,
    /// Seconds in which a version that does nothing right brings the number above the limit. Not a state of the alarm.
    pub rise: i32,
    /// The topic that is told when it begins to ring, and when it ends.
    pub tells: Option<Input<Arn>>,
}

/// A number that AWS keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `AWS/SQS`.
    pub namespace: String,
    /// Its name within that.
    pub name: String,
    /// Of what, by name and value.
    pub dimensions: Vec<(String, Input<String>)>,
    /// `Sum` or `Maximum` of a minute.
    pub statistic: String,
}

/// An alarm that a rollout is watched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Name of the alarm.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether it rings already: then it says nothing about what comes.
    pub rings: bool,
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Resource for Alarm {
    const KIND: &'static str = "alarm";
    type Output = Watch;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let dimensions = self.metric.dimensions.iter_mut().map(|(_, v)| v as &mut dyn Slot);
        dimensions.chain(self.tells.iter_mut().map(|topic| topic as &mut dyn Slot)).collect()
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, description, metric, limit, minutes, rise: _, tells } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("description", description, &live.description, How::InPlace),
            differs("limit", limit, &live.limit, How::InPlace),
            differs("minutes", minutes, &live.minutes, How::InPlace),
            differs("tells", tells, &live.tells, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        if metric != &live.metric {
            changes.push(differs_as("metric", live.metric.to_string(), metric.to_string(), How::InPlace));
        }
        changes
    }

    fn intent(&self) -> String {
        format!("{:?}", Self { rise: 0, ..self.clone() })
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let prefix = format!("{}-", view.ownership.prefix);
        let mut all = vec![];
        let mut next = Value::Null;
        loop {
            let mut ask = json!({ "AlarmNamePrefix": prefix, "AlarmTypes": ["MetricAlarm"] });
            if !next.is_null() {
                ask["NextToken"] = next;
            }
            let answer = view.cloudwatch.call("DescribeAlarms", &ask).await?;
            all.extend(answer["MetricAlarms"].as_array().cloned().unwrap_or_default());
            next = answer["NextToken"].clone();
            if next.is_null() {
                break;
            }
        }
        try_join_all(all.iter().map(|alarm| read(view, alarm))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<Watch> {
        let tags: Vec<Value> = tags.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
        self.put(aws, Some(tags)).await
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<Watch> {
        self.put(aws, None).await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        // AWS says nothing of names that it does not know.
        aws.cloudwatch.call("DeleteAlarms", &json!({ "AlarmNames": [live.id] })).await.map(|_| ())
    }

    fn tag_target(watch: &Watch) -> Option<TagTarget> {
        Some(TagTarget::Alarm(watch.arn.clone()))
    }
}

impl Alarm {
    /// Seconds after which it rings at the latest when a version does nothing right. What watches for a shorter time takes such a
    /// version for good.
    pub fn rings_after(&self) -> i32 {
        self.rise + self.minutes * MINUTE + LATE
    }

    /// Creates or changes: one call that sends everything. AWS takes tags with the first one only.
    async fn put(&self, aws: &Aws, tags: Option<Vec<Value>>) -> Result<Watch> {
        let Self { name, description, metric, limit, minutes, rise: _, tells } = self;
        let Metric { namespace, name: metric, dimensions, statistic } = metric;
        let dimensions = dimensions.iter().map(|(k, v)| Ok(json!({ "Name": k, "Value": v.get()? })));
        let dimensions = dimensions.collect::<Result<Vec<_>>>()?;
        let tells: Vec<_> = tells.iter().map(|topic| topic.get().map(|arn| &arn.0)).collect::<Result<_>>()?;
        let mut ask = json!({
            "AlarmName": name, "AlarmDescription": description, "ActionsEnabled": true, "AlarmActions": tells, "OKActions": tells,
            "Threshold": limit, "EvaluationPeriods": minutes,
            "DatapointsToAlarm": minutes, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
            "Namespace": namespace, "MetricName": metric, "Dimensions": dimensions, "Statistic": statistic, "Period": MINUTE,
        });
        if let Some(tags) = tags {
            ask["Tags"] = tags.into();
        }
        aws.cloudwatch.call("PutMetricAlarm", &ask).await?;
        let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", aws.region, aws.account);
        Ok(Watch { name: name.clone(), arn, rings: false })
    }
}

/// Seconds of a period: metrics of AWS's own services have one value a minute.
const MINUTE: i32 = 60;
/// Seconds by which CloudWatch's numbers come late.
const LATE: i32 = 120;

impl fmt::Display for Metric {
    /// `Sum of AWS/SQS Messages (QueueName=q)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, dimensions, statistic } = self;
        let dimensions: Vec<_> = dimensions
            .iter()
            .map(|(k, v)| format!("{k}={}", v.known().map_or_else(|| format!("{v:?}"), Clone::clone)))
            .collect();
        write!(f, "{statistic} of {namespace} {name} ({})", dimensions.join(", "))
    }
}

async fn read(view: &View, alarm: &Value) -> Result<Live<Alarm>> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (name, arn) = (text(&alarm["AlarmName"]), text(&alarm["AlarmArn"]));
    let answer = view.cloudwatch.call("ListTagsForResource", &json!({ "ResourceARN": arn })).await?;
    let pairs = answer["Tags"].as_array().into_iter().flatten().map(|t| (t["Key"].as_str(), t["Value"].as_str()));
    let tags = tags::read(pairs);
    let (owner, logical) = view.ownership.of(Alarm::KIND, &tags, &name);
    // Of an alarm on an expression nothing is known but that it is none of ours.
    let dimensions = alarm["Dimensions"].as_array().into_iter().flatten();
    let number = |v: &Value| v.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default();
    // What an alarm of ours never is: compared in another way, over other periods, silent about missing data.
    let usual = alarm["ComparisonOperator"] == "GreaterThanThreshold"
        && alarm["TreatMissingData"] == "notBreaching"
        && number(&alarm["Period"]) == MINUTE;
    let state = Alarm {
        description: text(&alarm["AlarmDescription"]),
        metric: Metric {
            namespace: text(&alarm["Namespace"]),
            name: format!("{}{}", text(&alarm["MetricName"]), if usual { "" } else { " (judged in another way)" }),
            dimensions: dimensions.map(|d| (text(&d["Name"]), Input::Known(text(&d["Value"])))).collect(),
            statistic: text(&alarm["Statistic"]),
        },
        limit: alarm["Threshold"].as_f64().unwrap_or_default(),
        minutes: number(&alarm["EvaluationPeriods"]),
        rise: 0,
        tells: told(alarm),
        name: name.clone(),
    };
    let watch = Watch { name: name.clone(), arn, rings: alarm["StateValue"] == "ALARM" };
    Ok(Live { owner, tags: Some(tags), ..Live::ready(logical, name, state, watch) })
}

/// The topic that hears of an alarm. It counts as another one where others hear of it, too, where it hears of one half only,
/// and where its alarm's actions are switched off.
fn told(alarm: &Value) -> Option<Input<Arn>> {
    let of = |key: &str| alarm[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let (rings, ends, unknown) = (of("AlarmActions"), of("OKActions"), of("InsufficientDataActions"));
    let all: BTreeSet<_> = [&rings, &ends, &unknown].into_iter().flatten().copied().collect();
    let mark = match () {
        () if alarm["ActionsEnabled"] == false => " (switched off)",
        () if all.len() > 1 || rings != ends || !unknown.is_empty() => " (of other events)",
        () => "",
    };
    let all = Vec::from_iter(all).join(", ");
    (!all.is_empty()).then(|| Input::Known(Arn(format!("{all}{mark}"))))
}

#[cfg(test)]
mod tests {
    use super::told;
    use serde_json::json;

    #[test]
    fn whoever_is_told_in_another_way_is_told_of_as_another() {
        let told = |on: bool, rings: &[&str], ends: &[&str], unknown: &[&str]| {
            let topic = told(&json!({ "ActionsEnabled": on, "AlarmActions": rings, "OKActions": ends,
                "InsufficientDataActions": unknown }));
            topic.map(|t| t.known().unwrap().0.clone())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(told(true, &[], &[], &[]), None);
        assert_eq!(told(true, &["a"], &["a"], &[]), is("a"));
        assert_eq!(told(false, &["a"], &["a"], &[]), is("a (switched off)"));
        assert_eq!(told(true, &["a"], &[], &[]), is("a (of other events)"));
        assert_eq!(told(true, &["a"], &["a"], &["a"]), is("a (of other events)"));
        assert_eq!(told(true, &["a", "b"], &["a", "b"], &[]), is("a, b (of other events)"));
    }
}
