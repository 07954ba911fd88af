//! Every resource of a stack in one list: what lives in AWS, and what is missing there.

use crate::engine::{Action, Found, Owner, Phase, Plan};
use time::OffsetDateTime;

/// One resource, live or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its address, `kind/name`.
    pub address: String,
    /// Its kind.
    pub kind: &'static str,
    /// Id, ARN or name in AWS; empty where it is missing.
    pub id: String,
    /// One word: `ready`, `pending`, `deleting`, `failed`, `differs`, `surplus`, `blocked`, `waiting`, `missing` or `unknown`.
    pub state: &'static str,
    /// Since when it is as it is, where AWS tells (RFC 3339).
    pub since: Option<String>,
    /// Why it is in this state; empty where it is ready.
    pub message: String,
}

/// All resources that a plan knows of: the live ones that are ours, then the missing ones.
pub fn rows(plan: &Plan) -> Vec<Row> {
    let live = plan.found.iter().filter(|f| f.owner == Owner::Ours).map(|f| {
        let (state, message) = phase(plan, f);
        let (address, kind) = (f.address.to_string(), f.address.kind);
        Row { address, kind, id: f.id.clone(), state, since: f.since.map(short_time), message }
    });
    let missing = plan.steps.iter().filter(|s| s.id.is_none()).map(|s| Row {
        address: s.address.to_string(),
        kind: s.address.kind,
        id: String::new(),
        state: if matches!(s.action, Action::Unknown(_)) { "unknown" } else { "missing" },
        since: None,
        message: s.action.reason().unwrap_or_default().to_owned(),
    });
    live.chain(missing).collect()
}

/// The phase in one word, and why. A live thing that the plan would touch says so.
fn phase(plan: &Plan, found: &Found) -> (&'static str, String) {
    match &found.phase {
        Phase::Pending(why) => return ("pending", why.clone()),
        Phase::Deleting(why) => return ("deleting", why.clone()),
        Phase::Failed(why) => return ("failed", why.clone()),
        Phase::Ready => {}
    }
    let step = plan.steps.iter().find(|s| s.id.as_ref() == Some(&found.id) && s.address == found.address);
    match step.map(|s| &s.action) {
        Some(Action::Update(changes) | Action::Replace(changes)) => {
            let mut fields: Vec<_> = changes.iter().map(|c| c.field).collect();
            fields.dedup();
            ("differs", fields.join(", "))
        }
        Some(Action::Delete(why)) => ("surplus", why.clone()),
        Some(Action::Blocked(why, _)) => ("blocked", why.clone()),
        Some(Action::Wait(why, _)) => ("waiting", why.clone()),
        _ => ("ready", String::new()),
    }
}

/// To the second, in UTC: `2026-11-24T05:06:22Z`.
pub fn short_time(t: OffsetDateTime) -> String {
    let t = t.to_offset(time::UtcOffset::UTC);
    t.format(time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default()
}
