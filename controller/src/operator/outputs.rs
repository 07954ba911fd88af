//! A stack's outputs in a ConfigMap, for those who run beside it.

use super::{NAME, Operator};
use crate::spec::PolybotStack;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use std::collections::BTreeMap;

impl Operator {
    /// Writes them where the spec says. The ConfigMap goes with the stack's object, so one that is not this stack's is left
    /// alone. The error is for people.
    pub(super) async fn export(&self, stack: &PolybotStack, outputs: &BTreeMap<String, String>) -> Result<(), String> {
        let Some(name) = stack.spec.cluster.as_ref().and_then(|c| c.outputs_to.as_ref()) else { return Ok(()) };
        if self.lost.is_asked() {
            return Ok(());
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                owner_references: stack.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(outputs.clone()),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &stack.namespace().unwrap_or_default());
        let there = api.get_opt(name).await.map_err(|e| format!("the ConfigMap {name} cannot be read: {e}"))?;
        let ours =
            |map: &ConfigMap| map.owner_references().iter().any(|owner| Some(&owner.uid) == stack.uid().as_ref());
        if there.is_some_and(|map| !ours(&map)) {
            return Err(format!(
                "the ConfigMap {name} is not of this stack; name another one in spec.cluster.outputsTo, or delete it"
            ));
        }
        let written = api.patch(name, &PatchParams::apply(NAME).force(), &Patch::Apply(&map)).await;
        written.map(drop).map_err(|e| format!("the ConfigMap {name} cannot be written: {e}"))
    }
}
