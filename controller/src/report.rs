//! What a plan means to a reader: people in a terminal, a pull request, or a program. `plan` and `drift` tell the same steps
//! in the same forms; `drift` judges them besides, and asks who did it.

pub mod github;
pub mod inventory;
pub mod markdown;
pub mod risk;
pub mod sarif;
pub mod trail;
pub mod unmanaged;

use crate::{
    engine::{self, Action, Cause, How, Plan},
    preflight,
    reconcile::Connection,
};
use risk::Risk;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use trail::Deed;
use unmanaged::{Ended, Unmanaged};

/// Version of [`Document`]; a field that goes or changes its meaning raises it, a new one does not.
pub const VERSION: u32 = 1;

/// The JSON form of `plan` and `drift`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of this form.
    pub version: u32,
    /// `plan` or `drift`.
    pub command: String,
    /// The exit code that goes with it: see the verdicts.
    pub exit_code: u8,
    /// The stacks, in the order of the files.
    pub stacks: Vec<Report>,
    /// Stacks of which nothing is known: their account and region could not be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<Unreached>,
}

impl Document {
    /// What a command found.
    pub fn new(command: &str, exit_code: u8, stacks: Vec<Report>, unreached: Vec<Unreached>) -> Self {
        Self { version: VERSION, command: command.to_owned(), exit_code, stacks, unreached }
    }

    /// Its JSON, with a line's end.
    ///
    /// # Errors
    /// None that can happen: every key is a text.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }
}

/// A stack of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unreached {
    /// Name of the stack.
    pub stack: String,
    /// Region.
    pub region: String,
    /// Why, with its causes and what helps.
    pub why: String,
}

/// What became known of one stack.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the stack.
    pub stack: String,
    /// Region.
    pub region: String,
    /// Account.
    pub account: String,
    /// One line: what the steps come to.
    pub summary: String,
    /// Digest of all that the plan would write, for `apply --expect`; absent where it would write nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Steps by action.
    pub counts: engine::Summary,
    /// The steps.
    pub steps: Vec<Step>,
    /// Differences that the spec says to leave alone.
    pub ignored: Vec<Ignored>,
    /// Entries of `ignoreDrift` that have ended.
    pub ended: Vec<String>,
    /// What lives in our VPC or bears our prefix and is not ours. Only `drift` looks for it.
    pub unmanaged: Vec<Unmanaged>,
    /// What an apply stands on. Only `plan --preflight` looks at it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<preflight::Finding>,
    /// The stack in Mermaid, with what changes coloured.
    #[serde(skip)]
    pub graph: Option<String>,
}

/// What a step means to `drift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// AWS was changed by someone else.
    Drift,
    /// The spec says something that was not applied yet.
    Pending,
    /// AWS differs, and nothing tells who made it so. Counts as drift: a false alarm costs a look, a missed one an outage.
    Unclear,
    /// It could not be looked at. Never counts as in sync.
    Unchecked,
    /// It comes about with another step, which has a verdict of its own.
    Follows,
}

/// One resource and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its address, `kind/name`.
    pub address: String,
    /// Id of the live one, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `create`, `update`, `replace`, `delete`, `retain`, `blocked`, `wait` or `unknown`.
    pub action: String,
    /// Why, where the action carries a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it means to `drift`; absent where it is only in progress or left on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What carrying it out may cost.
    pub risk: Risk,
    /// Why it has this risk.
    pub risk_reason: String,
    /// Since when the live one is as it is, where AWS tells (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The fields that differ.
    pub changes: Vec<Field>,
    /// Who last changed it, newest first, where CloudTrail tells. Only `drift` asks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Deed>,
    #[serde(skip)]
    recorded_as: Option<String>,
    #[serde(skip)]
    sign: char,
}

/// A field that differs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Its name.
    pub field: String,
    /// What AWS has.
    pub live: String,
    /// What the spec wants.
    pub wanted: String,
    /// `inPlace`, `replace`, `replaceWithOutage` or `consent`.
    pub how: String,
}

/// A difference that is left alone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ignored {
    /// Of which resource.
    pub address: String,
    /// Of which field; `*` for the whole resource.
    pub field: String,
    /// What AWS has.
    pub live: String,
    /// What the spec wants.
    pub wanted: String,
    /// Why it is left alone.
    pub reason: String,
    /// The last day of that.
    pub until: String,
}

/// What a step of a plan means to `drift`; nothing for what is only in progress, left on purpose, or our own bookkeeping.
pub fn verdict(step: &engine::Step) -> Option<Verdict> {
    match &step.action {
        _ if step.remembers => None,
        Action::Retain => None,
        Action::Unknown(_) => Some(Verdict::Unchecked),
        Action::Wait(..) if step.lacks_input() => Some(Verdict::Unchecked),
        // What was there and is not is drift, though something else has to be known before it is made again.
        Action::Wait(..) => (step.id.is_none() && step.cause == Cause::Drift).then_some(Verdict::Drift),
        Action::Create | Action::Delete(_) | Action::Update(_) | Action::Replace(_) | Action::Blocked(..) => {
            Some(match step.cause {
                Cause::Drift => Verdict::Drift,
                Cause::Pending => Verdict::Pending,
                Cause::Unclear => Verdict::Unclear,
                Cause::Follows => Verdict::Follows,
            })
        }
    }
}

/// 0 in sync, 3 drift, 2 pending only, 4 both, 5 not everything could be checked.
pub fn drift_code(verdicts: impl IntoIterator<Item = Verdict>) -> u8 {
    let (mut drift, mut pending) = (false, false);
    for verdict in verdicts {
        match verdict {
            Verdict::Unchecked => return 5,
            Verdict::Drift | Verdict::Unclear => drift = true,
            Verdict::Pending => pending = true,
            Verdict::Follows => {}
        }
    }
    match (drift, pending) {
        (true, true) => 4,
        (true, false) => 3,
        (false, true) => 2,
        (false, false) => 0,
    }
}

impl Report {
    /// Of a plan, with nothing asked of AWS yet.
    pub fn of(connection: &Connection, plan: &Plan) -> Self {
        let counts = plan.summary();
        let spec = &connection.spec.spec;
        let today = OffsetDateTime::now_utc().date();
        let reasons = |i: &engine::Ignored| {
            let by =
                spec.ignore_drift.iter().find(|d| d.covers(&i.address, i.change.field) || d.covers(&i.address, "*"));
            by.map(|d| (d.reason.clone(), d.until.to_string())).unwrap_or_default()
        };
        let ended = spec.ignore_drift.iter().filter(|d| d.until.date() < today);
        Self {
            stack: connection.aws.ownership.stack.clone(),
            region: connection.aws.region.clone(),
            account: connection.aws.account.clone(),
            summary: counts.to_string(),
            digest: (counts.writes() > 0).then(|| plan.digest()),
            counts,
            steps: plan.steps.iter().map(Step::of).collect(),
            ignored: plan
                .ignored
                .iter()
                .map(|i| {
                    let (reason, until) = reasons(i);
                    Ignored {
                        address: i.address.to_string(),
                        field: i.change.field.to_owned(),
                        live: i.change.from.clone(),
                        wanted: i.change.to.clone(),
                        reason,
                        until,
                    }
                })
                .collect(),
            ended: ended.map(|d| format!("{} ({}), ended {}", d.address, d.reason, d.until)).collect(),
            unmanaged: vec![],
            preflight: vec![],
            graph: None,
        }
    }

    /// What is to happen to which address, for a drawing.
    pub fn marks(&self) -> BTreeMap<String, String> {
        self.steps.iter().map(|s| (s.address.clone(), s.action.clone())).collect()
    }

    /// Keeps what means something to `drift`, finds out who did it and what else is there. Who it was is left out where it
    /// cannot be found out: that explains, and decides nothing.
    pub async fn into_drift(mut self, connection: &Connection, plan: &Plan) -> Self {
        self.steps.retain(|s| s.verdict.is_some());
        let drifted: Vec<String> = self
            .steps
            .iter()
            .filter(|s| matches!(s.verdict, Some(Verdict::Drift | Verdict::Unclear)))
            .filter_map(|s| s.recorded_as.clone())
            .collect();
        let around = unmanaged::around(&connection.aws, plan).await;
        let ended = around.ended.iter().map(|(id, _)| id);
        let drifted = drifted.iter().chain(ended).map(String::as_str).collect::<Vec<_>>();
        let deeds = trail::deeds(&connection.aws.trail, &drifted).await;
        self.steps.extend(around.ended.iter().map(|(id, how)| Step::ended(id, *how)));
        self.steps.extend(around.unseen.iter().map(|(kind, why)| Step::unseen(kind, why)));
        for step in &mut self.steps {
            step.by = step.recorded_as.as_ref().and_then(|name| deeds.get(name).cloned()).unwrap_or_default();
        }
        self.unmanaged = around.unmanaged;
        self.summary = self.drift_summary();
        self
    }

    fn drift_summary(&self) -> String {
        let count = |v| self.steps.iter().filter(|s| s.verdict == Some(v)).count();
        let parts = [
            (count(Verdict::Drift), "changed in AWS"),
            (count(Verdict::Pending), "changed in the spec"),
            (count(Verdict::Unclear), "different, nobody knows why"),
            (count(Verdict::Unchecked), "not to be checked"),
            (self.ignored.len(), "ignored"),
            (self.unmanaged.len(), "unmanaged"),
        ];
        let words: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
        match (self.steps.is_empty(), words.is_empty()) {
            (true, true) => "in sync".to_owned(),
            (true, false) => format!("in sync, {}", words.join(", ")),
            (false, _) => words.join(", "),
        }
    }

    /// What the steps mean to `drift`.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.steps.iter().filter_map(|s| s.verdict)
    }

    /// `prod in us-east-1`.
    pub fn title(&self) -> String {
        format!("{} in {}", self.stack, self.region)
    }

    /// `drift` as people read it in a terminal.
    pub fn drift_text(&self) -> String {
        let mut text = format!("stack {}: {}\n", self.title(), self.summary);
        for step in &self.steps {
            let verdict = step.verdict.map(Verdict::word).unwrap_or_default();
            text.push_str(&format!("{verdict:<9} {} {:<8}{}", step.sign, step.action, step.address));
            if let Some(id) = step.id.as_ref().filter(|id| !step.address.ends_with(*id)) {
                text.push_str(&format!(" ({id})"));
            }
            if let Some(reason) = &step.reason {
                text.push_str(&format!(": {reason}"));
            }
            for c in &step.changes {
                text.push_str(&format!("\n            {}: the spec wants {}, AWS has {}", c.field, c.wanted, c.live));
            }
            if let Some(since) = &step.since {
                text.push_str(&format!("\n            there since {since}"));
            }
            for deed in &step.by {
                text.push_str(&format!("\n            {deed}"));
            }
            text.push('\n');
        }
        for i in &self.ignored {
            text.push_str(&format!("ignored   {} {}: {} (until {})\n", i.address, i.field, i.reason, i.until));
        }
        for ended in &self.ended {
            text.push_str(&format!("ended     ignoreDrift for {ended}: it is reported again\n"));
        }
        for u in &self.unmanaged {
            text.push_str(&format!("unmanaged {u}\n"));
        }
        text
    }
}

impl Verdict {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Pending => "pending",
            Self::Unclear => "unclear",
            Self::Unchecked => "unchecked",
            Self::Follows => "follows",
        }
    }
}

impl Step {
    fn of(step: &engine::Step) -> Self {
        let (risk, risk_reason) = risk::of(step);
        let since = step.found().and_then(|f| f.since).and_then(|t| t.format(&Rfc3339).ok());
        Self {
            address: step.address.to_string(),
            id: step.id.clone(),
            action: step.action.word().to_owned(),
            reason: step.action.reason().map(ToOwned::to_owned),
            verdict: verdict(step),
            risk,
            risk_reason: risk_reason.to_owned(),
            since,
            changes: step.action.changes().iter().map(Field::of).collect(),
            by: vec![],
            recorded_as: step.recorded_as(),
            sign: step.action.sign(),
        }
    }
}

impl Step {
    /// An instance that somebody ended: nothing to do, and worth to be known.
    fn ended(id: &str, how: Ended) -> Self {
        Self {
            address: format!("instance/{id}"),
            id: Some(id.to_owned()),
            action: "wait".to_owned(),
            reason: Some(format!("it was {how}; its scaling group replaces it")),
            verdict: Some(Verdict::Drift),
            risk: Risk::None,
            risk_reason: "nothing is done".to_owned(),
            since: None,
            changes: vec![],
            by: vec![],
            recorded_as: Some(id.to_owned()),
            sign: '…',
        }
    }

    /// What could not be looked for around the stack.
    fn unseen(kind: &str, why: &str) -> Self {
        Self {
            address: format!("{kind}/*"),
            id: None,
            action: "unknown".to_owned(),
            reason: Some(format!("what else is there cannot be looked for: {why}")),
            verdict: Some(Verdict::Unchecked),
            risk: Risk::None,
            risk_reason: "nothing is done".to_owned(),
            since: None,
            changes: vec![],
            by: vec![],
            recorded_as: None,
            sign: '?',
        }
    }
}

impl Field {
    fn of(c: &engine::Change) -> Self {
        let how = match c.how {
            How::InPlace => "inPlace",
            How::CreateFirst => "replace",
            How::DeleteFirst => "replaceWithOutage",
            How::Blocked(_) => "consent",
        };
        Self { field: c.field.to_owned(), live: c.from.clone(), wanted: c.to.clone(), how: how.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_never_counts_as_in_sync_and_unclear_counts_as_drift() {
        use Verdict::{Drift, Follows, Pending, Unchecked, Unclear};
        for (verdicts, expected) in [
            (&[][..], 0),
            (&[Drift], 3),
            (&[Unclear], 3),
            (&[Pending], 2),
            (&[Follows, Pending], 2),
            (&[Pending, Drift], 4),
            (&[Unchecked], 5),
            (&[Drift, Unchecked], 5),
        ] {
            assert_eq!(drift_code(verdicts.iter().copied()), expected, "{verdicts:?}");
        }
    }
}
