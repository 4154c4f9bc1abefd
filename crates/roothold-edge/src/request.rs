//! From `method` and raw `params` to a typed request: `tools/call` as the front's own type, which
//! is parsed once and strictly, all others as rmcp's.
//!
//! Methods that are not here take rmcp's way. Invariant: `_meta` leaves the parameters and is
//! returned apart, as rmcp's own service loop does.
#![expect(deprecated, reason = "older revisions still have logging and resources/subscribe")]

use rmcp::model::{
    CallToolRequestParams, CancelTaskParams, CancelTaskRequest, ClientRequest, CompleteRequest,
    CompleteRequestParams, DiscoverRequest, DiscoverRequestParams, GetPromptRequest,
    GetPromptRequestParams, GetTaskParams, GetTaskRequest, InitializeRequestParams,
    ListPromptsRequest, ListResourceTemplatesRequest, ListResourcesRequest, ListToolsRequest,
    PaginatedRequestParams, PingRequest, ReadResourceRequest, ReadResourceRequestParams,
    RequestMetaObject, RequestParamsMeta, SetLevelRequest, SetLevelRequestParams, SubscribeRequest,
    SubscribeRequestParams, SubscriptionsListenRequestParams, UnsubscribeRequest,
    UnsubscribeRequestParams, UpdateTaskParams, UpdateTaskRequest,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::observer::MethodClass;
use crate::params::{CallParams, Seen};

/// A request whose parameters have the shape its method wants.
pub(crate) struct Typed<'a> {
    pub(crate) params: Params<'a>,
    pub(crate) class: MethodClass,
}

/// What the parameters became.
pub(crate) enum Params<'a> {
    /// Those of `tools/call`.
    Call(CallParams<'a>),
    /// Those of another method that the fast path serves.
    Sdk(Box<(ClientRequest, RequestMetaObject)>),
    /// Those of `subscriptions/listen`.
    Listen(Box<Listen>),
    /// Those of a method that only rmcp's way serves.
    Rmcp(RequestMetaObject),
}

/// The parameters of a `subscriptions/listen`, as far as the front reads them.
pub(crate) struct Listen {
    meta: RequestMetaObject,
    /// The tasks that it names, of which rmcp's type knows nothing; none for none at all.
    pub(crate) tasks: Option<Vec<String>>,
}

impl Typed<'_> {
    /// What the front reads of the request's `_meta`.
    pub(crate) fn seen(&self) -> Seen<'_> {
        match &self.params {
            Params::Call(call) => call.seen(),
            Params::Sdk(sdk) => Seen::of(&sdk.1),
            Params::Listen(listen) => Seen::of(&listen.meta),
            Params::Rmcp(meta) => Seen::of(meta),
        }
    }

    /// What the request is about, as `Mcp-Name` says it, for the methods that have that.
    pub(crate) fn name(&self) -> Option<&str> {
        let request = match &self.params {
            Params::Call(call) => return Some(&call.name),
            Params::Sdk(sdk) => &sdk.0,
            Params::Listen(_) | Params::Rmcp(_) => return None,
        };
        Some(match request {
            ClientRequest::GetPromptRequest(request) => &request.params.name,
            ClientRequest::ReadResourceRequest(request) => &request.params.uri,
            ClientRequest::SubscribeRequest(request) => &request.params.uri,
            ClientRequest::UnsubscribeRequest(request) => &request.params.uri,
            ClientRequest::GetTaskRequest(request) => &request.params.task_id,
            ClientRequest::UpdateTaskRequest(request) => &request.params.task_id,
            ClientRequest::CancelTaskRequest(request) => &request.params.task_id,
            _ => return None,
        })
    }
}

/// The keys of `_meta` that the front reads.
pub(crate) mod keys {
    pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub(crate) const PROGRESS: &str = "progressToken";
    pub(crate) const TRACEPARENT: &str = "traceparent";
}

/// Parses the parameters of a request. The error says what is wrong with them.
pub(crate) fn parse<'a>(
    method: &str,
    raw: Option<&'a RawValue>,
) -> Result<Typed<'a>, serde_json::Error> {
    use MethodClass as Class;
    match method {
        "tools/call" => {
            let call = CallParams::parse(raw)?;
            if call.resumes() {
                // What of it only the SDK's type holds must have its shape too.
                sdk_call(raw)?;
            }
            Ok(Typed { params: Params::Call(call), class: Class::ToolsCall })
        }
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

/// The parameters of a `tools/call` as the SDK's types, with their `_meta` apart.
pub(crate) fn sdk_call(
    raw: Option<&RawValue>,
) -> Result<(CallToolRequestParams, RequestMetaObject), serde_json::Error> {
    let mut params: CallToolRequestParams = serde_json::from_str(raw.map_or("{}", RawValue::get))?;
    let meta = params.meta.take().unwrap_or_default();
    Ok((params, meta))
}

fn parse_rarer<'a>(method: &str, raw: Option<&RawValue>) -> Result<Typed<'a>, serde_json::Error> {
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
        "subscriptions/listen" => listen(raw),
        _ => {
            let meta = meta_of(raw)?;
            Ok(Typed { params: Params::Rmcp(meta), class: Class::Other })
        }
    }
}

fn typed<P: DeserializeOwned + RequestParamsMeta>(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce(P) -> ClientRequest,
) -> Result<Typed<'static>, serde_json::Error> {
    let mut params: P = serde_json::from_str(raw.map_or("{}", RawValue::get))?;
    let meta = params.meta_mut().take().unwrap_or_default();
    Ok(Typed { params: Params::Sdk(Box::new((wrap(params), meta))), class })
}

fn page(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce(Option<PaginatedRequestParams>) -> ClientRequest,
) -> Result<Typed<'static>, serde_json::Error> {
    let mut params: Option<PaginatedRequestParams> =
        raw.map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let meta = params.as_mut().and_then(|params| params.meta.take()).unwrap_or_default();
    Ok(Typed { params: Params::Sdk(Box::new((wrap(params), meta))), class })
}

fn bare(
    raw: Option<&RawValue>,
    class: MethodClass,
    wrap: impl FnOnce() -> ClientRequest,
) -> Result<Typed<'static>, serde_json::Error> {
    Ok(Typed { params: Params::Sdk(Box::new((wrap(), meta_of(raw)?))), class })
}

/// Checks parameters that rmcp will parse again, so that a wrong one is called by its name.
fn checked<P: DeserializeOwned + RequestParamsMeta>(
    raw: Option<&RawValue>,
    class: MethodClass,
) -> Result<Typed<'static>, serde_json::Error> {
    let mut params: P = serde_json::from_str(raw.map_or("{}", RawValue::get))?;
    let meta = params.meta_mut().take().unwrap_or_default();
    Ok(Typed { params: Params::Rmcp(meta), class })
}

fn listen(raw: Option<&RawValue>) -> Result<Typed<'static>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Params {
        notifications: Filter,
    }
    #[derive(Deserialize)]
    struct Filter {
        #[serde(rename = "taskIds", default)]
        tasks: Option<Vec<String>>,
    }
    let text = raw.map_or("{}", RawValue::get);
    let mut params: SubscriptionsListenRequestParams = serde_json::from_str(text)?;
    let meta = params.meta_mut().take().unwrap_or_default();
    let tasks = serde_json::from_str::<Params>(text)?.notifications.tasks;
    let tasks = tasks.filter(|tasks| !tasks.is_empty());
    let listen = Box::new(Listen { meta, tasks });
    Ok(Typed { params: self::Params::Listen(listen), class: MethodClass::Subscribe })
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
