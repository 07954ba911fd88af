//! Someone who hears of a topic by e-mail. AWS asks them to confirm; until then the subscription is pending, which is no
//! difference, and it has no ARN to delete it by: it goes with its topic.

use super::{Arn, gone};
use crate::{
    aws::{Aws, Error, Result, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
};

/// A subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// The topic.
    pub topic: Input<Arn>,
    /// `email`.
    pub protocol: String,
    /// The address.
    pub endpoint: String,
    /// Whether it waits to be confirmed. Then it cannot be removed; AWS forgets it after some days.
    pub pending: bool,
}

/// What AWS says instead of an ARN until the address is confirmed.
const PENDING: &str = "PendingConfirmation";
/// And what it says for a while of one that was ended, by a link in an e-mail for example.
const DELETED: &str = "Deleted";

impl Resource for Subscription {
    const KIND: &'static str = "subscription";
    const PART_OF: Option<&'static str> = Some("topic");
    type Output = Arn;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.topic]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { topic, protocol, endpoint, pending: _ } = self;
        [
            differs("topic", topic, &live.topic, How::CreateFirst),
            differs("protocol", protocol, &live.protocol, How::CreateFirst),
            differs("endpoint", endpoint, &live.endpoint, How::CreateFirst),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// GetSubscriptionAttributes is stale for a while; the list of the topic is not.
    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let topic = format!("arn:aws:sns:{}:{}:{}", view.region, view.account, view.known.topic);
        let mut pages = view.sns.list_subscriptions_by_topic().topic_arn(&topic).into_paginator().items().send();
        let mut live = vec![];
        while let Some(subscription) = pages.next().await {
            let s = match subscription.map_err(Error::from) {
                Ok(s) => s,
                Err(e) if e.is_not_found() => return Ok(vec![]),
                Err(e) => return Err(e),
            };
            let endpoint = s.endpoint.unwrap_or_default();
            let arn = s.subscription_arn.unwrap_or_default();
            if arn == DELETED {
                continue;
            }
            let pending = arn == PENDING;
            let id = if pending { format!("{endpoint}, not confirmed yet") } else { endpoint.clone() };
            let protocol = s.protocol.unwrap_or_default();
            let name = format!("{protocol}-{endpoint}");
            let state = Self { topic: Input::Known(Arn(topic.clone())), protocol, endpoint, pending };
            live.push(Live::ready(name, id, state, Arn(arn)));
        }
        Ok(live)
    }

    async fn create(&self, aws: &Aws, _: &Tags) -> Result<Arn> {
        let call = aws.sns.subscribe().topic_arn(&self.topic.get()?.0).protocol(&self.protocol);
        let made = call.endpoint(&self.endpoint).return_subscription_arn(true).send().await?;
        Ok(Arn(made.subscription_arn.unwrap_or_default()))
    }

    async fn update(&self, _: &Aws, live: &Live<Self>, _: &[Change]) -> Result<Arn> {
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.sns.unsubscribe().subscription_arn(&live.output.0).send().await)
    }

    fn removed(&self) -> bool {
        self.pending
    }
}

/// The name of a subscription within the stack.
pub fn subscription_name(protocol: &str, endpoint: &str) -> String {
    format!("{protocol}-{endpoint}")
}
