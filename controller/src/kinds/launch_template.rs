//! The frame of a service's launch-template versions. What instances are made from is in the versions.

use super::{TemplateId, gone, shared_list, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Live, Resource, Tags, differs},
};
use aws_sdk_ec2::types::{InstanceType, LaunchTemplate as Ec2LaunchTemplate, RequestLaunchTemplateData, ResourceType};

/// A launch template.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTemplate {
    /// Its name, unique in account and region.
    pub name: String,
}

shared_list!(Templates(Ec2LaunchTemplate), describe_launch_templates);

impl Resource for LaunchTemplate {
    const KIND: &'static str = "launch_template";
    type Output = TemplateId;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name } = self;
        differs("name", name, &live.name, How::CreateFirst).into_iter().collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let live = Templates::of_stack(view).await?.into_iter().map(|(t, tags)| {
            let id = t.launch_template_id().unwrap_or_default();
            let name = t.launch_template_name().unwrap_or_default();
            let (owner, logical) = view.ownership.of(Self::KIND, &tags, name);
            let since = t.create_time().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
            let state = Self { name: name.to_owned() };
            Live { owner, tags: Some(tags), since, ..Live::ready(logical, id, state, TemplateId::from(id)) }
        });
        Ok(live.collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<TemplateId> {
        // AWS makes version 1 with the template and takes no template without one. Nothing is ever launched from it.
        let data = RequestLaunchTemplateData::builder().instance_type(InstanceType::T3Micro).build();
        let call = aws.ec2.create_launch_template().launch_template_name(&self.name).launch_template_data(data);
        let call = call.version_description("empty").tag_specifications(tag_spec(ResourceType::LaunchTemplate, tags));
        let made = call.send().await?;
        let id = made.launch_template().and_then(|t| t.launch_template_id()).unwrap_or_default();
        Ok(TemplateId::from(id))
    }

    async fn update(&self, _: &Aws, live: &Live<Self>, _: &[Change]) -> Result<TemplateId> {
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.ec2.delete_launch_template().launch_template_id(&live.id).send().await)
    }

    fn tag_target(id: &TemplateId) -> Option<TagTarget> {
        Some(TagTarget::Ec2(id.0.clone()))
    }
}
