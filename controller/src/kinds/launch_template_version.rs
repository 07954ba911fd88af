//! What a service's instances are made from. A version cannot be changed: another wish is another version, and the last ones
//! stay, so that there is something to go back to. Versions bear no tags, so the address is in their description.

use super::{Arn, GroupId, TemplateId, launch_template::Templates, same_set};
use crate::{
    aws::{Aws, Error, Result, View},
    engine::{Change, How, Input, Live, Owner, Phase, Resource, Slot, Tags, differs, differs_as},
};
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, LaunchTemplateVersion as Ec2Version, RequestLaunchTemplateData,
    ResourceType, Tag, VolumeType,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// A launch-template version.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTemplateVersion {
    /// The template it is of.
    pub template: Input<TemplateId>,
    /// AMI. The one of the live version is kept while it exists and nothing else changes: a new image of the publisher is no reason
    /// to replace a fleet, but where instances are replaced anyway, they get it.
    pub image: Input<String>,
    /// Whether the AMI still exists.
    pub image_exists: bool,
    /// Instance type.
    pub instance_type: String,
    /// What an instance does when it boots.
    pub user_data: UserData,
    /// Security groups.
    pub groups: Vec<Input<GroupId>>,
    /// Instance profile.
    pub profile: Input<Arn>,
    /// Key pair for SSH.
    pub key_name: Option<Input<String>>,
    /// IMDSv2 only, and how many network hops away metadata may be asked for.
    pub metadata: Metadata,
    /// Root volume.
    pub volume: Volume,
    /// Tags of instances and volumes.
    pub instance_tags: BTreeMap<String, String>,
}

/// The instance metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Session tokens are required (IMDSv2).
    pub tokens_required: bool,
    /// Hop limit of answers; 1 reaches processes on the host's own network only.
    pub hop_limit: i32,
}

/// The root volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Size in GiB.
    pub gib: i32,
    /// gp3.
    pub kind: String,
    /// Encrypted with the account's EBS key.
    pub encrypted: bool,
}

/// Cloud-init text whose placeholders are filled when the values are known.
#[derive(Clone, PartialEq)]
pub struct UserData {
    /// The text with placeholders.
    pub template: String,
    /// What stands for what.
    pub image: Option<Input<String>>,
    /// Lines of the environment file.
    pub environment: Vec<(String, Input<String>)>,
}

impl UserData {
    /// The final text, if all values are known.
    pub fn render(&self) -> Option<String> {
        use crate::stack::user_data::{ENVIRONMENT, IMAGE};
        let mut text = self.template.clone();
        if let Some(image) = &self.image {
            text = text.replace(IMAGE, image.known()?);
        }
        let mut lines = vec![];
        for (name, value) in &self.environment {
            lines.push(format!("      {name}={}", value.known()?));
        }
        Some(text.replace(ENVIRONMENT, &lines.join("\n")))
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.template, self.environment)
    }
}

/// One version of one template; `lt-123/7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The template.
    pub template: String,
    /// Its number.
    pub number: i64,
}

impl Version {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (template, number) = text.split_once('/')?;
        Some(Self { template: template.to_owned(), number: number.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.template, self.number)
    }
}

impl Resource for LaunchTemplateVersion {
    const KIND: &'static str = "launch_template_version";
    const PART_OF: Option<&'static str> = Some("launch_template");
    const SPARES: usize = 3;
    type Output = Version;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.template, &mut self.image, &mut self.profile];
        slots.extend(self.user_data.image.iter_mut().map(|i| i as &mut dyn Slot));
        slots.extend(self.user_data.environment.iter_mut().map(|(_, v)| v as &mut dyn Slot));
        slots.extend(self.groups.iter_mut().map(|g| g as &mut dyn Slot));
        slots.extend(self.key_name.iter_mut().map(|k| k as &mut dyn Slot));
        slots
    }

    /// How it fared is the rollout's concern; what is wished for stands as it is.
    fn phase(&self, _: &Live<Self>) -> Phase {
        Phase::Ready
    }

    fn keep(&mut self, live: &Self) {
        if live.image_exists {
            let newest = std::mem::replace(&mut self.image, live.image.clone());
            if newest.known().is_some() && !self.changes(live).is_empty() {
                self.image = newest;
            }
        }
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self {
            template,
            image,
            image_exists: _,
            instance_type,
            user_data,
            groups,
            profile,
            key_name,
            metadata,
            volume,
            instance_tags,
        } = self;
        let new = How::CreateFirst;
        let mut changes: Vec<_> = [
            differs("template", template, &live.template, new),
            differs("image", image, &live.image, new),
            differs("instance_type", instance_type, &live.instance_type, new),
            differs("profile", profile, &live.profile, new),
            differs("key_name", key_name, &live.key_name, new),
            differs("metadata", metadata, &live.metadata, new),
            differs("volume", volume, &live.volume, new),
            differs("instance_tags", instance_tags, &live.instance_tags, new),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !same_set(groups, &live.groups) {
            changes.push(differs_as("groups", format!("{:?}", live.groups), format!("{groups:?}"), new));
        }
        match (user_data.render(), live.user_data.render()) {
            (Some(want), Some(have)) if want == have => {}
            (Some(want), Some(have)) => {
                // Another image is told as such, whether its tag was changed in the spec or moved in the registry.
                let (from, to) = (container(&have), container(&want));
                let text = |c: Option<&str>| c.unwrap_or("none").to_owned();
                if from != to {
                    changes.push(differs_as("container", text(from), text(to), new));
                }
                let have = from.map_or_else(|| have.clone(), |from| have.replace(from, &text(to)));
                let lines = if have == want { vec![] } else { differing_lines(&have, &want) };
                changes.extend(lines.into_iter().take(5).map(|(from, to)| differs_as("user_data", from, to, new)));
            }
            _ => {
                let later = user_data.environment.iter().filter(|(_, value)| value.known().is_none());
                let later: Vec<_> = later.map(|(name, value)| format!("{name}={value:?}")).collect();
                changes.push(differs_as("user_data", "(known)", later.join(", "), new));
            }
        }
        // A version never changes: what is wanted now is another spec, a newer image or tag, and never a hand's work.
        changes.into_iter().map(|c| Change { due: true, ..c }).collect()
    }

    /// Nothing that AWS or the registry decides: neither ids nor images.
    fn intent(&self) -> String {
        format!("{} {:?} {:?} {:?}", self.instance_type, self.metadata, self.volume, self.user_data)
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let ours = Versions::read(view).await?;
        let images: BTreeSet<String> = ours
            .0
            .iter()
            .filter_map(|(_, v)| v.launch_template_data().and_then(|d| d.image_id()).map(ToOwned::to_owned))
            .collect();
        let existing = existing_images(view, images).await?;
        let rollouts = super::rollout::rollouts(view).await?;
        let judged = |(name, version): &(String, Ec2Version)| {
            let live = read(name.clone(), version, &existing);
            // One that could not be rolled out is the first to be cleared away, and then those that never were.
            let failure = rollouts.failure(&live.output).map(|why| Phase::Failed(format!("its rollout failed: {why}")));
            Live { phase: failure.unwrap_or(Phase::Ready), proven: rollouts.proven(&live.output), ..live }
        };
        Ok(ours.0.iter().map(judged).collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<Version> {
        let template = self.template.get()?.0.clone();
        let address = tags.get(crate::ownership::RESOURCE).map_or("", String::as_str);
        let intent = tags.get(crate::ownership::INTENT).map_or("", String::as_str);
        let call = aws.ec2.create_launch_template_version().launch_template_id(&template);
        let call = call.version_description(format!("{address} {intent}")).launch_template_data(self.data()?);
        let made = call.send().await?;
        let number = made.launch_template_version().and_then(Ec2Version::version_number).unwrap_or_default();
        Ok(Version { template, number })
    }

    async fn update(&self, _: &Aws, live: &Live<Self>, _: &[Change]) -> Result<Version> {
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let Version { template, number } = &live.output;
        let call = aws.ec2.delete_launch_template_versions().launch_template_id(template);
        super::gone(call.versions(number.to_string()).send().await)
    }
}

/// The versions of the stack's templates with the names that their descriptions say; read once a pass.
struct Versions(Vec<(String, Ec2Version)>);

/// All versions of one template.
struct Numbered(Vec<Ec2Version>);

impl Versions {
    async fn read(view: &View) -> Result<Arc<Self>> {
        view.once(|| Self::list(view)).await
    }

    async fn list(view: &View) -> Result<Self> {
        let templates = Templates::of_stack(view).await?;
        let ids: Vec<_> = templates.iter().filter_map(|(t, _)| t.launch_template_id()).collect();
        let of_each = ids.iter().map(|id| {
            view.detail(id, move || async move {
                let call = view.ec2.describe_launch_template_versions().launch_template_id(*id);
                Ok(Numbered(call.into_paginator().items().send().collect::<Result<_, _>>().await?))
            })
        });
        let all = try_join_all(of_each).await?;
        // A version without our address in its description was made by hand, and nothing launches from it.
        let ours = all
            .iter()
            .flat_map(|of_one| &of_one.0)
            .filter_map(|v| {
                let address = v.version_description()?.strip_prefix(LaunchTemplateVersion::KIND)?.strip_prefix('/')?;
                Some((address.split(' ').next().unwrap_or(address).to_owned(), v.clone()))
            })
            .collect();
        Ok(Self(ours))
    }
}

/// The container images that a service's versions run, by digest: what has to stay in the registry.
pub async fn containers(view: &View, service: &str) -> Result<BTreeSet<String>> {
    let text = |v: &Ec2Version| BASE64_STANDARD.decode(v.launch_template_data()?.user_data()?).ok();
    let all = Versions::read(view).await?;
    let texts = all.0.iter().filter(|(name, _)| name == service).filter_map(|(_, v)| text(v));
    Ok(texts.filter_map(|t| Some(container(&String::from_utf8_lossy(&t))?.split_once('@')?.1.to_owned())).collect())
}

impl LaunchTemplateVersion {
    fn data(&self) -> Result<RequestLaunchTemplateData> {
        let text = self.user_data.render().ok_or_else(|| Error::internal("user data with unknown values"))?;
        let groups = self.groups.iter().map(|g| g.get().map(ToString::to_string)).collect::<Result<Vec<_>>>()?;
        let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
            .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
            .http_tokens(if self.metadata.tokens_required {
                LaunchTemplateHttpTokensState::Required
            } else {
                LaunchTemplateHttpTokensState::Optional
            })
            .http_put_response_hop_limit(self.metadata.hop_limit)
            .build();
        let disk = LaunchTemplateEbsBlockDeviceRequest::builder()
            .volume_size(self.volume.gib)
            .volume_type(VolumeType::from(self.volume.kind.as_str()))
            .encrypted(self.volume.encrypted)
            .delete_on_termination(true)
            .build();
        let device = LaunchTemplateBlockDeviceMappingRequest::builder().device_name(ROOT).ebs(disk).build();
        let profile =
            LaunchTemplateIamInstanceProfileSpecificationRequest::builder().arn(&self.profile.get()?.0).build();
        let tags: Vec<_> = self.instance_tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let tag_spec = |kind| {
            LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(tags.clone())).build()
        };
        let key = self.key_name.as_ref().map(|k| k.get().cloned()).transpose()?;
        Ok(RequestLaunchTemplateData::builder()
            .image_id(self.image.get()?)
            .instance_type(InstanceType::from(self.instance_type.as_str()))
            .user_data(BASE64_STANDARD.encode(text))
            .set_security_group_ids(Some(groups))
            .iam_instance_profile(profile)
            .set_key_name(key)
            .metadata_options(metadata)
            .block_device_mappings(device)
            .tag_specifications(tag_spec(ResourceType::Instance))
            .tag_specifications(tag_spec(ResourceType::Volume))
            .build())
    }
}

/// Ubuntu's root device.
const ROOT: &str = "/dev/sda1";

/// Canonical publishes its current image of Ubuntu 24.04 under this name.
const UBUNTU: &str = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";

/// Ubuntu's current image by id, or why it is not known.
pub struct Ubuntu(pub Result<String, String>);

impl Ubuntu {
    /// Asks once in a pass.
    pub async fn read(view: &View) -> Result<Arc<Self>> {
        let read = || async {
            let got = view.ssm.get_parameter().name(UBUNTU).send().await.map_err(|e| Error::from(e).to_string());
            let value = |p: aws_sdk_ssm::types::Parameter| p.value;
            let id = got.and_then(|got| {
                got.parameter.and_then(value).ok_or_else(|| format!("the parameter {UBUNTU} has no value"))
            });
            Ok(Self(id))
        };
        view.once(read).await
    }
}

/// Which of these images still exist. The one that is published now does; the others are asked for by filter, because asking
/// for a missing id fails the whole call.
async fn existing_images(view: &View, mut images: BTreeSet<String>) -> Result<BTreeSet<String>> {
    struct Existing(BTreeSet<String>);
    let current = Ubuntu::read(view).await?;
    let mut existing: BTreeSet<String> = current.0.iter().filter_map(|id| images.take(id)).collect();
    if !images.is_empty() {
        let images = Vec::from_iter(images);
        let read = || async {
            let by_id = aws_sdk_ec2::types::Filter::builder().name("image-id").set_values(Some(images.clone())).build();
            let found = view.ec2.describe_images().include_deprecated(true).filters(by_id).send().await?;
            Ok(Existing(found.images.unwrap_or_default().into_iter().filter_map(|i| i.image_id).collect()))
        };
        existing.extend(view.detail(&images.join(" "), read).await?.0.iter().cloned());
    }
    Ok(existing)
}

fn read(name: String, version: &Ec2Version, existing: &BTreeSet<String>) -> Live<LaunchTemplateVersion> {
    let template = version.launch_template_id().unwrap_or_default();
    let output = Version { template: template.to_owned(), number: version.version_number().unwrap_or_default() };
    let data = version.launch_template_data();
    let text = |v: Option<&str>| v.unwrap_or_default().to_owned();
    let image = text(data.and_then(|d| d.image_id()));
    let user_data = data.and_then(|d| d.user_data()).and_then(|d| BASE64_STANDARD.decode(d).ok()).unwrap_or_default();
    let metadata = data.and_then(|d| d.metadata_options());
    let disk = data.and_then(|d| d.block_device_mappings().first()).and_then(|m| m.ebs());
    let instance_tags = data
        .into_iter()
        .flat_map(aws_sdk_ec2::types::ResponseLaunchTemplateData::tag_specifications)
        .find(|s| s.resource_type() == Some(&ResourceType::Instance))
        .map(|s| crate::aws::tags::read(s.tags().iter().map(|t| (t.key(), t.value()))))
        .unwrap_or_default();
    let state = LaunchTemplateVersion {
        template: Input::Known(template.into()),
        image_exists: existing.contains(&image),
        image: Input::Known(image),
        instance_type: data.and_then(|d| d.instance_type()).map(|t| t.as_str().to_owned()).unwrap_or_default(),
        user_data: UserData {
            template: String::from_utf8_lossy(&user_data).into_owned(),
            image: None,
            environment: vec![],
        },
        groups: data
            .into_iter()
            .flat_map(aws_sdk_ec2::types::ResponseLaunchTemplateData::security_group_ids)
            .map(|g| Input::Known(g.as_str().into()))
            .collect(),
        profile: Input::Known(text(data.and_then(|d| d.iam_instance_profile()).and_then(|p| p.arn())).as_str().into()),
        key_name: data.and_then(|d| d.key_name()).map(|k| Input::Known(k.to_owned())),
        metadata: Metadata {
            tokens_required: metadata.and_then(|m| m.http_tokens()) == Some(&LaunchTemplateHttpTokensState::Required),
            hop_limit: metadata
                .and_then(aws_sdk_ec2::types::LaunchTemplateInstanceMetadataOptions::http_put_response_hop_limit)
                .unwrap_or_default(),
        },
        volume: Volume {
            gib: disk.and_then(aws_sdk_ec2::types::LaunchTemplateEbsBlockDevice::volume_size).unwrap_or_default(),
            kind: disk.and_then(|d| d.volume_type()).map(|t| t.as_str().to_owned()).unwrap_or_default(),
            encrypted: disk.and_then(aws_sdk_ec2::types::LaunchTemplateEbsBlockDevice::encrypted).unwrap_or(false),
        },
        instance_tags,
    };
    let since = version.create_time().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    let id = output.to_string();
    Live { since, owner: Owner::Ours, ..Live::ready(name, id, state, output) }
}

/// The container image that user data names by its digest: `host/repository@sha256:…`.
pub fn container(user_data: &str) -> Option<&str> {
    let at = user_data.find("@sha256:")?;
    let start =
        user_data[..at].rfind(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == '=').map_or(0, |i| i + 1);
    let rest = &user_data[start..];
    let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Lines that are in one text and not in the other, paired in order.
fn differing_lines(have: &str, want: &str) -> Vec<(String, String)> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (have.lines().collect(), want.lines().collect());
    let gone: Vec<_> = have.lines().filter(|l| !new.contains(l)).collect();
    let come: Vec<_> = want.lines().filter(|l| !old.contains(l)).collect();
    let most = gone.len().max(come.len()).max(1);
    let text = |lines: &[&str], i: usize| lines.get(i).map_or_else(|| "(nothing)".to_owned(), |l| l.trim().to_owned());
    (0..most).map(|i| (text(&gone, i), text(&come, i))).collect()
}
