//! The handler as the front serves it, on both ways: results of revision 2026-07-28 say which
//! server made them, and subscriptions end with their result when the front drains.
//!
//! Everything else passes through. Invariant: both ways serve this one wrapper, so that a request
//! gets the same bytes on either.
#![expect(deprecated, reason = "older revisions still have logging and resources/subscribe")]

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CancelledNotificationParam,
    CompleteRequestParams, CompleteResult, CustomNotification, CustomRequest, CustomResult,
    DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams,
    GetSkillResult, GetTaskParams, GetTaskResult, InitializeRequestParams, InitializeResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult,
    ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult,
    ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SetLevelRequestParams,
    SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use serde_json::Value;

use crate::caller::{Caller, current_caller, with_caller_now};
use crate::request::keys;
use crate::shutdown::Shutdown;

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// A handler whose results are stamped.
pub(crate) struct Stamped<H> {
    inner: Arc<H>,
    server_info: Option<Value>,
    /// The whole `_meta` of a result that has none of its own, as JSON.
    meta_json: Option<Box<[u8]>>,
    shutdown: Shutdown,
    /// Whom it was made for, if for one only.
    caller: Option<Arc<Caller>>,
}

impl<H: ServerHandler> Stamped<H> {
    pub(crate) fn new(inner: H, stamp: bool, shutdown: Shutdown) -> Self {
        let info = inner.get_info().server_info;
        let server_info =
            stamp.then(|| serde_json::json!({"name": info.name, "version": info.version}));
        let meta_json = server_info.as_ref().map(|info| {
            let meta = serde_json::json!({SERVER_INFO: info}).to_string();
            meta.into_bytes().into_boxed_slice()
        });
        Self { inner: Arc::new(inner), server_info, meta_json, shutdown, caller: None }
    }

    /// The same handler for the request that is being handed to rmcp, which runs it in a task of
    /// its own.
    pub(crate) fn for_current_caller(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            server_info: self.server_info.clone(),
            meta_json: self.meta_json.clone(),
            shutdown: self.shutdown.clone(),
            caller: current_caller(),
        }
    }

    /// The `_meta` of a stamped result that has none of its own, as JSON.
    pub(crate) fn stamp_json(&self) -> Option<&[u8]> {
        self.meta_json.as_deref()
    }

    /// Stamps a result of revision 2026-07-28.
    pub(crate) fn stamp_result(&self, meta: &mut Option<MetaObject>) {
        put(meta, self.server_info.clone());
    }

    /// Stamps a short call's answer of revision 2026-07-28.
    pub(crate) fn stamp_response(&self, response: &mut CallToolResponse) {
        put_into(response, self.server_info.clone());
    }

    /// The stamp for an answer to this request, if its revision wants one.
    fn stamp(&self, context: &RequestContext<RoleServer>) -> Option<Value> {
        let modern = context.meta.0.0.contains_key(keys::VERSION);
        self.server_info.as_ref().filter(|_| modern).cloned()
    }
}

fn put(meta: &mut Option<MetaObject>, stamp: Option<Value>) {
    if let Some(stamp) = stamp {
        let meta = &mut meta.get_or_insert_default().0;
        if !meta.contains_key(SERVER_INFO) {
            meta.insert(SERVER_INFO.to_owned(), stamp);
        }
    }
}

fn put_into(response: &mut CallToolResponse, stamp: Option<Value>) {
    match response {
        CallToolResponse::Complete(result) => put(&mut result.meta, stamp),
        CallToolResponse::InputRequired(result) => put(&mut result.meta, stamp),
        CallToolResponse::Task(result) => put(&mut result.meta, stamp),
        _ => {}
    }
}

type Answer<T> = Result<T, ErrorData>;
type Context = RequestContext<RoleServer>;
type Note = NotificationContext<RoleServer>;

/// Methods whose result has `meta`.
macro_rules! stamped {
    ($($method:ident($params:ty) -> $result:ty;)*) => {$(
        async fn $method(&self, request: $params, context: Context) -> Answer<$result> {
            let stamp = self.stamp(&context);
            let mut result = self.inner.$method(request, context).await?;
            put(&mut result.meta, stamp);
            Ok(result)
        }
    )*};
}

/// Methods that pass through.
macro_rules! passed {
    ($($method:ident($params:ty) -> $result:ty;)*) => {$(
        async fn $method(&self, request: $params, context: Context) -> Answer<$result> {
            self.inner.$method(request, context).await
        }
    )*};
}

/// Notifications, which pass through.
macro_rules! noted {
    ($($method:ident($params:ty);)*) => {$(
        async fn $method(&self, note: $params, context: Note) {
            self.inner.$method(note, context).await;
        }
    )*};
}

impl<H: ServerHandler> ServerHandler for Stamped<H> {
    stamped! {
        complete(CompleteRequestParams) -> CompleteResult;
        list_prompts(Option<PaginatedRequestParams>) -> ListPromptsResult;
        list_resources(Option<PaginatedRequestParams>) -> ListResourcesResult;
        list_resource_templates(Option<PaginatedRequestParams>) -> ListResourceTemplatesResult;
        list_tools(Option<PaginatedRequestParams>) -> ListToolsResult;
        get_task(GetTaskParams) -> GetTaskResult;
        list_skills(Option<PaginatedRequestParams>) -> ListSkillsResult;
        get_skill(GetSkillRequestParams) -> GetSkillResult;
        read_resource_directory(ReadResourceDirectoryRequestParams) -> ReadResourceDirectoryResult;
    }

    passed! {
        initialize(InitializeRequestParams) -> InitializeResult;
        set_level(SetLevelRequestParams) -> ();
        subscribe(SubscribeRequestParams) -> ();
        unsubscribe(UnsubscribeRequestParams) -> ();
        on_custom_request(CustomRequest) -> CustomResult;
        update_task(UpdateTaskParams) -> ();
        cancel_task(CancelTaskParams) -> ();
    }

    noted! {
        on_cancelled(CancelledNotificationParam);
        on_progress(ProgressNotificationParam);
        on_custom_notification(CustomNotification);
    }

    async fn ping(&self, context: Context) -> Answer<()> {
        self.inner.ping(context).await
    }

    async fn discover(&self, context: Context) -> Answer<DiscoverResult> {
        let stamp = self.stamp(&context);
        let mut result = self.inner.discover(context).await?;
        put(&mut result.meta, stamp);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> Answer<CallToolResponse> {
        let stamp = self.stamp(&context);
        let mut response = self.inner.call_tool(request, context).await?;
        put_into(&mut response, stamp);
        Ok(response)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: Context,
    ) -> Answer<GetPromptResponse> {
        let stamp = self.stamp(&context);
        let mut response = self.inner.get_prompt(request, context).await?;
        match &mut response {
            GetPromptResponse::Complete(result) => put(&mut result.meta, stamp),
            GetPromptResponse::InputRequired(result) => put(&mut result.meta, stamp),
            _ => {}
        }
        Ok(response)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: Context,
    ) -> Answer<ReadResourceResponse> {
        let stamp = self.stamp(&context);
        let mut response = self.inner.read_resource(request, context).await?;
        match &mut response {
            ReadResourceResponse::Complete(result) => put(&mut result.meta, stamp),
            ReadResourceResponse::InputRequired(result) => put(&mut result.meta, stamp),
            _ => {}
        }
        Ok(response)
    }

    /// Ends with the result that the revision wants for a graceful end, once the front drains.
    async fn listen(&self, context: SubscriptionContext) -> Answer<()> {
        tokio::select! {
            ended = self.inner.listen(context) => ended,
            () = self.shutdown.draining() => Ok(()),
        }
    }

    async fn on_initialized(&self, context: Note) {
        self.inner.on_initialized(context).await;
    }

    async fn on_roots_list_changed(&self, context: Note) {
        self.inner.on_roots_list_changed(context).await;
    }

    fn negotiate_initialize(&self, request: &InitializeRequestParams) -> Answer<InitializeResult> {
        self.inner.negotiate_initialize(request)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.inner.supported_protocol_versions()
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        with_caller_now(self.caller.as_ref(), || self.inner.accepted_subscription_filter(requested))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.inner.get_tool(name)
    }

    fn get_info(&self) -> ServerConfig {
        self.inner.get_info()
    }
}
