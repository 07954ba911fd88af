//! What a load test touches of a stack, and the policy for whoever starts one: that and nothing else, so it can be given to somebody
//! who may not change the stack, nor see a user's picture.

use super::{Scope, allow};
use crate::{
    spec::PolybotStack,
    stack::{Service, known_names, names},
};
use contract::{job::NOBODY, record};
use serde_json::{Value, json};

/// What a load test touches, by names that follow from the spec.
#[derive(Clone, Debug)]
pub struct Touched {
    /// The queue that jobs are sent to.
    pub queue: String,
    /// The bucket of pictures.
    pub bucket: String,
    /// What the keys of the test's own pictures begin with.
    pub pictures: String,
    /// What the keys of those begin with that the detector draws for it.
    pub drawn: String,
    /// The table of predictions.
    pub table: String,
    /// The detector's scaling group.
    pub group: String,
}

/// What the ids of jobs begin with.
pub const MARK: &str = "load-test-";

impl Touched {
    /// Of all load tests of a stack.
    pub fn of(stack: &PolybotStack, account: &str) -> Self {
        let names = names(stack, account);
        Self {
            queue: names.plain("identify", 80),
            bucket: known_names(stack, account).bucket,
            pictures: format!("{}/{MARK}", stack.spec.bucket.image_prefix),
            drawn: format!("{}/{NOBODY}/{MARK}", record::PREDICTED_PREFIX),
            table: names.plain("predictions", 255),
            group: names.plain(Service::Yolo5.name(), 255),
        }
    }
}

/// The policy for load tests of a stack.
pub fn policy(stack: &PolybotStack, account: &str) -> Value {
    let s = Scope::of(stack, account);
    let Touched { queue, bucket, pictures, drawn, table, group: _ } = Touched::of(stack, account);
    let bucket = format!("arn:aws:s3:::{bucket}");
    let (pictures, drawn) = (format!("{pictures}*"), format!("{drawn}*"));
    let mut find = allow("FindPictures", "s3", &["ListBucketVersions"], std::slice::from_ref(&bucket));
    find["Condition"] = json!({ "StringLike": { "s3:prefix": [pictures, drawn] } });
    let mut remove =
        allow("RemoveRecords", "dynamodb", &["BatchWriteItem"], &s.arns("dynamodb", &[&format!("table/{table}")]));
    remove["Condition"] = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [format!("{MARK}*")] } });
    let statements = [
        allow(
            "SendJobs",
            "sqs",
            &["GetQueueAttributes", "GetQueueUrl", "SendMessage"],
            &s.arns("sqs", &[queue.as_str()]),
        ),
        allow("PutPictures", "s3", &["PutObject"], &[format!("{bucket}/{pictures}")]),
        find,
        // In every version: what is only marked as deleted is kept for a month.
        allow(
            "RemovePictures",
            "s3",
            &["DeleteObjectVersion"],
            &[format!("{bucket}/{pictures}"), format!("{bucket}/{drawn}")],
        ),
        allow(
            "FindRecords",
            "dynamodb",
            &["Query"],
            &s.arns("dynamodb", &[&format!("table/{table}/index/{}", record::CHAT_INDEX)]),
        ),
        remove,
        // A list knows no resources.
        allow("CountWorkers", "autoscaling", &["DescribeAutoScalingGroups"], &["*".to_owned()]),
    ];
    json!({ "Version": "2012-10-17", "Statement": statements })
}
