//! From `method` and raw `params` to rmcp's typed request, parsed once.
//!
//! Methods that are not here take rmcp's way. Invariant: `_meta` leaves the parameters and is
//! returned apart, as rmcp's own service loop does.
#![expect(deprecated, reason = "older revisions still have logging and resources/subscribe")]

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelTaskParams, CancelTaskRequest, ClientRequest,
    CompleteRequest, CompleteRequestParams, DiscoverRequest, DiscoverRequestParams,
    GetPromptRequest, GetPromptRequestParams, GetTaskParams, GetTaskRequest,
    InitializeRequestParams, ListPromptsRequest, ListResourceTemplatesRequest,
    ListResourcesRequest, ListToolsRequest, PaginatedRequestParams, PingRequest,
    ReadResourceRequest, ReadResourceRequestParams, RequestMetaObject, RequestParamsMeta,
    SetLevelRequest, SetLevelRequestParams, SubscribeRequest, SubscribeRequestParams,
    SubscriptionsListenRequestParams, UnsubscribeRequest, UnsubscribeRequestParams,
    UpdateTaskParams, UpdateTaskRequest,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::observer::MethodClass;

/// A request whose parameters have the shape its method wants.
pub(crate) struct Typed {
    /// The request for the fast path; none if only rmcp's way serves the method.
    pub(crate) request: Option<ClientRequest>,
    pub(crate) meta: RequestMetaObject,
    pub(crate) class: MethodClass,
}

/// The keys of `_meta` that the front reads.
pub(crate) mod keys {
    pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub(crate) const PROGRESS: &str = "progressToken";
}

/// Parses the parameters of a request. The error says what is wrong with them.
pub(crate) fn parse(method: &str, raw: Option<&RawValue>) -> Result<Typed, serde_json::Error> {
    use MethodClass as Class;
    match method {
        "tools/call" => typed(raw, Class::ToolsCall, |params: CallToolRequestParams| {
            ClientRequest::CallToolRequest(CallToolRequest::new(params))
        }),
        "tools/list" => page(raw, Class::ToolsList, |params| {
            ClientRequest::ListToolsRequest(match params {
                Some(params) => ListToolsRequest::with_param(params),
                None => ListToolsRequest::default(),
            })
        }),
        "resources/read" => {
            typed(raw, Class::ResourcesRead, |params: ReadResourceRequestParams| {
                ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
            })
        }
        "resources/list" => page(raw, Class::ResourcesList, |params| {
            ClientRequest::ListResourcesRequest(match params {
                Some(params) => ListResourcesRequest::with_param(params),
                None => ListResourcesRequest::default(),
            })
        }),
        "resources/templates/list" => page(raw, Class::ResourcesList, |params| {
            ClientRequest::ListResourceTemplatesRequest(match params {
                Some(params) => ListResourceTemplatesRequest::with_param(params),
                None => ListResourceTemplatesRequest::default(),
            })
        }),
        "prompts/get" => typed(raw, Class::PromptsGet, |params: GetPromptRequestParams| {
            ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
        }),
        "prompts/list" => page(raw, Class::PromptsList, |params| {
            ClientRequest::ListPromptsRequest(match params {
                Some(params) => ListPromptsRequest::with_param(params),
                None => ListPromptsRequest::default(),
            })
        }),
        "completion/complete" => typed(raw, Class::Complete, |params: CompleteRequestParams| {
            ClientRequest::CompleteRequest(CompleteRequest::new(params))
        }),
        _ => parse_rarer(method, raw),
    }
}

fn parse_rarer(method: &str, raw: Option<&RawValue>) -> Result<Typed, serde_json::Error> {
    use MethodClass as Class;
    match method {
        "server/discover" => bare(raw, Class::Discover, || {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        }),
        "ping" => bare(raw, Class::Ping, || ClientRequest::PingRequest(PingRequest::default())),
        "tasks/get" => typed(raw, Class::Tasks, |params: GetTaskParams| {
            ClientRequest::GetTaskRequest(GetTaskRequest::new(params))
        }),
        "tasks/update" => typed(raw, Class::Tasks, |params: UpdateTaskParams| {
            ClientRequest::UpdateTaskRequest(UpdateTaskRequest::new(params))
        }),
        "tasks/cancel" => typed(raw, Class::Tasks, |params: CancelTaskParams| {
            ClientRequest::CancelTaskRequest(CancelTaskRequest::new(params))
        }),
        "logging/setLevel" => typed(raw, Class::SetLevel, |params: SetLevelRequestParams| {
            ClientRequest::SetLevelRequest(SetLevelRequest::new(params))
        }),
        "resources/subscribe" => typed(raw, Class::Subscribe, |params: SubscribeRequestParams| {
            ClientRequest::SubscribeRequest(SubscribeRequest::new(params))
        }),
        "resources/unsubscribe" => {
            typed(raw, Class::Subscribe, |params: UnsubscribeRequestParams| {
                ClientRequest::UnsubscribeRequest(UnsubscribeRequest::new(params))
            })
        }
        "initialize" => checked::<InitializeRequestParams>(raw, Class::Initialize),
        "subscriptions/listen" => {
            checked::<SubscriptionsListenRequestParams>(raw, Class::Subscribe)
        }
        _ => {
            let meta = meta_of(raw)?;
            Ok(Typed { request: None, meta, class: Class::Other })
        }
    }
}

fn typed<P: DeserializeOwned + RequestParamsMeta>(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce(P) -> ClientRequest,
) -> Result<Typed, serde_json::Error> {
    let mut params: P = serde_json::from_str(raw.map_or("{}", RawValue::get))?;
    let meta = params.meta_mut().take().unwrap_or_default();
    Ok(Typed { request: Some(wrap(params)), meta, class })
}

fn page(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce(Option<PaginatedRequestParams>) -> ClientRequest,
) -> Result<Typed, serde_json::Error> {
    let mut params: Option<PaginatedRequestParams> =
        raw.map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let meta = params.as_mut().and_then(|params| params.meta.take()).unwrap_or_default();
    Ok(Typed { request: Some(wrap(params)), meta, class })
}

fn bare(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce() -> ClientRequest,
) -> Result<Typed, serde_json::Error> {
    Ok(Typed { request: Some(wrap()), meta: meta_of(raw)?, class })
}

/// Checks parameters that rmcp will parse again, so that a wrong one is called by its name.
fn checked<P: DeserializeOwned + RequestParamsMeta>(
    raw: Option<&RawValue>,
    class: MethodClass,
) -> Result<Typed, serde_json::Error> {
    let mut params: P = serde_json::from_str(raw.map_or("{}", RawValue::get))?;
    let meta = params.meta_mut().take().unwrap_or_default();
    Ok(Typed { request: None, meta, class })
}

#[derive(Deserialize, Default)]
struct OnlyMeta {
    #[serde(rename = "_meta", default)]
    meta: Option<RequestMetaObject>,
}

fn meta_of(raw: Option<&RawValue>) -> Result<RequestMetaObject, serde_json::Error> {
    let only: OnlyMeta = match raw {
        Some(raw) => serde_json::from_str(raw.get())?,
        None => OnlyMeta::default(),
    };
    Ok(only.meta.unwrap_or_default())
}
