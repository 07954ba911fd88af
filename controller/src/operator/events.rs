//! Events: one for each change in AWS, repeats counted instead of repeated.

use super::{Operator, conditions::short};
use crate::{
    engine::{Action, Outcome},
    keep::{Pass, Withheld},
    spec::PolybotStack,
};
use futures::StreamExt;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

/// Events that are sent at once.
const AT_ONCE: usize = 8;

impl Operator {
    /// Tells of every change of a pass, and of what it found out. Events are news: one that cannot be told is no reason to fail.
    pub(super) async fn tell_events(&self, stack: &PolybotStack, pass: &Pass) {
        let mut events: Vec<Event> = pass.report.steps.iter().filter_map(of_step).collect();
        if !pass.seen.drift.is_empty() {
            let note = format!("{} changed in AWS: {}", pass.seen.drift.len(), pass.seen.drift.join(", "));
            events.insert(0, event(EventType::Warning, "DriftFound", "look", &note));
        }
        match &pass.withheld {
            Some(why @ (Withheld::Unapproved | Withheld::TooManyDeletions(..))) => {
                let note = format!("{why}: {}; its digest is {}", pass.seen.summary, pass.seen.digest);
                events.push(event(EventType::Normal, "AwaitingApproval", &format!("plan {}", pass.seen.digest), &note));
            }
            Some(Withheld::Observed) | None => {}
        }
        futures::stream::iter(events).for_each_concurrent(AT_ONCE, |event| self.publish(stack, event)).await;
    }

    pub(super) async fn warn(&self, stack: &impl Resource<DynamicType = ()>, reason: &str, note: String) {
        self.publish(stack, event(EventType::Warning, reason, "look", &note)).await;
    }

    pub(super) async fn note(&self, stack: &impl Resource<DynamicType = ()>, reason: &str, note: String) {
        self.publish(stack, event(EventType::Normal, reason, "reconcile", &note)).await;
    }

    async fn publish(&self, stack: &impl Resource<DynamicType = ()>, event: Event) {
        if self.lost.is_asked() {
            return;
        }
        if let Err(error) = self.recorder.publish(&event, &stack.object_ref(&())).await {
            tracing::debug!(%error, reason = event.reason, "an event was not told");
        }
    }
}

/// The action holds the address: events of the same action and reason are one event with a count.
fn of_step((step, outcome): &(crate::engine::Step, Outcome)) -> Option<Event> {
    let action = format!("{} {}", step.action.word(), step.address);
    let id = step.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    match outcome {
        Outcome::Done(took) if !step.remembers => {
            let reason = match step.action {
                Action::Create => "Created",
                Action::Replace(_) => "Replaced",
                Action::Delete(_) => "Deleted",
                _ => "Updated",
            };
            let fields: Vec<_> = step.action.changes().iter().map(|c| c.field).collect();
            let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
            let note = format!("{action}{id}{fields} [{}, {:.1} s]", step.cause.word(), took.as_secs_f64());
            Some(event(EventType::Normal, reason, &action, &note))
        }
        Outcome::Failed(error) => {
            let hint = error.hint().map(|h| format!(" (hint: {h})")).unwrap_or_default();
            Some(event(EventType::Warning, "StepFailed", &action, &format!("{action}{id}: {error}{hint}")))
        }
        Outcome::Done(_) | Outcome::Waiting(_) | Outcome::Blocked(_) | Outcome::Retained => None,
    }
}

fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    // 128 bytes and 1 kB are the longest that the API takes.
    let action = action.chars().take(64).collect();
    let mut note = short(note);
    while note.len() > 1000 {
        note.pop();
    }
    Event { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None }
}
