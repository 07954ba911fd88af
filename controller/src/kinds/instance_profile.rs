//! What hands a role to an instance.

use super::{Arn, gone};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
    sdk_tags,
};
use futures::future::try_join_all;

/// An instance profile; it holds one role.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceProfile {
    /// Its name, unique in the account.
    pub name: String,
    /// The role; none is a difference that an update mends.
    pub role: Option<Input<String>>,
}

/// What an instance profile offers to others.
#[derive(Clone, Debug)]
pub struct ProfileOut {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: Arn,
}

impl Resource for InstanceProfile {
    const KIND: &'static str = "instance_profile";
    type Output = ProfileOut;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        self.role.iter_mut().map(|r| r as &mut dyn Slot).collect()
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, role } = self;
        [differs("name", name, &live.name, How::CreateFirst), differs("role", role, &live.role, How::InPlace)]
            .into_iter()
            .flatten()
            .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        // A list tells no tags, so each is asked for by name.
        let live = try_join_all(view.known.profiles.iter().map(|name| async move {
            let found = match view.iam.get_instance_profile().instance_profile_name(name).send().await {
                Ok(found) => found.instance_profile,
                Err(e) => match Error::from(e) {
                    e if e.is_not_found() => None,
                    e => return Err(e),
                },
            };
            Ok::<_, Error>(found.map(|p| {
                let tags = tags::read(p.tags().iter().map(|t| (Some(t.key()), Some(t.value()))));
                let (owner, logical) = view.ownership.of(Self::KIND, &tags, name);
                let role = p.roles().first().map(|r| Input::Known(r.role_name().to_owned()));
                let state = Self { name: name.clone(), role };
                let output = ProfileOut { name: name.clone(), arn: p.arn().into() };
                let since = time::OffsetDateTime::from_unix_timestamp(p.create_date().secs()).ok();
                Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, output) }
            }))
        }))
        .await?;
        Ok(live.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<ProfileOut> {
        let path = super::iam_path(aws);
        let call = aws.iam.create_instance_profile().instance_profile_name(&self.name).path(&path);
        call.set_tags(Some(sdk_tags!(aws_sdk_iam, tags, fallible))).send().await?;
        self.set_role(aws, None).await?;
        let arn = Arn(format!("arn:aws:iam::{}:instance-profile{path}{}", aws.account, self.name));
        Ok(ProfileOut { name: self.name.clone(), arn })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<ProfileOut> {
        self.set_role(aws, live.state.role.as_ref()).await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        if let Some(role) = &live.state.role {
            let call = aws.iam.remove_role_from_instance_profile().instance_profile_name(&live.id);
            gone(call.role_name(role.get()?).send().await)?;
        }
        gone(aws.iam.delete_instance_profile().instance_profile_name(&live.id).send().await)
    }

    fn keys(output: &ProfileOut) -> Vec<String> {
        vec![output.arn.0.clone()]
    }

    fn tag_target(output: &ProfileOut) -> Option<TagTarget> {
        Some(TagTarget::InstanceProfile(output.name.clone()))
    }
}

impl InstanceProfile {
    /// A profile holds one role, so the old one has to go first.
    async fn set_role(&self, aws: &Aws, had: Option<&Input<String>>) -> Result<()> {
        if let Some(had) = had {
            let call = aws.iam.remove_role_from_instance_profile().instance_profile_name(&self.name);
            gone(call.role_name(had.get()?).send().await)?;
        }
        if let Some(role) = &self.role {
            let call = aws.iam.add_role_to_instance_profile().instance_profile_name(&self.name);
            call.role_name(role.get()?).send().await?;
        }
        Ok(())
    }
}
