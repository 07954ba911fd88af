//! The public half of a key for SSH. The private half is never seen here.

use super::{gone, hashed_name, of_any_stack, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Owner, Resource, Tags, differs},
};
use aws_sdk_ec2::{
    primitives::Blob,
    types::{KeyPairInfo, ResourceType},
};

/// A key pair by name, which instances use, and by id, which tags use.
#[derive(Clone, Debug)]
pub struct KeyOut {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// A key pair.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPair {
    /// What its name begins with; a hash of the key follows.
    pub base_name: String,
    /// Algorithm and key, without a comment: `ssh-ed25519 AAAA…`.
    pub public_key: String,
}

/// The key pairs of all stacks of the region.
struct Pairs(Vec<KeyPairInfo>);

impl Resource for KeyPair {
    const KIND: &'static str = "key_pair";
    type Output = KeyOut;

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { base_name: _, public_key } = self;
        differs("public_key", &bare(public_key), &bare(&live.public_key), How::CreateFirst).into_iter().collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let read = || async {
            let call = view.ec2.describe_key_pairs().filters(of_any_stack()).include_public_key(true);
            Ok(Pairs(call.send().await?.key_pairs.unwrap_or_default()))
        };
        let pairs = view.shared(read).await?;
        let live = pairs.0.iter().filter_map(|k| {
            let id = k.key_name().unwrap_or_default();
            let tags = tags::read(k.tags().iter().map(|t| (t.key(), t.value())));
            let (owner, name) = view.ownership.of(Self::KIND, &tags, id);
            if owner == Owner::Foreign {
                return None;
            }
            let state =
                Self { base_name: id.to_owned(), public_key: k.public_key().unwrap_or_default().trim().to_owned() };
            let output = KeyOut { name: id.to_owned(), id: k.key_pair_id().unwrap_or_default().to_owned() };
            Some(Live { owner, tags: Some(tags), ..Live::ready(name, id, state, output) })
        });
        Ok(live.collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<KeyOut> {
        let name = hashed_name(&self.base_name, 255, &[&bare(&self.public_key)]);
        let call = aws.ec2.import_key_pair().key_name(&name).public_key_material(Blob::new(self.public_key.as_bytes()));
        let made = call.tag_specifications(tag_spec(ResourceType::KeyPair, tags)).send().await?;
        Ok(KeyOut { name, id: made.key_pair_id.unwrap_or_default() })
    }

    async fn update(&self, _: &Aws, live: &Live<Self>, _: &[Change]) -> Result<KeyOut> {
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.ec2.delete_key_pair().key_name(&live.id).send().await)
    }

    fn keys(output: &KeyOut) -> Vec<String> {
        vec![output.name.clone()]
    }

    fn tag_target(output: &KeyOut) -> Option<TagTarget> {
        Some(TagTarget::Ec2(output.id.clone()))
    }
}

/// AWS gives the key back with another comment.
fn bare(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
