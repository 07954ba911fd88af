//! The topic of scaling events and alarms.

use super::{Arn, gone};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Resource, Tags, differs},
    sdk_tags,
};

/// A topic of SNS.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name, unique in account and region.
    pub name: String,
    /// The sender's name in e-mails.
    pub display_name: String,
}

impl Resource for Topic {
    const KIND: &'static str = "topic";
    type Output = Arn;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, display_name } = self;
        [
            differs("name", name, &live.name, How::CreateFirst),
            differs("display_name", display_name, &live.display_name, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// By ARN, which follows from the name: ListTopics would grow with everyone's topics.
    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let name = view.known.topic.clone();
        let arn = format!("arn:aws:sns:{}:{}:{name}", view.region, view.account);
        let (attributes, tags) = futures::join!(
            view.sns.get_topic_attributes().topic_arn(&arn).send(),
            view.sns.list_tags_for_resource().resource_arn(&arn).send()
        );
        let attributes = match attributes.map_err(Error::from) {
            Ok(a) => a.attributes.unwrap_or_default(),
            Err(e) if e.is_not_found() => return Ok(vec![]),
            Err(e) => return Err(e),
        };
        let tags = tags::read(tags?.tags().iter().map(|t| (Some(t.key()), Some(t.value()))));
        let (owner, logical) = view.ownership.of(Self::KIND, &tags, &name);
        let state =
            Self { name: name.clone(), display_name: attributes.get("DisplayName").cloned().unwrap_or_default() };
        Ok(vec![Live { owner, tags: Some(tags), ..Live::ready(logical, name, state, Arn(arn)) }])
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<Arn> {
        let call = aws.sns.create_topic().name(&self.name).attributes("DisplayName", &self.display_name);
        let made = call.set_tags(Some(sdk_tags!(aws_sdk_sns, tags, fallible))).send().await?;
        Ok(Arn(made.topic_arn.unwrap_or_default()))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<Arn> {
        let call = aws.sns.set_topic_attributes().topic_arn(&live.output.0).attribute_name("DisplayName");
        call.attribute_value(&self.display_name).send().await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.sns.delete_topic().topic_arn(&live.output.0).send().await)
    }

    fn keys(arn: &Arn) -> Vec<String> {
        vec![arn.0.clone()]
    }

    fn tag_target(arn: &Arn) -> Option<TagTarget> {
        Some(TagTarget::Topic(arn.0.clone()))
    }
}
