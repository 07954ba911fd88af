//! Names of the environment variables that the services read and the controller writes (user data, `status -o env`).

/// AWS region of the stack, such as `us-east-1`. Read by the AWS SDK itself.
pub const AWS_REGION: &str = "AWS_REGION";
/// Another AWS endpoint, for the local stand-in. Read by the AWS SDK itself; unset on real AWS.
pub const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
/// URL of the queue that carries jobs from polybot to yolo5.
pub const IDENTIFY_QUEUE_URL: &str = "IDENTIFY_QUEUE_URL";
/// URL of the queue that carries answers from yolo5 to polybot.
pub const RESULTS_QUEUE_URL: &str = "RESULTS_QUEUE_URL";
/// URL of polybot's own queue: albums that gather, reminders for unanswered jobs.
pub const WORK_QUEUE_URL: &str = "WORK_QUEUE_URL";
/// Name of the table of predictions ([`crate::Prediction`]).
pub const PREDICTIONS_TABLE: &str = "PREDICTIONS_TABLE";
/// Name of the table of chats: seen updates, albums, settings, undo, poller lease.
pub const CHATS_TABLE: &str = "CHATS_TABLE";
/// Name of the bucket of original and annotated pictures.
pub const IMAGES_BUCKET: &str = "IMAGES_BUCKET";
/// Key prefix of original pictures, without a slash at its end; `images` unless the spec says otherwise.
pub const IMAGE_PREFIX: &str = "IMAGE_PREFIX";
/// Name or ARN of the secret `{"TELEGRAM_TOKEN": "…"}`.
pub const TELEGRAM_TOKEN_SECRET: &str = "TELEGRAM_TOKEN_SECRET";
/// The bot token itself, for polling on a laptop. Wins over [`TELEGRAM_TOKEN_SECRET`]; never set on instances.
pub const TELEGRAM_TOKEN: &str = "TELEGRAM_TOKEN";
/// Name or ARN of the secret that holds the public certificate as PEM.
pub const CERTIFICATE_SECRET: &str = "CERTIFICATE_SECRET";
/// Root of the Bot API; `https://api.telegram.org` unless set.
pub const TELEGRAM_API_URL: &str = "TELEGRAM_API_URL";
/// Address and port that polybot serves on; `0.0.0.0:8443` unless set.
pub const POLYBOT_LISTEN: &str = "POLYBOT_LISTEN";
/// Address and port of yolo5's `/healthz` and `/metrics`; `0.0.0.0:8080` unless set.
pub const YOLO5_LISTEN: &str = "YOLO5_LISTEN";
/// Name of the Auto Scaling group that yolo5's instance belongs to: it then watches the instance metadata, protects its instance
/// while a job is in work, and drains when the instance is to go. Unset outside of a group.
pub const SCALING_GROUP: &str = "SCALING_GROUP";
/// Name of that group's launch hook, which a worker completes when it is ready for jobs: an instance whose worker never is counts as
/// one that did not come up.
pub const LAUNCH_HOOK: &str = "LAUNCH_HOOK";
/// Name of that group's termination hook, which a drained worker completes.
pub const TERMINATION_HOOK: &str = "TERMINATION_HOOK";
/// Path of the ONNX model that yolo5 loads.
pub const YOLO5_MODEL: &str = "YOLO5_MODEL";
/// Least confidence of a detection, 0 to 1; `0.25` unless set.
pub const CONFIDENCE: &str = "CONFIDENCE";
/// `text` (the default) or `json`: the form of the log on standard error.
pub const LOG_FORMAT: &str = "LOG_FORMAT";
