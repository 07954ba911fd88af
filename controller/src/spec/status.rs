//! What the operator tells of a stack in the object's status.

use crate::engine::Consent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the operator tells of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolybotStackStatus {
    /// Generation of the spec that the last pass was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Synced, Drifted, Stalled and Paused.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Account that the stack lives in, from before its first pass on: it is not looked for in any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Every resource, live or missing.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address", "id"]))]
    pub resources: Vec<ResourceStatus>,
    /// What the stack offers to people and programs.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
    /// What the operator would do, where it does not do it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// The approved plan that is being carried out, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// When the last pass ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<Time>,
    /// When the next one is due, if nothing changes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_pass: Option<Time>,
    /// Value of the annotation `polybot.dev/reconcile` that was answered last: by a pass, or by conditions that tell why there
    /// is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<String>,
}

/// One resource of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// Its address, such as `queue/identify`.
    pub address: String,
    /// Id, ARN or name in AWS; empty where it is missing.
    pub id: String,
    /// Its kind, such as `queue`.
    pub kind: String,
    /// `ready`, `pending`, `deleting`, `failed`, `differs`, `surplus`, `blocked`, `waiting`, `missing` or `unknown`.
    pub state: String,
    /// Since when, where AWS tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is in this state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A plan that the operator does not carry out by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// One line: what the steps come to.
    pub summary: String,
    /// Digest of all that it would write; the annotation `polybot.dev/approve` names it to approve.
    pub digest: String,
    /// Its first steps.
    pub steps: Vec<String>,
    /// How many more there are.
    #[serde(default)]
    pub more: u32,
}

/// An approved plan that is being carried out, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// Its digest.
    pub digest: String,
    /// Generation of the spec that it was made from: another spec needs another approval.
    pub generation: i64,
    /// What it may write: each address, and whether what lives there may go. Nothing more once it is done with.
    pub consent: Consent,
    /// Whether it is done with. An approval is good for once: the annotation has to be set anew for the same plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}
