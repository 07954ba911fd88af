//! Who changed it, as far as CloudTrail tells: management events of the last 90 days, some minutes late.

use aws_sdk_cloudtrail::{
    Client,
    types::{Event, LookupAttribute, LookupAttributeKey},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Lookups at most: the API takes two a second for an account, and a reader looks at the first few.
const LOOKUPS: usize = 10;
/// Between two lookups (two a second: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>).
const PACE: Duration = Duration::from_millis(500);
/// Deeds told of one thing.
const DEEDS: usize = 2;

/// A call that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deed {
    /// Who called.
    pub who: String,
    /// The call.
    pub what: String,
    /// When (RFC 3339).
    pub when: String,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}: {} at {}", self.who, self.what, self.when)
    }
}

/// Who last changed each of these, by the name that records have. Empty where the trail may not be read: this is never a reason to fail.
pub async fn deeds(client: &Client, ids: &[&str]) -> BTreeMap<String, Vec<Deed>> {
    let mut found = BTreeMap::new();
    let names: BTreeSet<&str> = ids.iter().copied().collect();
    for (n, id) in names.into_iter().take(LOOKUPS).enumerate() {
        if n > 0 {
            tokio::time::sleep(PACE).await;
        }
        let attribute = LookupAttribute::builder().attribute_key(LookupAttributeKey::ResourceName);
        let Ok(attribute) = attribute.attribute_value(id).build() else { continue };
        match client.lookup_events().lookup_attributes(attribute).max_results(20).send().await {
            Ok(answer) => {
                let deeds = answer.events().iter().filter_map(deed).take(DEEDS).collect();
                found.insert(id.to_owned(), deeds);
            }
            Err(error) => {
                tracing::debug!(error = %crate::aws::Error::from(error), "CloudTrail does not tell who it was");
                break;
            }
        }
    }
    found
}

/// An event that changed something, newest first as they come.
fn deed(event: &Event) -> Option<Deed> {
    if event.read_only() == Some("true") {
        return None;
    }
    let when = OffsetDateTime::from_unix_timestamp(event.event_time()?.secs()).ok()?;
    Some(Deed {
        who: event.username().unwrap_or("somebody without a name").to_owned(),
        what: event.event_name()?.to_owned(),
        when: when.format(&Rfc3339).ok()?,
    })
}
