//! `/privacy`: deletes what is kept of a chat, in the bucket and in both tables.

use crate::{app::Talk, results, trouble::Trouble};
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
            delete_object(talk, &record.original_img_path).await?;
            delete_object(talk, &record.predicted_img_path).await?;
        }
        if let Some(id) = item.get(PREDICTION_ID) {
            let delete = app.dynamodb.delete_item().table_name(table).key(PREDICTION_ID, id.clone());
            delete.send().await.map_err(Trouble::aws("DeleteItem"))?;
        }
    }
    for prefix in [app.config.image_prefix.as_str(), PREDICTED_PREFIX] {
        let list = app.s3.list_objects_v2().bucket(&app.config.bucket).prefix(format!("{prefix}/{chat}/"));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.map_err(Trouble::aws("ListObjectsV2"))?.contents.unwrap_or_default() {
                delete_object(talk, object.key.as_deref().unwrap_or_default()).await?;
            }
        }
    }
    app.store.forget(chat).await
}

async fn delete_object(talk: &Talk, key: &str) -> Result<(), Trouble> {
    let delete = talk.app.s3.delete_object().bucket(&talk.app.config.bucket).key(key);
    delete.send().await.map(drop).map_err(Trouble::aws("DeleteObject"))
}
