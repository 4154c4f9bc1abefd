//! The resources of the fixture: a text, a picture, a template and one that can be watched.
//!
//! Their content never changes, so nothing is ever sent to a watcher.
//! Invariant: a URI that is not listed and fits no template is answered with an error.

use rmcp::{
    ErrorData,
    model::{
        CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
        ResourceContents, ResourceTemplate,
    },
};
use serde_json::json;

use crate::{
    content::{PIXEL_PNG, text_resource},
    server::CACHE_MS,
};

/// Returns every resource that is not made from the template.
pub(crate) fn list() -> ListResourcesResult {
    let resources = vec![
        Resource::new("test://static-text", "Static text")
            .with_description("A text that never changes")
            .with_mime_type("text/plain"),
        Resource::new("test://static-binary", "Static picture")
            .with_description("A picture that never changes")
            .with_mime_type("image/png"),
        Resource::new("test://watched-resource", "Watched text")
            .with_description("A text that can be subscribed to")
            .with_mime_type("text/plain"),
    ];
    ListResourcesResult { resources, ..Default::default() }
        .with_ttl_ms(CACHE_MS)
        .with_cache_scope(CacheScope::Public)
}

/// Returns the one template.
pub(crate) fn templates() -> ListResourceTemplatesResult {
    let template = ResourceTemplate::new("test://template/{id}/data", "Data by id")
        .with_description("A small document for any id")
        .with_mime_type("application/json");
    ListResourceTemplatesResult { resource_templates: vec![template], ..Default::default() }
        .with_ttl_ms(CACHE_MS)
        .with_cache_scope(CacheScope::Public)
}

/// Reads a resource.
///
/// # Errors
/// Fails for a URI that names nothing.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        "test://static-text" => {
            text_resource(uri, "text/plain", "This is the content of the static text resource.")
        }
        "test://watched-resource" => text_resource(uri, "text/plain", "Watched resource content."),
        "test://static-binary" => ResourceContents::BlobResourceContents {
            uri: uri.into(),
            mime_type: Some("image/png".into()),
            blob: PIXEL_PNG.into(),
            meta: None,
        },
        _ => from_template(uri).ok_or_else(|| {
            ErrorData::resource_not_found(
                "no such resource; see resources/list",
                Some(json!({"uri": uri})),
            )
        })?,
    };
    Ok(ReadResourceResult::new(vec![contents])
        .with_ttl_ms(CACHE_MS)
        .with_cache_scope(CacheScope::Public))
}

fn from_template(uri: &str) -> Option<ResourceContents> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    let document = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
    Some(text_resource(uri, "application/json", document.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_uri_is_an_error() {
        assert!(read("test://nonexistent-resource-for-conformance-testing").is_err());
        assert!(read("test://template/7").is_err());
        assert!(read("test://template/7/data").is_ok());
    }
}
