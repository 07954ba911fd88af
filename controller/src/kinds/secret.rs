//! Secrets. A version's id is a keyed digest of its value, so DescribeSecret alone tells whether the value is the wanted one,
//! and the value itself is never read back.

use super::{Arn, gone};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs, differs_as},
    sdk_tags,
    secret::Secret as Hidden,
};
use futures::future::try_join_all;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The stage of the version that services read.
const CURRENT: &str = "AWSCURRENT";

/// A secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// Its name, unique in account and region.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its value; of a live one only the version's id is known.
    pub value: Input<Value>,
    /// Whether AWS is about to delete it: then its name is taken, and it can be restored.
    pub scheduled_for_deletion: bool,
}

/// A value, or what a live secret tells of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The value itself.
    Wanted(Hidden<String>),
    /// Id of the current version, and of all that still exist.
    Version(Option<String>, Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a secret offers to others.
#[derive(Clone, Debug)]
pub struct SecretOut {
    /// Its ARN, with six random characters at the end.
    pub arn: Arn,
    /// Its name.
    pub name: String,
}

/// The least days AWS keeps a deleted secret restorable.
const RECOVERY_DAYS: i64 = 7;

impl Resource for Secret {
    const KIND: &'static str = "secret";
    const HOLDS_DATA: bool = true;
    type Output = SecretOut;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.value]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, description, value, scheduled_for_deletion } = self;
        let mut changes: Vec<_> = [
            differs("scheduled_for_deletion", scheduled_for_deletion, &live.scheduled_for_deletion, How::InPlace),
            differs("name", name, &live.name, How::CreateFirst),
            differs("description", description, &live.description, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        let same = match (value, &live.value) {
            (Input::Known(Value::Wanted(value)), Input::Known(Value::Version(current, _))) => {
                current.as_ref() == Some(&version_id(name, value))
            }
            _ => false,
        };
        if !same {
            let to = if matches!(value, Input::Known(_)) { "another value".to_owned() } else { format!("{value:?}") };
            changes.push(differs_as("value", "(secret)", to, How::InPlace));
        }
        changes
    }

    fn intent(&self) -> String {
        format!("{} {}", self.name, self.description)
    }

    /// One by one, by name: ListSecrets may be minutes stale.
    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let live = try_join_all(view.known.secrets.iter().map(|(logical, name)| read(view, logical, name))).await?;
        Ok(live.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<SecretOut> {
        let Value::Wanted(value) = self.value.get()? else { return Err(Error::internal("a secret without a value")) };
        let call = aws.secrets.create_secret().name(&self.name).description(&self.description);
        let call = call.client_request_token(version_id(&self.name, value)).secret_string(value.expose());
        let made = call.set_tags(Some(sdk_tags!(aws_sdk_secretsmanager, tags))).send().await?;
        Ok(SecretOut { arn: Arn(made.arn.unwrap_or_default()), name: self.name.clone() })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<SecretOut> {
        let arn = &live.output.arn.0;
        for change in changes {
            match change.field {
                "scheduled_for_deletion" => {
                    aws.secrets.restore_secret().secret_id(arn).send().await?;
                }
                "description" => {
                    aws.secrets.update_secret().secret_id(arn).description(&self.description).send().await?;
                }
                _ => self.put_value(aws, live).await?,
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let call = aws.secrets.delete_secret().secret_id(&live.output.arn.0);
        gone(call.recovery_window_in_days(RECOVERY_DAYS).send().await)
    }

    fn removed(&self) -> bool {
        self.scheduled_for_deletion
    }

    fn keys(output: &SecretOut) -> Vec<String> {
        vec![output.arn.0.clone()]
    }

    fn tag_target(output: &SecretOut) -> Option<TagTarget> {
        Some(TagTarget::Secret(output.arn.0.clone()))
    }
}

impl Secret {
    /// A value that was there before still has its version, and putting it again does nothing: then the stage is moved.
    async fn put_value(&self, aws: &Aws, live: &Live<Self>) -> Result<()> {
        let Value::Wanted(value) = self.value.get()? else { return Err(Error::internal("a secret without a value")) };
        let wanted = version_id(&self.name, value);
        let arn = &live.output.arn.0;
        let Input::Known(Value::Version(current, versions)) = &live.state.value else {
            return Err(Error::internal("a live secret without versions"));
        };
        if !versions.contains(&wanted) {
            let call = aws.secrets.put_secret_value().secret_id(arn).client_request_token(&wanted);
            let put = call.secret_string(value.expose()).send().await?;
            if put.version_stages().iter().any(|stage| stage == CURRENT) {
                return Ok(());
            }
            // It was there before others, without a stage, so that nobody told of it.
        }
        let call = aws.secrets.update_secret_version_stage().secret_id(arn).version_stage(CURRENT);
        call.move_to_version_id(&wanted).set_remove_from_version_id(current.clone()).send().await?;
        Ok(())
    }
}

/// UUID-shaped HMAC-SHA256 of the value, keyed with the secret's name (which holds stack and environment), so that equal
/// values of two secrets do not show as equal.
pub fn version_id(name: &str, value: &Hidden<String>) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(format!("polybot secret version v1 {name}").as_bytes()).expect("any length");
    mac.update(value.expose().as_bytes());
    let h = hex::encode(&mac.finalize().into_bytes()[..16]);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

async fn read(view: &View, logical: &str, name: &str) -> Result<Option<Live<Secret>>> {
    let described = match view.secrets.describe_secret().secret_id(name).send().await.map_err(Error::from) {
        Ok(d) => d,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    let tags = tags::read(described.tags().iter().map(|t| (t.key(), t.value())));
    let (owner, logical) = view.ownership.of(Secret::KIND, &tags, logical);
    let versions = described.version_ids_to_stages.unwrap_or_default();
    let current = versions.iter().find(|(_, stages)| stages.iter().any(|s| s == CURRENT)).map(|(id, _)| id.clone());
    let mut all: Vec<String> = versions.into_keys().collect();
    all.sort();
    let state = Secret {
        name: name.to_owned(),
        description: described.description.unwrap_or_default(),
        value: Input::Known(Value::Version(current, all)),
        scheduled_for_deletion: described.deleted_date.is_some(),
    };
    let since = described
        .last_changed_date
        .or(described.created_date)
        .and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    let output = SecretOut { arn: Arn(described.arn.unwrap_or_default()), name: name.to_owned() };
    Ok(Some(Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, output) }))
}
