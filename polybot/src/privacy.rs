//! `/privacy`: deletes what is kept of a chat, in the bucket (old versions, too) and in both tables.

use crate::{
    app::{App, Talk},
    results,
    trouble::Trouble,
};
use aws_sdk_dynamodb::types::AttributeValue;
use contract::record::{CHAT_ID, CHAT_INDEX, PREDICTED_PREFIX, PREDICTION_ID};

/// Deletes a chat's pictures, predictions and items. Repeating it does no harm.
pub async fn forget(talk: &Talk) -> Result<(), Trouble> {
    let (app, chat) = (&talk.app, talk.chat);
    let table = &app.config.predictions_table;
    let query = app
        .dynamodb
        .query()
        .table_name(table)
        .index_name(CHAT_INDEX)
        .key_condition_expression("#chat = :chat")
        .expression_attribute_names("#chat", CHAT_ID)
        .expression_attribute_values(":chat", AttributeValue::N(chat.to_string()));
    let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    for item in items.map_err(Trouble::aws("Query"))? {
        if let Some(record) = results::record(&item) {
            // What the system before this one wrote lies outside the chat's own folders.
            for key in [&record.original_img_path, &record.predicted_img_path] {
                delete_versions(app, key, |found| found == key).await?;
            }
        }
        if let Some(id) = item.get(PREDICTION_ID) {
            let delete = app.dynamodb.delete_item().table_name(table).key(PREDICTION_ID, id.clone());
            delete.send().await.map_err(Trouble::aws("DeleteItem"))?;
        }
    }
    for prefix in [app.config.image_prefix.as_str(), PREDICTED_PREFIX] {
        delete_versions(app, &format!("{prefix}/{chat}/"), |_| true).await?;
    }
    app.store.forget(chat).await
}

/// Deletes every version, and every mark of a deletion, of the objects that `which` says. Deleting an object alone would keep
/// it for a month as a version that is not current.
async fn delete_versions(app: &App, prefix: &str, which: impl Fn(&str) -> bool) -> Result<(), Trouble> {
    let bucket = &app.config.bucket;
    let (mut key, mut version) = (None, None);
    loop {
        let list = app.s3.list_object_versions().bucket(bucket).prefix(prefix);
        let page = list.set_key_marker(key).set_version_id_marker(version).send().await;
        let page = page.map_err(Trouble::aws("ListObjectVersions"))?;
        let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
        let marks = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        for (key, version) in versions.chain(marks) {
            let Some(key) = key.filter(|key| which(key)) else { continue };
            let delete = app.s3.delete_object().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
            delete.send().await.map_err(Trouble::aws("DeleteObject"))?;
        }
        if page.is_truncated() != Some(true) {
            return Ok(());
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
    }
}
