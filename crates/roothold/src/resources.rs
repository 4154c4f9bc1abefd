//! Files as resources: listed, read, and completed, each as an internal tool, so that the one
//! call path decides and records them like everything else.

mod complete;
mod list;
mod read;

use rmcp::model::{
    CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ListResourceTemplatesResult,
    ListResourcesResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Reference, Resource, ResourceContents,
    ResourceTemplate,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use roothold_core::Fault;
use roothold_core::files::Encoding;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::{CallError, CallRequest, Dialogue, panicked};
use crate::catalog::Catalog;
use crate::handler::{Handler, Origin};
use crate::wire;

pub(crate) const TEMPLATE: &str = "file:///{+path}";

/// Adds the internal tools.
pub(crate) fn add(catalog: &mut Catalog) {
    catalog.add(list::ListResources);
    catalog.add(read::ReadResource);
    catalog.add(complete::Complete);
}

/// Whether a tool of the catalog is internal: its name is that of a method.
pub(crate) fn is_internal(tool: &str) -> bool {
    tool.contains('/')
}

pub(crate) fn templates() -> ListResourceTemplatesResult {
    let template = ResourceTemplate::new(TEMPLATE, "file")
        .with_title("File")
        .with_description("A file inside a root, by its absolute public path without the leading slash; see listRoots");
    ListResourceTemplatesResult::with_all_items(vec![template])
}

pub(crate) async fn list(
    handler: &Handler,
    request: Option<PaginatedRequestParams>,
    context: RequestContext<RoleServer>,
) -> Result<ListResourcesResult, ErrorData> {
    let mut arguments = Map::new();
    if let Some(cursor) = request.and_then(|request| request.cursor) {
        arguments.insert("cursor".to_owned(), json!(cursor));
    }
    let page: list::Page = call(handler, &context, list::NAME, arguments).await?;
    let resources = page.resources.into_iter().map(|found| {
        let mut resource = Resource::new(found.uri, found.name);
        resource.mime_type = found.mime_type;
        resource
    });
    let mut result = ListResourcesResult::with_all_items(resources.collect());
    result.next_cursor = page.next_cursor;
    Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
}

pub(crate) async fn read(
    handler: &Handler,
    request: ReadResourceRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<ReadResourceResponse, ErrorData> {
    let arguments = Map::from_iter([("uri".to_owned(), json!(request.uri))]);
    let found: read::Content = call(handler, &context, read::NAME, arguments).await?;
    let contents = match (found.text, found.blob) {
        (Some(text), _) => ResourceContents::text(text, found.uri),
        (None, blob) => ResourceContents::blob(blob.unwrap_or_default(), found.uri),
    };
    let mut contents = contents.with_mime_type(found.mime_type);
    // UTF-8 goes without saying.
    if let Some(encoding) = found.encoding.filter(|encoding| encoding != Encoding::Utf8.name()) {
        let mut meta = MetaObject::default();
        meta.insert("io.roothold/encoding".to_owned(), json!(encoding));
        contents = contents.with_meta(meta);
    }
    let result = ReadResourceResult::new(vec![contents]);
    Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private).into())
}

pub(crate) async fn complete(
    handler: &Handler,
    request: CompleteRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CompleteResult, ErrorData> {
    match &request.r#ref {
        Reference::Resource(resource)
            if resource.uri == TEMPLATE && request.argument.name == "path" => {}
        _ => {
            let reason = format!(
                "only the argument `path` of the resource template {TEMPLATE} can be completed"
            );
            return Err(ErrorData::invalid_params(reason, None));
        }
    }
    let arguments = Map::from_iter([("value".to_owned(), json!(request.argument.value))]);
    let found: complete::Completions = call(handler, &context, complete::NAME, arguments).await?;
    let info = CompletionInfo::with_pagination(found.values, None, found.has_more);
    info.map(CompleteResult::new).map_err(|error| ErrorData::internal_error(error, None))
}

/// Runs an internal tool through the one call path.
pub(crate) async fn call<T: DeserializeOwned>(
    handler: &Handler,
    context: &RequestContext<RoleServer>,
    tool: &'static str,
    arguments: Map<String, Value>,
) -> Result<T, ErrorData> {
    let called = call_as(handler, &Origin::of(context), tool, arguments, &context.ct).await;
    called.map_err(|fault| wire::request_error(&fault))
}

/// The same for whoever it is, with the fault as it is.
pub(crate) async fn call_as<T: DeserializeOwned>(
    handler: &Handler,
    origin: &Origin,
    tool: &'static str,
    arguments: Map<String, Value>,
    cancel: &CancellationToken,
) -> Result<T, Fault> {
    let request = CallRequest {
        principal: origin.principal(),
        request_id: origin.request_id(),
        method: tool,
        tool,
        arguments,
        cancel,
        progress: None,
        takes_tasks: false,
        dialogue: Dialogue::default(),
        within: None,
        job: None,
        trace: origin.trace(),
    };
    let answer = handler.engine.call(request).await.map_err(|error| match error {
        CallError::Fault(fault) => {
            origin.report_scopes(&fault);
            fault
        }
        CallError::Panicked => panicked(),
        CallError::UnknownTool | CallError::NeedsTasks => {
            Fault::internal("an internal tool is missing")
        }
    })?;
    let structured = answer.structured.map(|form| form.value()).unwrap_or_default();
    serde_json::from_value(structured).map_err(Fault::internal)
}
