//! The least that the controller itself may do: a policy for the role that applies, and one for the role that only reads
//! (`plan` and `drift`). Every action stands for a call that some kind makes; a test runs the controller with exactly these
//! policies, and without each of their statements.

use crate::{
    lease,
    ownership::STACK,
    spec::{Logs, PolybotStack},
    stack::{edge_names, known_names, names},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

pub mod load_test;

/// What a statement is about.
struct Scope<'a> {
    account: &'a str,
    region: &'a str,
    prefix: String,
    stack: String,
    bucket: String,
    /// What the names of the balancer and the target group begin with.
    edge: (String, String),
}

impl<'a> Scope<'a> {
    fn of(stack: &'a PolybotStack, account: &'a str) -> Self {
        let names = names(stack, account);
        Self {
            account,
            region: stack.spec.region.as_str(),
            prefix: names.prefix(),
            stack: stack.metadata.name.clone().unwrap_or_default(),
            bucket: known_names(stack, account).bucket,
            edge: edge_names(&names),
        }
    }

    /// ARNs of a service in the stack's region and account.
    fn arns(&self, service: &str, parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| format!("arn:aws:{service}:{}:{}:{part}", self.region, self.account)).collect()
    }

    /// ARNs of IAM, which knows no regions.
    fn iam(&self, parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| format!("arn:aws:iam::{}:{part}", self.account)).collect()
    }
}

fn allow(sid: &str, service: &str, actions: &[&str], resources: &[String]) -> Value {
    let actions: Vec<String> = actions.iter().map(|a| format!("{service}:{a}")).collect();
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

/// Characters that a managed policy may have, white space apart. A role can have ten.
const MANAGED: usize = 6_144;

/// A policy in parts that each fit into a managed policy: its statements, in their order.
pub fn parts(policy: &Value) -> Vec<Value> {
    let of = |statements: &[&Value]| json!({ "Version": policy["Version"], "Statement": statements });
    let mut parts: Vec<Vec<&Value>> = vec![];
    for statement in policy["Statement"].as_array().into_iter().flatten() {
        match parts.last_mut() {
            Some(part) if of(&[part.as_slice(), &[statement]].concat()).to_string().len() <= MANAGED => {
                part.push(statement);
            }
            _ => parts.push(vec![statement]),
        }
    }
    parts.iter().map(|part| of(part)).collect()
}

/// The policy for a stack. `account` is that of the spec or of whoever asks; `*` where nobody knows.
pub fn policy(stack: &PolybotStack, account: &str, read_only: bool) -> Value {
    let scope = Scope::of(stack, account);
    let mut statements = reads(&scope);
    if let Some(secret) = &stack.spec.telegram.token.secret {
        let arn = if secret.starts_with("arn:") {
            vec![secret.clone()]
        } else {
            scope.arns("secretsmanager", &[&format!("secret:{secret}-*")])
        };
        statements.push(allow("ReadToken", "secretsmanager", &["GetSecretValue"], &arn));
    }
    if !read_only {
        statements.extend(writes(&scope));
        if stack.spec.logs == Logs::CloudWatch {
            statements.push(allow(
                "WriteLogs",
                "logs",
                &["CreateLogGroup", "DeleteLogGroup", "PutRetentionPolicy", "TagResource"],
                &scope.arns("logs", &[&format!("log-group:/{}/*", scope.prefix)]),
            ));
        }
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The policy for whoever starts a controller of stacks in other accounts: it takes their roles, and does nothing itself. An
/// error where no stack names one.
pub fn to_take_roles(stacks: &[Arc<PolybotStack>]) -> anyhow::Result<Value> {
    let roles: BTreeSet<_> = stacks.iter().filter_map(|s| s.spec.assume_role.as_ref()).map(|r| r.arn.clone()).collect();
    anyhow::ensure!(!roles.is_empty(), "no spec names a role; set spec.assumeRole.arn, or leave out --caller");
    let roles: Vec<_> = roles.into_iter().collect();
    Ok(json!({ "Version": "2012-10-17", "Statement": [allow("TakeRoles", "sts", &["AssumeRole"], &roles)] }))
}

/// Lists know no resources: they are for everything.
fn reads(s: &Scope) -> Vec<Value> {
    let all = ["*".to_owned()];
    let prefix = &s.prefix;
    let bucket = [format!("arn:aws:s3:::{}", s.bucket)];
    vec![
        allow(
            "ReadNetwork",
            "ec2",
            &[
                "DescribeAccountAttributes",
                "DescribeAddresses",
                "DescribeAvailabilityZones",
                "DescribeImages",
                "DescribeInternetGateways",
                "DescribeKeyPairs",
                "DescribeLaunchTemplateVersions",
                "DescribeLaunchTemplates",
                "DescribeNetworkInterfaces",
                "DescribeRouteTables",
                "DescribeSecurityGroupRules",
                "DescribeSecurityGroups",
                "DescribeSubnets",
                "DescribeVpcAttribute",
                "DescribeVpcs",
                // Elastic Load Balancing asks in the name of who makes a balancer, for this and the first two.
                "GetSecurityGroupsForVpc",
            ],
            &all,
        ),
        allow(
            "ReadFleets",
            "autoscaling",
            &[
                "DescribeAutoScalingGroups",
                "DescribeInstanceRefreshes",
                "DescribeLifecycleHooks",
                "DescribeNotificationConfigurations",
                "DescribePolicies",
            ],
            &all,
        ),
        allow(
            "ReadEdge",
            "elasticloadbalancing",
            &[
                "DescribeListenerCertificates",
                "DescribeListeners",
                "DescribeLoadBalancerAttributes",
                "DescribeLoadBalancers",
                "DescribeRules",
                "DescribeTags",
                "DescribeTargetGroupAttributes",
                "DescribeTargetGroups",
            ],
            &all,
        ),
        json!({
            // One statement: IAM counts the characters.
            "Sid": "ReadOthers",
            "Effect": "Allow",
            "Action": [
                "acm:GetCertificate", "acm:ListCertificates", "acm:ListTagsForCertificate",
                "cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource",
                "logs:DescribeLogGroups", "logs:ListTagsForResource",
                "route53:ListHostedZonesByName", "route53:ListResourceRecordSets",
            ],
            "Resource": all,
        }),
        allow(
            "ReadImageId",
            "ssm",
            &["GetParameter"],
            &[format!("arn:aws:ssm:{}::parameter/aws/service/canonical/*", s.region)],
        ),
        allow(
            "ReadRoles",
            "iam",
            &[
                "GetInstanceProfile",
                "GetRole",
                "GetRolePolicy",
                "ListAttachedRolePolicies",
                "ListInstanceProfiles",
                "ListRolePolicies",
                "ListRoles",
            ],
            &all,
        ),
        allow("ReadQueues", "sqs", &["GetQueueAttributes", "ListQueueTags", "ListQueues"], &s.arns("sqs", &["*"])),
        allow(
            "ReadTables",
            "dynamodb",
            &["DescribeContinuousBackups", "DescribeTable", "DescribeTimeToLive", "ListTables", "ListTagsOfResource"],
            &s.arns("dynamodb", &["table/*"]),
        ),
        allow(
            "ReadBucket",
            "s3",
            &[
                "GetBucketOwnershipControls",
                "GetBucketPolicy",
                "GetBucketPublicAccessBlock",
                "GetBucketTagging",
                "GetBucketVersioning",
                "GetEncryptionConfiguration",
                "GetLifecycleConfiguration",
            ],
            &bucket,
        ),
        // Never the value: a digest in the version's token tells whether it is the wanted one.
        allow(
            "ReadSecrets",
            "secretsmanager",
            &["DescribeSecret"],
            &s.arns("secretsmanager", &[&format!("secret:{prefix}-*")]),
        ),
        allow(
            "ReadImages",
            "ecr",
            &["DescribeImages", "DescribeRepositories", "GetLifecyclePolicy", "ListTagsForResource"],
            &s.arns("ecr", &["repository/*"]),
        ),
        allow(
            "ReadTopic",
            "sns",
            &["GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource"],
            &s.arns("sns", &[&format!("{prefix}-*")]),
        ),
        json!({
            // For `plan --preflight`.
            "Sid": "Preflight",
            "Effect": "Allow",
            "Action": ["iam:SimulatePrincipalPolicy", "servicequotas:GetServiceQuota", "s3:ListBucket"],
            "Resource": all,
        }),
        json!({
            // What else is there, and which instances somebody ended: only `drift` looks.
            "Sid": "ReadSurroundings",
            "Effect": "Allow",
            "Action": ["ec2:DescribeInstances", "ec2:DescribeNatGateways", "ec2:DescribeVpcEndpoints"],
            "Resource": all,
        }),
        json!({
            // Who changed what: without it `drift` finds the same and explains less.
            "Sid": "Explain",
            "Effect": "Allow",
            "Action": ["cloudtrail:LookupEvents"],
            "Resource": all,
        }),
    ]
}

fn writes(s: &Scope) -> Vec<Value> {
    let prefix = &s.prefix;
    let ours = json!({ "StringEquals": { format!("aws:ResourceTag/{STACK}"): s.stack } });
    let network = s.arns("ec2", &["*"]);
    let mut change = allow(
        "ChangeNetwork",
        "ec2",
        &[
            "AssociateRouteTable",
            "AttachInternetGateway",
            "AuthorizeSecurityGroupEgress",
            "AuthorizeSecurityGroupIngress",
            "CreateLaunchTemplateVersion",
            "CreateRoute",
            "DeleteInternetGateway",
            "DeleteKeyPair",
            "DeleteLaunchTemplate",
            "DeleteLaunchTemplateVersions",
            "DeleteRoute",
            "DeleteRouteTable",
            "DeleteSecurityGroup",
            "DeleteSubnet",
            "DeleteVpc",
            "DetachInternetGateway",
            "DisassociateRouteTable",
            "ModifySubnetAttribute",
            "ModifyVpcAttribute",
            "ReplaceRoute",
            "UpdateSecurityGroupRuleDescriptionsEgress",
            "UpdateSecurityGroupRuleDescriptionsIngress",
        ],
        &network,
    );
    change["Condition"] = ours;
    let path = format!("polybot/{}/{}/*", s.stack, s.region);
    let roles = s.iam(&[&format!("role/{path}"), &format!("instance-profile/{path}")]);
    let mut pass = allow("PassRole", "iam", &["PassRole"], &s.iam(&[&format!("role/{path}")]));
    pass["Condition"] = json!({ "StringEquals": { "iam:PassedToService": "ec2.amazonaws.com" } });
    let mut linked =
        allow("ServiceLinkedRoles", "iam", &["CreateServiceLinkedRole"], &s.iam(&["role/aws-service-role/*"]));
    let services = ["autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"];
    linked["Condition"] = json!({ "StringEquals": { "iam:AWSServiceName": services } });
    vec![
        // A new thing has no tag yet. A group that starts instances from a template needs RunInstances of its maker.
        allow(
            "CreateNetwork",
            "ec2",
            &[
                "CreateInternetGateway",
                "CreateLaunchTemplate",
                "CreateRouteTable",
                "CreateSecurityGroup",
                "CreateSubnet",
                "CreateTags",
                "CreateVpc",
                "ImportKeyPair",
                "RunInstances",
            ],
            // An image of Canonical's is in no account of ours.
            &[network, vec![format!("arn:aws:ec2:{}::image/*", s.region)]].concat(),
        ),
        change,
        // The group that a VPC is born with bears no tag, nor does a rule that a hand has made: whoever may only close may close all.
        allow(
            "CloseGroups",
            "ec2",
            &["RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress"],
            &s.arns("ec2", &["security-group/*", "security-group-rule/*"]),
        ),
        // Nor does a rule that is to come; the group that it is for is bound by ChangeNetwork.
        allow(
            "MakeRules",
            "ec2",
            &["AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress"],
            &s.arns("ec2", &["security-group-rule/*"]),
        ),
        allow(
            "WriteFleets",
            "autoscaling",
            &[
                "AttachLoadBalancerTargetGroups",
                "CancelInstanceRefresh",
                "CreateAutoScalingGroup",
                "CreateOrUpdateTags",
                "DeleteAutoScalingGroup",
                "DeleteLifecycleHook",
                "DeleteNotificationConfiguration",
                "DeletePolicy",
                "DeleteTags",
                "DetachLoadBalancerTargetGroups",
                "DisableMetricsCollection",
                "EnableMetricsCollection",
                "PutLifecycleHook",
                "PutNotificationConfiguration",
                "PutScalingPolicy",
                "ResumeProcesses",
                "RollbackInstanceRefresh",
                "StartInstanceRefresh",
                "UpdateAutoScalingGroup",
            ],
            &s.arns("autoscaling", &[&format!("*autoScalingGroupName/{prefix}-*")]),
        ),
        allow(
            "WriteAlarms",
            "cloudwatch",
            &["DeleteAlarms", "PutMetricAlarm", "TagResource"],
            &s.arns("cloudwatch", &[&format!("alarm:{prefix}-*")]),
        ),
        allow(
            "WriteEdge",
            "elasticloadbalancing",
            &[
                "AddTags",
                "CreateListener",
                "CreateLoadBalancer",
                "CreateTargetGroup",
                "DeleteListener",
                "DeleteLoadBalancer",
                "DeleteRule",
                "DeleteTargetGroup",
                "ModifyListener",
                "ModifyLoadBalancerAttributes",
                "ModifyTargetGroup",
                "ModifyTargetGroupAttributes",
                "RemoveListenerCertificates",
                "SetSecurityGroups",
                "SetSubnets",
            ],
            &s.arns(
                "elasticloadbalancing",
                &[&format!("*/app/{}-*", s.edge.0), &format!("targetgroup/{}-*", s.edge.1)],
            ),
        ),
        allow(
            "WriteCertificate",
            "acm",
            &["AddTagsToCertificate", "DeleteCertificate", "ImportCertificate"],
            &s.arns("acm", &["certificate/*"]),
        ),
        allow("WriteZone", "route53", &["ChangeResourceRecordSets"], &["arn:aws:route53:::hostedzone/*".to_owned()]),
        allow(
            "WriteRoles",
            "iam",
            &[
                "AddRoleToInstanceProfile",
                "AttachRolePolicy",
                "CreateInstanceProfile",
                "CreateRole",
                "DeleteInstanceProfile",
                "DeleteRole",
                "DeleteRolePolicy",
                "DetachRolePolicy",
                "PutRolePolicy",
                "RemoveRoleFromInstanceProfile",
                "TagInstanceProfile",
                "TagRole",
                "UpdateAssumeRolePolicy",
            ],
            &roles,
        ),
        pass,
        linked,
        allow(
            "WriteQueues",
            "sqs",
            &["CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue"],
            &s.arns("sqs", &[&format!("{prefix}-*")]),
        ),
        allow(
            "WriteTables",
            "dynamodb",
            &[
                "CreateTable",
                "DeleteTable",
                "TagResource",
                "UpdateContinuousBackups",
                "UpdateTable",
                "UpdateTimeToLive",
            ],
            &s.arns("dynamodb", &[&format!("table/{prefix}-*")]),
        ),
        // So that no two controllers work on one stack at once; without it one goes on with a warning.
        allow(
            "Lease",
            "dynamodb",
            &["CreateTable", "DescribeTable", "GetItem", "PutItem", "UpdateItem", "DeleteItem"],
            &s.arns("dynamodb", &[&format!("table/{}", lease::TABLE)]),
        ),
        allow(
            "WriteBucket",
            "s3",
            &[
                "AbortMultipartUpload",
                "CreateBucket",
                "DeleteBucket",
                "DeleteObject",
                "DeleteObjectVersion",
                "ListBucketMultipartUploads",
                "ListBucketVersions",
                "PutBucketOwnershipControls",
                "PutBucketPolicy",
                "PutBucketPublicAccessBlock",
                "PutBucketTagging",
                "PutBucketVersioning",
                "PutEncryptionConfiguration",
                "PutLifecycleConfiguration",
            ],
            &[format!("arn:aws:s3:::{}", s.bucket), format!("arn:aws:s3:::{}/*", s.bucket)],
        ),
        allow(
            "WriteSecrets",
            "secretsmanager",
            &[
                "CreateSecret",
                "DeleteSecret",
                "PutSecretValue",
                "RestoreSecret",
                "TagResource",
                "UpdateSecret",
                "UpdateSecretVersionStage",
            ],
            &s.arns("secretsmanager", &[&format!("secret:{prefix}-*")]),
        ),
        allow(
            "WriteRepositories",
            "ecr",
            &[
                "CreateRepository",
                "DeleteRepository",
                "PutImageScanningConfiguration",
                "PutImageTagMutability",
                "PutLifecyclePolicy",
                "TagResource",
            ],
            &s.arns("ecr", &[&format!("repository/{prefix}-*")]),
        ),
        allow(
            "WriteTopic",
            "sns",
            &["CreateTopic", "DeleteTopic", "SetTopicAttributes", "Subscribe", "TagResource", "Unsubscribe"],
            &s.arns("sns", &[&format!("{prefix}-*")]),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_fit_into_aws_and_no_action_stands_twice_for_one_thing() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/prod.yaml");
        let mut stack = crate::spec::load::load(&[path.into()]).unwrap().remove(0);
        stack.spec.logs = Logs::CloudWatch;
        let read = policy(&stack, "123456789012", true);
        assert_eq!(parts(&read), std::slice::from_ref(&read));
        for statement in read["Statement"].as_array().unwrap() {
            for action in statement["Action"].as_array().unwrap() {
                let verb = action.as_str().unwrap().split(':').nth(1).unwrap();
                assert!(
                    ["Describe", "Get", "List", "Lookup", "Simulate"].iter().any(|v| verb.starts_with(v)),
                    "{verb} writes"
                );
                assert_ne!(verb, "GetSecretValue");
            }
        }
    }

    #[test]
    fn a_policy_of_any_length_comes_in_parts_that_each_fit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/full.yaml");
        let mut stack = crate::spec::load::load(&[path.into()]).unwrap().remove(0);
        stack.spec.region = "ap-southeast-1".parse().unwrap();
        (stack.spec.prefix, stack.spec.environment) = ("a-long-prefix".into(), "production".into());
        let whole = policy(&stack, "123456789012", false);
        // Names that are cut are allowed as they are cut.
        let edge = edge_names(&names(&stack, "123456789012"));
        assert!(!edge.1.starts_with("a-long-prefix-production"), "{edge:?}");
        let text = whole.to_string();
        assert!(
            text.contains(&format!("*/app/{}-*", edge.0)) && text.contains(&format!("targetgroup/{}-*", edge.1)),
            "{text}"
        );
        let parts = parts(&whole);
        assert!(parts.iter().all(|part| part.to_string().len() <= 6_144 && part["Version"] == whole["Version"]));
        let all: Vec<_> = parts.iter().flat_map(|part| part["Statement"].as_array().unwrap()).collect();
        assert_eq!(all, Vec::from_iter(whole["Statement"].as_array().unwrap()));
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn who_takes_roles_may_take_each_of_them_and_nothing_else() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/prod.yaml");
        let stack = crate::spec::load::load(&[path.into()]).unwrap().remove(0);
        let error = to_take_roles(&[Arc::new(stack.clone())]).unwrap_err().to_string();
        assert!(error.contains("spec.assumeRole.arn"), "{error}");
        let of = |arn: &str| {
            let mut stack = stack.clone();
            stack.spec.assume_role = Some(crate::spec::AssumeRole { arn: arn.to_owned(), external_id: None });
            Arc::new(stack)
        };
        let policy = to_take_roles(&[of("arn:b"), of("arn:a"), of("arn:b")]).unwrap();
        assert_eq!(
            policy["Statement"],
            json!([allow("TakeRoles", "sts", &["AssumeRole"], &["arn:a".into(), "arn:b".into()])])
        );
    }
}
