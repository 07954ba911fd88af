//! What went wrong in a call, in terms that the engine and people can act on.

use crate::spec::AssumeRole;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata};
use std::fmt;

/// A call of AWS that did not work.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Error {
    /// The service as SDKs name it: `ec2`, `elasticloadbalancingv2`.
    pub service: String,
    /// The operation: `CreateVpc`.
    pub operation: String,
    /// AWS's code, such as `VpcLimitExceeded`; empty where no answer came.
    pub code: String,
    /// AWS's message, or why no answer came.
    pub message: String,
    /// What it means.
    pub reason: Reason,
}

/// What an error means for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// Something else still holds it.
    InUse,
    /// Not now: a cool-down, a state that passes, or something not visible yet.
    NotYet,
    /// Too many calls.
    Throttled,
    /// The credentials may not do this.
    Denied,
    /// The credentials are absent, wrong or expired.
    Credentials,
    /// A quota is used up.
    Quota,
    /// No connection, or no answer in time.
    Unreachable,
    /// Anything else: AWS refuses what was asked.
    Refused,
}

/// Result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A fault in this program rather than in AWS.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            service: "controller".to_owned(),
            operation: "internal".to_owned(),
            code: String::new(),
            message: message.into(),
            reason: Reason::Refused,
        }
    }

    /// An answer of a service that is asked without an SDK; no code where no answer came.
    pub(super) fn answered(service: &str, operation: &str, code: &str, message: String) -> Self {
        let reason = if code.is_empty() { Reason::Unreachable } else { classify(service, operation, code, &message) };
        Self { service: service.to_owned(), operation: operation.to_owned(), code: code.to_owned(), message, reason }
    }

    /// A state that passes, found out by looking rather than by an error of AWS.
    pub fn not_yet(service: &str, operation: &str, message: impl Into<String>) -> Self {
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            code: String::new(),
            message: message.into(),
            reason: Reason::NotYet,
        }
    }

    /// A role that cannot be taken.
    pub(super) fn not_taken(role: &AssumeRole) -> Self {
        let with = role.external_id.as_ref().map_or("", |_| " with this external id");
        Self {
            service: "sts".to_owned(),
            operation: "AssumeRole".to_owned(),
            code: String::new(),
            message: format!(
                "the role {} cannot be taken: there are no credentials that work, or it does not trust them{with}",
                role.arn
            ),
            reason: Reason::Denied,
        }
    }

    /// Whether a later pass may well succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.reason, Reason::NotYet | Reason::InUse | Reason::Throttled)
    }

    /// Whether it is not there.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// How a person mends it, where there is a general answer.
    pub fn hint(&self) -> Option<String> {
        Some(match self.reason {
            Reason::Denied => {
                format!("allow {}:{} to the identity the controller runs as", self.iam_prefix(), self.operation)
            }
            Reason::Credentials => {
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in again; \
                                    `aws sts get-caller-identity` shows who you are"
                    .to_owned()
            }
            Reason::Quota => {
                "ask AWS for a higher quota (Service Quotas console), or remove what is not needed".to_owned()
            }
            Reason::Unreachable => "check the network, and AWS_ENDPOINT_URL if it is set".to_owned(),
            Reason::Throttled => "nothing to mend: the next pass goes on; fewer tools at once help".to_owned(),
            Reason::NotFound | Reason::Exists | Reason::InUse | Reason::NotYet | Reason::Refused => return None,
        })
    }

    /// The service's name in IAM actions, which is not always that of the SDK.
    fn iam_prefix(&self) -> &str {
        match self.service.as_str() {
            "elasticloadbalancingv2" => "elasticloadbalancing",
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.service == "controller" {
            return f.write_str(&self.message);
        }
        write!(f, "{} {}: {}", self.service, self.operation, self.message)?;
        if self.code.is_empty() { Ok(()) } else { write!(f, " ({})", self.code) }
    }
}

/// Any SDK error. Service and operation are in the error's type, so no call has to name itself:
/// `aws_sdk_ec2::operation::create_vpc::CreateVpcError`.
impl<E, R> From<SdkError<E, R>> for Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let type_name = std::any::type_name::<E>();
        let mut parts = type_name.split("::");
        let service = parts.next().and_then(|c| c.strip_prefix("aws_sdk_")).unwrap_or("aws").to_owned();
        let operation = type_name.rsplit("::").next().unwrap_or_default().trim_end_matches("Error").to_owned();
        let code = error.code().unwrap_or_default().to_owned();
        let context;
        let (message, reason) = match &error {
            SdkError::ServiceError(_) => {
                let message = error.message().unwrap_or("no message").to_owned();
                let reason = classify(&service, &operation, &code, &message);
                (message, reason)
            }
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
                (format!("no answer: {}", first_line(&error)), Reason::Unreachable)
            }
            _ => {
                context = DisplayErrorContext(&error).to_string();
                let lower = context.to_lowercase();
                if lower.contains("credential") || lower.contains("profile") && lower.contains("token") {
                    ("no credentials that work".to_owned(), Reason::Credentials)
                } else {
                    (format!("cannot be reached: {}", innermost(&error)), Reason::Unreachable)
                }
            }
        };
        Self { service, operation, code, message, reason }
    }
}

fn first_line(error: &dyn std::error::Error) -> String {
    innermost(error)
}

/// The last cause of a chain, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// Whether a code says that there were too many calls.
pub(super) fn throttles(code: &str) -> bool {
    ["Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown"].iter().any(|c| code.contains(c))
}

/// What a code means. By service and operation where the same code means different things: botocore treats
/// LimitExceededException as throttling, which is right for DynamoDB and hides a quota in IAM and ACM.
fn classify(service: &str, operation: &str, code: &str, message: &str) -> Reason {
    const NOT_YET: &[&str] = &[
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "QueueDeletedRecently",
        "ConcurrentModification",
        "ContinuousBackupsUnavailable",
        "EntityTemporarilyUnmodifiable",
        "IncorrectState",
        "OperationAborted",
        "PriorRequestNotComplete",
        "ResourceContention",
        "ScalingActivityInProgress",
        "InstanceRefreshInProgress",
        "ConcurrentAccess",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
        "InvalidGroup.NotFound",
        "InvalidInternetGatewayID.NotFound",
        "InvalidRouteTableID.NotFound",
        "InsufficientInstanceCapacity",
    ];
    const CREDENTIALS: &[&str] = &[
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "AuthFailure",
        "MissingAuthenticationToken",
    ];
    let is = |codes: &[&str]| {
        codes
            .iter()
            .any(|c| code == *c || code.strip_suffix("Fault") == Some(c) || code.strip_suffix("Exception") == Some(c))
    };
    // Through some paths the SQS cool-down arrives under another code; its message is the same.
    if service == "sqs" && message.contains("wait 60 seconds") {
        return Reason::NotYet;
    }
    if service == "autoscaling" && message.contains("Invalid IAM Instance Profile")
        || service == "ec2" && message.contains("Invalid IAM Instance Profile")
    {
        return Reason::NotYet;
    }
    // Load balancers learn of a certificate some time after it was imported.
    if operation.ends_with("Listener") && is(&["CertificateNotFound", "UnsupportedCertificate"]) {
        return Reason::NotYet;
    }
    if service == "dynamodb" && is(&["LimitExceeded", "ResourceInUse"]) {
        return if operation == "CreateTable" && message.contains("already exists") {
            Reason::Exists
        } else {
            Reason::NotYet
        };
    }
    if operation.starts_with("Delete")
        && (code.contains("NotFound") || code.contains("NonExistent") || code.starts_with("NoSuch"))
    {
        return Reason::NotFound;
    }
    if is(CREDENTIALS) {
        Reason::Credentials
    } else if ["AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "Forbidden"]
        .iter()
        .any(|c| code.contains(c))
    {
        Reason::Denied
    } else if throttles(code) {
        Reason::Throttled
    } else if is(NOT_YET) {
        Reason::NotYet
    } else if ["DependencyViolation", "ResourceInUse", "DeleteConflict"].iter().any(|c| code.contains(c)) {
        Reason::InUse
    } else if code.contains("NotFound")
        || code.contains("NoSuch")
        || code.contains("NonExistent")
        || code.contains("DoesNotExist")
        || code == "404"
    {
        Reason::NotFound
    } else if code.contains("LimitExceeded") || code.starts_with("TooMany") {
        Reason::Quota
    } else if code.contains("AlreadyExists")
        || code.contains("Duplicate")
        || code.contains("EntityExists")
        || code.starts_with("BucketAlready")
        || code == "ResourceExistsException"
    {
        Reason::Exists
    } else {
        Reason::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_code_means_different_things_to_different_services() {
        assert_eq!(classify("dynamodb", "UpdateTable", "LimitExceededException", ""), Reason::NotYet);
        assert_eq!(classify("iam", "CreateRole", "LimitExceeded", ""), Reason::Quota);
        assert_eq!(
            classify("sqs", "CreateQueue", "Throttling", "You must wait 60 seconds after deleting"),
            Reason::NotYet
        );
        assert_eq!(classify("ec2", "DeleteSubnet", "InvalidSubnetID.NotFound", ""), Reason::NotFound);
        assert_eq!(classify("ec2", "CreateRoute", "InvalidRouteTableID.NotFound", ""), Reason::NotYet);
        assert_eq!(classify("ec2", "CreateVpc", "UnauthorizedOperation", ""), Reason::Denied);
        let elb = "elasticloadbalancingv2";
        assert_eq!(classify(elb, "ModifyListener", "CertificateNotFoundException", ""), Reason::NotYet);
        let fresh = classify("dynamodb", "UpdateContinuousBackups", "ContinuousBackupsUnavailableException", "");
        assert_eq!(fresh, Reason::NotYet);
        assert_eq!(
            classify("autoscaling", "DeleteAutoScalingGroup", "ScalingActivityInProgressFault", ""),
            Reason::NotYet
        );
    }
}
