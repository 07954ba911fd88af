//! An image repository: immutable tags, scanned on push, emptied by count.

use super::{gone, policy_differs};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Resource, Tags, differs, differs_as},
    sdk_tags,
};
use aws_sdk_ecr::types::{ImageScanningConfiguration, ImageTagMutability, Repository as EcrRepository};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A repository.
#[derive(Clone, Debug, PartialEq)]
pub struct Repository {
    /// Its name, unique in account and region.
    pub name: String,
    /// Whether a tag, once pushed, stays.
    pub immutable: bool,
    /// Whether images are scanned when pushed.
    pub scan: bool,
    /// Lifecycle policy document, without the rules that stand for the pins.
    pub lifecycle: Value,
    /// Tags of images that stay whatever is pushed after them; where they are not known, those of the live one.
    pub pins: Option<BTreeSet<String>>,
}

/// What a repository offers to others.
#[derive(Clone, Debug)]
pub struct RepositoryOut {
    /// Where images are pushed to.
    pub uri: String,
    /// Its ARN.
    pub arn: String,
}

impl Resource for Repository {
    const KIND: &'static str = "repository";
    const HOLDS_DATA: bool = true;
    type Output = RepositoryOut;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn keep(&mut self, live: &Self) {
        if self.pins.is_none() {
            self.pins.clone_from(&live.pins);
        }
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, immutable, scan, lifecycle, pins } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("immutable", immutable, &live.immutable, How::InPlace),
            differs("scan", scan, &live.scan, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        changes.extend(policy_differs("lifecycle", lifecycle, &live.lifecycle));
        if pins != &live.pins {
            let show = |p: &Option<BTreeSet<String>>| p.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            // What runs changes with every rollout.
            changes.push(Change { due: true, ..differs_as("pins", show(&live.pins), show(pins), How::InPlace) });
        }
        changes
    }

    fn intent(&self) -> String {
        let Self { name, immutable, scan, lifecycle, pins: _ } = self;
        format!("{name} {immutable} {scan} {lifecycle}")
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let prefix = format!("{}-", view.ownership.prefix);
        let mut pages = view.ecr.describe_repositories().into_paginator().items().send();
        let mut repositories = vec![];
        while let Some(repository) = pages.next().await {
            repositories.push(repository?);
        }
        repositories.retain(|r| r.repository_name().is_some_and(|n| n.starts_with(&prefix)));
        try_join_all(repositories.iter().map(|r| read(view, r))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<RepositoryOut> {
        let call = aws.ecr.create_repository().repository_name(&self.name);
        let call = call.image_tag_mutability(self.mutability()).image_scanning_configuration(self.scanning());
        let made = call.set_tags(Some(sdk_tags!(aws_sdk_ecr, tags, fallible))).send().await?;
        self.set_lifecycle(aws).await?;
        let repository = made.repository;
        Ok(RepositoryOut {
            uri: repository.as_ref().and_then(|r| r.repository_uri()).unwrap_or_default().to_owned(),
            arn: repository.and_then(|r| r.repository_arn).unwrap_or_default(),
        })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<RepositoryOut> {
        for change in changes {
            match change.field {
                "immutable" => {
                    let call = aws.ecr.put_image_tag_mutability().repository_name(&self.name);
                    call.image_tag_mutability(self.mutability()).send().await?;
                }
                "scan" => {
                    let call = aws.ecr.put_image_scanning_configuration().repository_name(&self.name);
                    call.image_scanning_configuration(self.scanning()).send().await?;
                }
                _ => self.set_lifecycle(aws).await?,
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.ecr.delete_repository().repository_name(&live.id).force(true).send().await)
    }

    fn tag_target(output: &RepositoryOut) -> Option<TagTarget> {
        Some(TagTarget::Repository(output.arn.clone()))
    }
}

impl Repository {
    fn mutability(&self) -> ImageTagMutability {
        if self.immutable { ImageTagMutability::Immutable } else { ImageTagMutability::Mutable }
    }
    fn scanning(&self) -> ImageScanningConfiguration {
        ImageScanningConfiguration::builder().scan_on_push(self.scan).build()
    }
    async fn set_lifecycle(&self, aws: &Aws) -> Result<()> {
        let call = aws.ecr.put_lifecycle_policy().repository_name(&self.name);
        let policy = with_pins(self.lifecycle.clone(), self.pins.iter().flatten());
        call.lifecycle_policy_text(policy.to_string()).send().await?;
        Ok(())
    }
}

/// Keeps the newest `keep` released images (tags `v…`), and of those whose tag was moved on as many as may be gone back to.
pub fn keep_newest(keep: u32) -> Value {
    json!({ "rules": [
        { "rulePriority": 101, "description": "the newest untagged images", "action": { "type": "expire" },
          "selection": { "tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 4 } },
        { "rulePriority": 102, "description": "the newest releases", "action": { "type": "expire" },
          "selection": { "tagStatus": "tagged", "tagPatternList": ["v*"], "countType": "imageCountMoreThan", "countNumber": keep } },
        { "rulePriority": 103, "description": "candidates that were scanned and not released", "action": { "type": "expire" },
          "selection": { "tagStatus": "tagged", "tagPatternList": ["scan-*"], "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7 } },
    ] })
}

/// The policy with a rule for each pin before all others. ECR counts by the time of the push and knows nothing of what runs; but a
/// tag is on one image only, so "more than one" never comes true, and no later rule takes an image that an earlier one matches.
fn with_pins<'a>(mut policy: Value, pins: impl Iterator<Item = &'a String>) -> Value {
    let pinned = (1..).zip(pins).map(|(priority, tag)| {
        json!({ "rulePriority": priority, "description": PIN, "action": { "type": "expire" },
            "selection": { "tagStatus": "tagged", "tagPatternList": [tag], "countType": "imageCountMoreThan", "countNumber": 1 } })
    });
    if let Some(rules) = policy.get_mut("rules").and_then(Value::as_array_mut) {
        rules.splice(0..0, pinned);
    }
    policy
}

/// The policy without the rules of pins, and the pins.
fn without_pins(mut policy: Value) -> (Value, BTreeSet<String>) {
    let mut pins = BTreeSet::new();
    if let Some(rules) = policy.get_mut("rules").and_then(Value::as_array_mut) {
        rules.retain(|rule| {
            let tag = rule["selection"]["tagPatternList"][0].as_str().filter(|_| rule["description"] == PIN);
            pins.extend(tag.map(ToOwned::to_owned));
            tag.is_none()
        });
    }
    (policy, pins)
}

const PIN: &str = "runs, or may be gone back to";

async fn read(view: &View, repository: &EcrRepository) -> Result<Live<Repository>> {
    let name = repository.repository_name().unwrap_or_default();
    let arn = repository.repository_arn().unwrap_or_default();
    let (tags, lifecycle) = futures::join!(
        view.ecr.list_tags_for_resource().resource_arn(arn).send(),
        view.ecr.get_lifecycle_policy().repository_name(name).send()
    );
    let lifecycle = match lifecycle.map_err(Error::from) {
        Ok(l) => l.lifecycle_policy_text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(Value::Null),
        Err(e) if e.is_not_found() => Value::Null,
        Err(e) => return Err(e),
    };
    let (lifecycle, pins) = without_pins(lifecycle);
    let tags = tags::read(tags?.tags().iter().map(|t| (Some(t.key()), Some(t.value()))));
    let (owner, logical) = view.ownership.of(Repository::KIND, &tags, name);
    let state = Repository {
        name: name.to_owned(),
        immutable: repository.image_tag_mutability() == Some(&ImageTagMutability::Immutable),
        scan: repository.image_scanning_configuration().is_some_and(ImageScanningConfiguration::scan_on_push),
        lifecycle,
        pins: Some(pins),
    };
    let since = repository.created_at().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    let output = RepositoryOut { uri: repository.repository_uri().unwrap_or_default().to_owned(), arn: arn.to_owned() };
    Ok(Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, output) })
}
