//! Who may do what: the least that each service needs, as IAM and resource policy documents. Pure.

use serde_json::{Value, json};

/// ARNs of the things that policies name. All but the secrets' random endings follow from names, account and region, so a
/// policy needs nothing to exist before it.
pub struct Arns {
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// Name of the identify queue.
    pub identify: String,
    /// Name of the results queue.
    pub results: String,
    /// Name of polybot's own queue.
    pub work: String,
    /// Name of the predictions table.
    pub predictions: String,
    /// Name of the chats table.
    pub chats: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Key prefix of original pictures.
    pub image_prefix: String,
    /// Names (or ARNs) of polybot's secrets.
    pub secrets: Vec<String>,
    /// Name of the service's image repository.
    pub repository: String,
    /// Name of the service's log group, where its log goes to one.
    pub log_group: Option<String>,
    /// Name of the service's scaling group.
    pub group: String,
}

impl Arns {
    fn queue(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account)
    }
    fn table(&self, name: &str) -> String {
        format!("arn:aws:dynamodb:{}:{}:table/{name}", self.region, self.account)
    }
    fn objects(&self, prefix: &str) -> String {
        format!("arn:aws:s3:::{}/{prefix}/*", self.bucket)
    }
    fn secret(&self, name: &str) -> String {
        // Secrets Manager ends every ARN with a dash and six random characters.
        if name.starts_with("arn:") {
            name.to_owned()
        } else {
            format!("arn:aws:secretsmanager:{}:{}:secret:{name}-??????", self.region, self.account)
        }
    }
    /// What an instance needs for its container, whatever is in it.
    fn container(&self) -> Vec<Value> {
        let mut statements = self.pull().to_vec();
        statements.extend(self.log_group.as_ref().map(|group| {
            let group = format!("arn:aws:logs:{}:{}:log-group:{group}", self.region, self.account);
            let actions = ["logs:CreateLogStream", "logs:PutLogEvents"];
            allow("Logs", &actions, &[group.clone(), format!("{group}:*")])
        }));
        statements
    }
    fn pull(&self) -> [Value; 2] {
        let repository = format!("arn:aws:ecr:{}:{}:repository/{}", self.region, self.account, self.repository);
        [
            allow("Registry", &["ecr:GetAuthorizationToken"], &["*".to_owned()]),
            allow(
                "PullImage",
                &["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                &[repository],
            ),
        ]
    }
}

fn allow(sid: &str, actions: &[&str], resources: &[String]) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn document(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

const RECEIVE: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"];

/// What polybot may do.
pub fn polybot(a: &Arns) -> Value {
    let mut statements = vec![
        allow(
            "Secrets",
            &["secretsmanager:GetSecretValue"],
            &a.secrets.iter().map(|s| a.secret(s)).collect::<Vec<_>>(),
        ),
        allow("SendJobs", &["sqs:SendMessage"], &[a.queue(&a.identify), a.queue(&a.work)]),
        allow("ReceiveResults", RECEIVE, &[a.queue(&a.results), a.queue(&a.work)]),
        allow(
            "Chats",
            &["dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"],
            &[a.table(&a.chats)],
        ),
        allow(
            "Predictions",
            &["dynamodb:GetItem", "dynamodb:DeleteItem", "dynamodb:Query"],
            &[a.table(&a.predictions), format!("{}/index/*", a.table(&a.predictions))],
        ),
        // /privacy deletes a chat's pictures in every version, so it may list and delete those as well as write and read.
        allow(
            "Pictures",
            &["s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion"],
            &[a.objects(&a.image_prefix), a.objects(contract::record::PREDICTED_PREFIX)],
        ),
        // Without s3:ListBucket, S3 says of a picture that is gone that it is forbidden.
        allow("ListPictures", &["s3:ListBucket", "s3:ListBucketVersions"], &[format!("arn:aws:s3:::{}", a.bucket)]),
    ];
    statements.extend(a.container());
    document(&statements)
}

/// What yolo5 may do. No secrets: it never talks to Telegram.
pub fn yolo5(a: &Arns) -> Value {
    let mut statements = vec![
        allow("ReceiveJobs", RECEIVE, &[a.queue(&a.identify)]),
        // It looks up how long a job stays hidden, and how often it comes.
        allow("ReadQueue", &["sqs:GetQueueAttributes"], &[a.queue(&a.identify)]),
        allow("SendResults", &["sqs:SendMessage"], &[a.queue(&a.results)]),
        allow("ReadPictures", &["s3:GetObject"], &[a.objects(&a.image_prefix)]),
        // Without it S3 says of a picture that was deleted meanwhile not that it is gone, but that it is forbidden.
        allow("ListPictures", &["s3:ListBucket"], &[format!("arn:aws:s3:::{}", a.bucket)]),
        allow("WritePictures", &["s3:PutObject"], &[a.objects(contract::record::PREDICTED_PREFIX)]),
        allow("Predictions", &["dynamodb:GetItem", "dynamodb:PutItem"], &[a.table(&a.predictions)]),
        // A worker is not taken away in the middle of a job, and says when it has none.
        allow(
            "Draining",
            &[
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:RecordLifecycleActionHeartbeat",
                "autoscaling:SetInstanceProtection",
            ],
            // The ARN of a group has an id in its middle that only AWS knows.
            &[format!(
                "arn:aws:autoscaling:{}:{}:autoScalingGroup:*:autoScalingGroupName/{}",
                a.region, a.account, a.group
            )],
        ),
    ];
    statements.extend(a.container());
    document(&statements)
}

/// Instances take the role, and nobody else.
pub fn trust() -> Value {
    document(&[
        json!({ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }),
    ])
}

/// A queue answers over TLS only.
pub fn queue(arn: &str) -> Value {
    tls_only("sqs:*", &[arn.to_owned()])
}

/// A bucket answers over TLS only.
pub fn bucket(name: &str) -> Value {
    tls_only("s3:*", &[format!("arn:aws:s3:::{name}"), format!("arn:aws:s3:::{name}/*")])
}

fn tls_only(actions: &str, resources: &[String]) -> Value {
    document(&[json!({
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": resources,
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })])
}
