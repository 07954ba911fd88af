//! The bucket of pictures: private, over TLS only, encrypted, versioned, and emptied by age.

use super::{built, gone, policy_differs};
use crate::{
    aws::{Aws, Error, Reason, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Owner, Resource, Tags, differs},
    ownership::STACK,
};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, Delete, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration, ObjectIdentifier, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, VersioningConfiguration,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// A bucket.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in S3, on or off")]
pub struct Bucket {
    /// Its name, unique over all accounts.
    pub name: String,
    /// All four blocks of public access.
    pub private: bool,
    /// ACLs off: the bucket owner owns every object.
    pub owner_enforced: bool,
    /// SSE-S3 by default.
    pub encrypted: bool,
    /// Policy document.
    pub policy: Value,
    /// Whether old versions are kept.
    pub versioning: bool,
    /// Lifecycle: what goes when.
    pub lifecycle: BTreeSet<Expiry>,
}

/// A rule of the lifecycle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// Objects under a prefix go after so many days.
    Objects(String, i32),
    /// Old versions go after so many days.
    OldVersions(i32),
    /// Unfinished uploads go after so many days.
    Uploads(i32),
    /// Something we would not write.
    Other(String),
}

/// Batches of 1000 that one pass of a purge removes; a larger bucket takes several passes.
const PURGE_BATCHES: usize = 20;

impl Resource for Bucket {
    const KIND: &'static str = "bucket";
    const HOLDS_DATA: bool = true;
    type Output = String;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, private, owner_enforced, encrypted, policy, versioning, lifecycle } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("private", private, &live.private, How::InPlace),
            differs("owner_enforced", owner_enforced, &live.owner_enforced, How::InPlace),
            differs("encrypted", encrypted, &live.encrypted, How::InPlace),
            differs("versioning", versioning, &live.versioning, How::InPlace),
            differs("lifecycle", lifecycle, &live.lifecycle, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        changes.extend(policy_differs("policy", policy, &live.policy));
        changes
    }

    /// By name, which is global and follows from the spec.
    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let name = view.known.bucket.clone();
        Ok(read(view, &name).await?.into_iter().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<String> {
        let mut call = aws.s3.create_bucket().bucket(&self.name);
        // us-east-1 refuses to be named; every other region has to be.
        if aws.region != "us-east-1" {
            let place = BucketLocationConstraint::from(aws.region.as_str());
            call = call
                .create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(place).build());
        }
        match call.send().await.map_err(Error::from) {
            Ok(_) => {}
            Err(e) if e.code == "BucketAlreadyOwnedByYou" && self.is_ours(aws).await? => {}
            Err(e) => return Err(e),
        }
        // CreateBucket takes no tags here, so the mark comes in the very next call.
        aws.tag(&TagTarget::Bucket(self.name.clone()), tags).await?;
        self.set_private(aws).await?;
        self.set_owner(aws).await?;
        self.set_encryption(aws).await?;
        self.set_policy(aws).await?;
        self.set_versioning(aws).await?;
        self.set_lifecycle(aws).await?;
        Ok(self.name.clone())
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<String> {
        for change in changes {
            match change.field {
                "private" => self.set_private(aws).await?,
                "owner_enforced" => self.set_owner(aws).await?,
                "encrypted" => self.set_encryption(aws).await?,
                "policy" => self.set_policy(aws).await?,
                "versioning" => self.set_versioning(aws).await?,
                _ => self.set_lifecycle(aws).await?,
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        empty(aws, &live.id).await?;
        gone(aws.s3.delete_bucket().bucket(&live.id).send().await)
    }

    fn tag_target(name: &String) -> Option<TagTarget> {
        Some(TagTarget::Bucket(name.clone()))
    }
}

impl Bucket {
    /// Whether a bucket that exists bears our tag, or none at all (the pass before this one died between two calls).
    async fn is_ours(&self, aws: &Aws) -> Result<bool> {
        match aws.s3.get_bucket_tagging().bucket(&self.name).send().await.map_err(Error::from) {
            Ok(t) => Ok(t.tag_set().iter().any(|t| t.key() == STACK && t.value() == aws.ownership.stack)),
            Err(e) if e.is_not_found() => Ok(true),
            Err(e) => Err(e),
        }
    }

    async fn set_private(&self, aws: &Aws) -> Result<()> {
        let on = self.private;
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(on)
            .ignore_public_acls(on)
            .block_public_policy(on)
            .restrict_public_buckets(on)
            .build();
        aws.s3.put_public_access_block().bucket(&self.name).public_access_block_configuration(block).send().await?;
        Ok(())
    }

    async fn set_owner(&self, aws: &Aws) -> Result<()> {
        let owner =
            if self.owner_enforced { ObjectOwnership::BucketOwnerEnforced } else { ObjectOwnership::ObjectWriter };
        let rule = OwnershipControlsRule::builder().object_ownership(owner).build().map_err(built)?;
        let controls = OwnershipControls::builder().rules(rule).build().map_err(built)?;
        aws.s3.put_bucket_ownership_controls().bucket(&self.name).ownership_controls(controls).send().await?;
        Ok(())
    }

    async fn set_encryption(&self, aws: &Aws) -> Result<()> {
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default.build().map_err(built)?)
            .build();
        let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(built)?;
        let call = aws.s3.put_bucket_encryption().bucket(&self.name);
        call.server_side_encryption_configuration(configuration).send().await?;
        Ok(())
    }

    async fn set_policy(&self, aws: &Aws) -> Result<()> {
        aws.s3.put_bucket_policy().bucket(&self.name).policy(self.policy.to_string()).send().await?;
        Ok(())
    }

    async fn set_versioning(&self, aws: &Aws) -> Result<()> {
        let status = if self.versioning { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
        let configuration = VersioningConfiguration::builder().status(status).build();
        aws.s3.put_bucket_versioning().bucket(&self.name).versioning_configuration(configuration).send().await?;
        Ok(())
    }

    async fn set_lifecycle(&self, aws: &Aws) -> Result<()> {
        let rules = self.lifecycle.iter().map(rule).collect::<Result<Vec<_>>>()?;
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().map_err(built)?;
        let call = aws.s3.put_bucket_lifecycle_configuration().bucket(&self.name);
        call.lifecycle_configuration(configuration).send().await?;
        Ok(())
    }
}

fn rule(expiry: &Expiry) -> Result<LifecycleRule> {
    let all = LifecycleRuleFilter::builder().prefix("").build();
    let rule = LifecycleRule::builder().status(ExpirationStatus::Enabled);
    match expiry {
        Expiry::Objects(prefix, days) => rule
            .id(format!("expire-{}", prefix.trim_end_matches('/')))
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(LifecycleExpiration::builder().days(*days).build()),
        Expiry::OldVersions(days) => rule
            .id("expire-old-versions")
            .filter(all)
            .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(*days).build()),
        Expiry::Uploads(days) => rule.id("abort-uploads").filter(all).abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(*days).build(),
        ),
        Expiry::Other(text) => return Err(Error::internal(format!("no rule is written for {text}"))),
    }
    .build()
    .map_err(built)
}

fn expiry(rule: &LifecycleRule) -> Expiry {
    let prefix = rule.filter().and_then(|f| f.prefix()).unwrap_or_default();
    let objects = rule.expiration().and_then(LifecycleExpiration::days);
    let old = rule.noncurrent_version_expiration().and_then(NoncurrentVersionExpiration::noncurrent_days);
    let uploads = rule
        .abort_incomplete_multipart_upload()
        .and_then(aws_sdk_s3::types::AbortIncompleteMultipartUpload::days_after_initiation);
    match (rule.status(), objects, old, uploads, rule.transitions()) {
        (ExpirationStatus::Enabled, Some(days), None, None, []) => Expiry::Objects(prefix.to_owned(), days),
        (ExpirationStatus::Enabled, None, Some(days), None, []) if prefix.is_empty() => Expiry::OldVersions(days),
        (ExpirationStatus::Enabled, None, None, Some(days), []) if prefix.is_empty() => Expiry::Uploads(days),
        _ => Expiry::Other(rule.id().unwrap_or("a rule without an id").to_owned()),
    }
}

/// The answer of a part that may be absent: S3 answers 404 for what was never set.
fn part<T, E: Into<Error>>(result: std::result::Result<T, E>) -> Result<Option<T>> {
    match result.map_err(Into::into) {
        Ok(t) => Ok(Some(t)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

async fn read(view: &View, name: &str) -> Result<Option<Live<Bucket>>> {
    let s3 = &view.s3;
    let (tagging, block, ownership, encryption, policy, versioning, lifecycle) = futures::join!(
        s3.get_bucket_tagging().bucket(name).send(),
        s3.get_public_access_block().bucket(name).send(),
        s3.get_bucket_ownership_controls().bucket(name).send(),
        s3.get_bucket_encryption().bucket(name).send(),
        s3.get_bucket_policy().bucket(name).send(),
        s3.get_bucket_versioning().bucket(name).send(),
        s3.get_bucket_lifecycle_configuration().bucket(name).send(),
    );
    let tagging = match tagging.map_err(Error::from) {
        Err(e) if e.code == "NoSuchBucket" => return Ok(None),
        other => part(other)?,
    };
    let tags =
        tagging.map(|t| tags::read(t.tag_set().iter().map(|t| (Some(t.key()), Some(t.value()))))).unwrap_or_default();
    // A name that carries account and region and bears no tag at all is one of ours that was interrupted right after it
    // was made: the tags come in a second call.
    let (owner, logical) =
        if tags.is_empty() { (Owner::Ours, "images".to_owned()) } else { view.ownership.of(Bucket::KIND, &tags, name) };
    let block = part(block)?.and_then(|b| b.public_access_block_configuration);
    let state = Bucket {
        name: name.to_owned(),
        private: block.is_some_and(|b| {
            [b.block_public_acls, b.ignore_public_acls, b.block_public_policy, b.restrict_public_buckets]
                == [Some(true); 4]
        }),
        owner_enforced: part(ownership)?
            .and_then(|o| o.ownership_controls)
            .is_some_and(|o| o.rules().iter().all(|r| *r.object_ownership() == ObjectOwnership::BucketOwnerEnforced)),
        encrypted: part(encryption)?.and_then(|e| e.server_side_encryption_configuration).is_some_and(|e| {
            e.rules().iter().any(|r| {
                r.apply_server_side_encryption_by_default()
                    .map(aws_sdk_s3::types::ServerSideEncryptionByDefault::sse_algorithm)
                    == Some(&ServerSideEncryption::Aes256)
            })
        }),
        policy: part(policy)?.and_then(|p| p.policy).and_then(|p| serde_json::from_str(&p).ok()).unwrap_or(Value::Null),
        versioning: versioning?.status() == Some(&BucketVersioningStatus::Enabled),
        lifecycle: part(lifecycle)?.map(|l| l.rules().iter().map(expiry).collect()).unwrap_or_default(),
    };
    Ok(Some(Live { owner, tags: Some(tags), ..Live::ready(logical, name, state, name.to_owned()) }))
}

/// Removes every version, delete marker and unfinished upload, a bounded number a pass.
async fn empty(aws: &Aws, name: &str) -> Result<()> {
    for _ in 0..PURGE_BATCHES {
        let page = match aws.s3.list_object_versions().bucket(name).send().await.map_err(Error::from) {
            Ok(page) => page,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
        let markers = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        let objects: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter_map(|(key, version)| {
                ObjectIdentifier::builder().key(key?).set_version_id(version.map(ToOwned::to_owned)).build().ok()
            })
            .collect();
        if objects.is_empty() {
            let uploads = aws.s3.list_multipart_uploads().bucket(name).send().await?;
            for upload in uploads.uploads() {
                let call = aws.s3.abort_multipart_upload().bucket(name).key(upload.key().unwrap_or_default());
                gone(call.upload_id(upload.upload_id().unwrap_or_default()).send().await)?;
            }
            return Ok(());
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(built)?;
        aws.s3.delete_objects().bucket(name).delete(delete).send().await?;
    }
    Err(Error {
        reason: Reason::InUse,
        ..Error::not_yet("s3", "DeleteBucket", format!("{name} is still being emptied"))
    })
}
