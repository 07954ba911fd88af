//! The arguments of one call, from wherever the client put them: query, JSON, form or multipart.
//!
//! Telegram takes every scalar as a string too and nested objects as JSON within a string; so do the readers here.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;

/// The largest body: 50 MB for files and a little for the other fields.
const BODY_LIMIT: usize = 52 * 1024 * 1024;

/// A file that came within a multipart body.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Name as the client gave it.
    pub name: String,
    /// Content.
    pub bytes: Bytes,
}

/// Arguments and files of a call.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: Map<String, Value>,
    files: HashMap<String, Upload>,
}

impl Params {
    /// Reads query and body.
    pub async fn read(request: Request) -> Result<Self, ApiError> {
        let mut params = Self::default();
        if let Some(query) = request.uri().query() {
            params.add_form(query.as_bytes());
        }
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
        if kind.starts_with("multipart/form-data") {
            params.add_multipart(request).await?;
            return Ok(params);
        }
        let body = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.map_err(|_| ApiError::too_large())?;
        if kind.starts_with("application/json") && !body.is_empty() {
            match serde_json::from_slice(&body) {
                Ok(Value::Object(values)) => params.values.extend(values),
                _ => return Err(ApiError::bad("can't parse JSON object")),
            }
        } else {
            params.add_form(&body);
        }
        Ok(params)
    }

    fn add_form(&mut self, form: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(form) {
            self.values.insert(name.into_owned(), Value::String(value.into_owned()));
        }
    }

    async fn add_multipart(&mut self, request: Request) -> Result<(), ApiError> {
        let broken = |_| ApiError::bad("can't parse multipart body");
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| ApiError::bad("no boundary"))?;
        let mut total = 0;
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let Some(name) = field.name().map(str::to_owned) else { continue };
            let file_name = field.file_name().map(str::to_owned);
            let mut field = field;
            let mut bytes = Vec::new();
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                total += chunk.len();
                if total > BODY_LIMIT {
                    return Err(ApiError::too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            if let Some(file_name) = file_name {
                self.files.insert(name, Upload { name: file_name, bytes: bytes.into() });
            } else {
                self.values.insert(name, Value::String(String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Ok(())
    }

    /// Everything but the contents of files, for the list of calls.
    pub fn summary(&self) -> Value {
        let mut summary = self.values.clone();
        for (name, file) in &self.files {
            summary.insert(name.clone(), Value::String(format!("file {} of {} bytes", file.name, file.bytes.len())));
        }
        Value::Object(summary)
    }

    /// Text as it is; a number or boolean as its text; nothing if absent.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_i64()),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => {
                text.trim().parse().map(Some).map_err(|_| ApiError::bad(format!("{name} must be an integer")))
            }
            Some(_) => Err(ApiError::bad(format!("{name} must be an integer"))),
        }
    }

    /// Telegram reads "true", "yes" and "1" as true, everything else as false.
    pub fn flag(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => matches!(text.to_lowercase().as_str(), "true" | "yes" | "1"),
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            _ => false,
        }
    }

    /// A nested object, plain or as JSON within a string.
    pub fn nested<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let broken = |error| ApiError::bad(format!("can't parse {}: {error}", name.replace('_', " ")));
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text).map(Some).map_err(broken),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(broken),
        }
    }

    /// A file by field name; a value `attach://NAME` names another field.
    pub fn file(&self, name: &str) -> Option<&Upload> {
        match self.values.get(name) {
            Some(Value::String(text)) => self.files.get(text.strip_prefix("attach://")?),
            _ => self.files.get(name),
        }
    }

    /// A file by an `attach://NAME` reference.
    pub fn attached(&self, reference: &str) -> Option<&Upload> {
        self.files.get(reference.strip_prefix("attach://")?)
    }
}
