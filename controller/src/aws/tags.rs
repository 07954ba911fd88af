//! Writing tags, which every service does in its own way.

use super::{Aws, Result};
use crate::engine::Tags;

/// Where tags are written.
#[derive(Clone, Debug)]
pub enum TagTarget {
    /// An id of EC2 or VPC.
    Ec2(String),
    /// An ARN of Elastic Load Balancing.
    Elb(String),
    /// Name of a scaling group.
    ScalingGroup(String),
    /// URL of a queue.
    Queue(String),
    /// ARN of a topic.
    Topic(String),
    /// ARN of a table.
    Table(String),
    /// Name of a bucket, whose whole tag set is replaced at once.
    Bucket(String),
    /// ARN of a secret.
    Secret(String),
    /// ARN of a repository.
    Repository(String),
    /// Name of a role.
    Role(String),
    /// Name of an instance profile.
    InstanceProfile(String),
    /// ARN of a certificate.
    Certificate(String),
    /// ARN of an alarm.
    Alarm(String),
    /// ARN of a log group.
    LogGroup(String),
}

/// Builds the tag type of one service's SDK, which fails only if a key were missing.
#[macro_export]
macro_rules! sdk_tags {
    ($sdk:ident, $tags:expr) => {
        $tags.iter().map(|(k, v)| $sdk::types::Tag::builder().key(k).value(v).build()).collect::<Vec<_>>()
    };
    ($sdk:ident, $tags:expr, fallible) => {
        $tags.iter().filter_map(|(k, v)| $sdk::types::Tag::builder().key(k).value(v).build().ok()).collect::<Vec<_>>()
    };
}

/// Tags out of any SDK's list of optional keys and values.
pub fn read<'a>(pairs: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Tags {
    pairs.into_iter().filter_map(|(k, v)| Some((k?.to_owned(), v.unwrap_or_default().to_owned()))).collect()
}

impl Aws {
    /// Sets these tags and leaves all others.
    pub async fn tag(&self, target: &TagTarget, tags: &Tags) -> Result<()> {
        match target {
            TagTarget::Ec2(id) => {
                self.ec2.create_tags().resources(id).set_tags(Some(sdk_tags!(aws_sdk_ec2, tags))).send().await?;
            }
            TagTarget::Elb(arn) => {
                let tags = sdk_tags!(aws_sdk_elasticloadbalancingv2, tags);
                self.elb.add_tags().resource_arns(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::ScalingGroup(name) => {
                self.autoscaling.create_or_update_tags().set_tags(Some(scaling_group_tags(name, tags))).send().await?;
            }
            TagTarget::Queue(url) => {
                let tags = tags.clone().into_iter().collect();
                self.sqs.tag_queue().queue_url(url).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Topic(arn) => {
                let tags = sdk_tags!(aws_sdk_sns, tags, fallible);
                self.sns.tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Table(arn) => {
                let tags = sdk_tags!(aws_sdk_dynamodb, tags, fallible);
                self.dynamodb.tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Bucket(name) => {
                let mut all: Tags = match self.s3.get_bucket_tagging().bucket(name).send().await {
                    Ok(had) => read(had.tag_set().iter().map(|t| (Some(t.key()), Some(t.value())))),
                    Err(e) => match super::Error::from(e) {
                        e if e.is_not_found() => Tags::new(),
                        e => return Err(e),
                    },
                };
                all.extend(tags.clone());
                let tagging = aws_sdk_s3::types::Tagging::builder()
                    .set_tag_set(Some(sdk_tags!(aws_sdk_s3, all, fallible)))
                    .build()
                    .map_err(|e| super::Error::internal(e.to_string()))?;
                self.s3.put_bucket_tagging().bucket(name).tagging(tagging).send().await?;
            }
            TagTarget::Secret(arn) => {
                let tags = sdk_tags!(aws_sdk_secretsmanager, tags);
                self.secrets.tag_resource().secret_id(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Repository(arn) => {
                let tags = sdk_tags!(aws_sdk_ecr, tags, fallible);
                self.ecr.tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Role(name) => {
                let tags = sdk_tags!(aws_sdk_iam, tags, fallible);
                self.iam.tag_role().role_name(name).set_tags(Some(tags)).send().await?;
            }
            TagTarget::InstanceProfile(name) => {
                let tags = sdk_tags!(aws_sdk_iam, tags, fallible);
                self.iam.tag_instance_profile().instance_profile_name(name).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Certificate(arn) => {
                let tags = sdk_tags!(aws_sdk_acm, tags, fallible);
                self.acm.add_tags_to_certificate().certificate_arn(arn).set_tags(Some(tags)).send().await?;
            }
            TagTarget::Alarm(arn) => {
                let tags: Vec<_> = tags.iter().map(|(k, v)| serde_json::json!({ "Key": k, "Value": v })).collect();
                let ask = serde_json::json!({ "ResourceARN": arn, "Tags": tags });
                self.cloudwatch.call("TagResource", &ask).await?;
            }
            TagTarget::LogGroup(arn) => {
                let ask = serde_json::json!({ "resourceArn": arn, "tags": tags });
                self.logs.call("TagResource", &ask).await?;
            }
        }
        Ok(())
    }
}

/// Our tags mark the group and never its instances: those take theirs from the launch template.
pub fn scaling_group_tags(group: &str, tags: &Tags) -> Vec<aws_sdk_autoscaling::types::Tag> {
    tags.iter()
        .map(|(k, v)| {
            aws_sdk_autoscaling::types::Tag::builder()
                .resource_id(group)
                .resource_type("auto-scaling-group")
                .key(k)
                .value(v)
                .propagate_at_launch(false)
                .build()
        })
        .collect()
}
