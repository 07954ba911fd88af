//! What carrying out a step may cost those who use the bot.

use crate::{
    engine::{Action, How, Step},
    kinds,
};
use schemars::JsonSchema;
use serde::Serialize;

/// The worst that a step can do, from harmless to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Nobody notices.
    #[default]
    None,
    /// Instances are replaced, a few at a time; work in hand is finished or handed over.
    Restart,
    /// The bot does not answer for a while.
    Outage,
    /// What users cannot recreate is lost.
    Data,
}

impl Risk {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restart => "restart",
            Self::Outage => "brief outage",
            Self::Data => "data",
        }
    }
}

/// On the way between Telegram and the bots: without one of these nothing is answered.
const ON_THE_WAY: [&str; 10] = [
    "vpc",
    "subnet",
    "internet_gateway",
    "route_table",
    "load_balancer",
    "listener",
    "target_group",
    "dns_record",
    "scaling_group",
    "webhook",
];

/// The risk of a step, and why.
pub fn of(step: &Step) -> (Risk, &'static str) {
    let kind = step.address.kind;
    let holds_data = kinds::kind(kind).is_some_and(crate::engine::Kind::holds_data);
    let fields = |names: &[&str]| step.action.changes().iter().any(|c| names.contains(&c.field));
    match &step.action {
        Action::Retain | Action::Wait(..) | Action::Unknown(_) => (Risk::None, "nothing is done"),
        Action::Blocked(_, changes) if changes.iter().any(|c| c.how != How::InPlace) && holds_data => {
            (Risk::Data, "its data would go; nothing is done without consent")
        }
        Action::Blocked(..) => (Risk::None, "nothing is done without consent"),
        Action::Create if kind == "launch_template_version" => {
            (Risk::Restart, "instances are made from it, a few at a time")
        }
        Action::Create => (Risk::None, "it is new"),
        Action::Delete(_) if holds_data => (Risk::Data, "its data goes with it"),
        Action::Replace(_) if holds_data => (Risk::Data, "its data goes with the old one"),
        // What bears no mark of ours serves nobody here; what is one too many has a double that serves.
        Action::Delete(_) if !step.counted => (Risk::None, "nothing of ours uses it"),
        Action::Delete(_) if ON_THE_WAY.contains(&kind) => (Risk::Outage, "what goes over it is not answered any more"),
        Action::Delete(_) => (Risk::None, "nothing uses it any more"),
        Action::Replace(_) if kind == "launch_template_version" => {
            (Risk::Restart, "instances are replaced, a few at a time")
        }
        Action::Replace(changes) if changes.iter().any(|c| c.how == How::DeleteFirst) => {
            (Risk::Outage, "the old one must go before the new one can be made")
        }
        Action::Replace(_) => (Risk::None, "the old one serves until the new one does"),
        Action::Update(_) if kind == "rollout" => (Risk::Restart, "instances are replaced, a few at a time"),
        Action::Update(_) if kind == "scaling_group" && fields(&["min", "max", "desired"]) => {
            (Risk::Restart, "instances may come and go")
        }
        Action::Update(_) if kind == "dns_record" => (Risk::Outage, "resolvers keep the old answer for a minute"),
        Action::Update(_) if kind == "route_table" || (kind == "internet_gateway") => {
            (Risk::None, "the way out comes back")
        }
        Action::Update(_) => (Risk::None, "changed in place"),
    }
}
