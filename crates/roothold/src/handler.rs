//! The server as the SDK sees it: requests in, results out, and every one that touches anything
//! through [`crate::call`].

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, CreateTaskResult, Extensions, GetTaskParams, GetTaskResult, Implementation,
    InitializeRequestParams, InitializeResult, JsonObject, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
    SubscribeRequestParams, SubscriptionFilter, TASKS_EXTENSION_ID, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use roothold_core::{Fault, Principal};
use roothold_edge::{ToolCall, ToolCalls, TraceParent};
use tokio_util::sync::CancellationToken;

use crate::asking::{self, Asking};
use crate::call::{CallError, CallRequest, Dialogue, Engine, ProgressSink, Question, Said};
use crate::rights::Rights;
use crate::telemetry::{CallKind, ListAsked, TraceFrom};
use crate::tool::{Answer, DatabaseUse};
use crate::verbatim::Verbatim;
use crate::{jobs, resources, watch, wire};

/// How long a client may keep a list of tools or templates: they change with the configuration.
const LIST_TTL_MS: u64 = 60_000;

/// The handler of a server; clones share it.
#[derive(Clone)]
pub struct Handler {
    pub(crate) engine: Arc<Engine>,
}

/// Who calls, how the request is called in logs, and which trace it belongs to.
pub(crate) struct Origin {
    who: Who,
    trace: TraceFrom,
}

enum Who {
    /// What the edge knows of the request.
    Edge(Arc<roothold_edge::Caller>),
    /// The local user, over stdio.
    Local { principal: Principal, request_id: Arc<str> },
}

impl Origin {
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Self {
        let message = roothold_edge::span_of(&context.meta.0.0);
        match roothold_edge::caller(&context.extensions) {
            Some(caller) => Self::edge(caller, message),
            None => Self::local(&context.id.to_string(), message),
        }
    }

    /// The same of a message that has no id.
    pub(crate) fn of_extensions(extensions: &Extensions) -> Self {
        roothold_edge::caller(extensions)
            .map_or_else(|| Self::local("", None), |caller| Self::edge(caller, None))
    }

    /// Over HTTP; `message` is the span that the message itself names.
    pub(crate) fn edge(caller: Arc<roothold_edge::Caller>, message: Option<TraceParent>) -> Self {
        let trace = TraceFrom { message, request: caller.span(), kind: CallKind::Http };
        Self { who: Who::Edge(caller), trace }
    }

    /// Over stdio.
    pub(crate) fn local(request_id: &str, message: Option<TraceParent>) -> Self {
        let who = Who::Local { principal: Principal::local(), request_id: request_id.into() };
        Self { who, trace: TraceFrom { message, request: None, kind: CallKind::Stdio } }
    }

    /// The same for what goes on after its request was answered, or for as long as that is: it could
    /// have spans without end, so each has a trace of its own.
    pub(crate) fn apart(self) -> Self {
        Self { trace: TraceFrom::default(), ..self }
    }

    pub(crate) fn trace(&self) -> TraceFrom {
        self.trace
    }

    pub(crate) fn principal(&self) -> &Principal {
        match &self.who {
            Who::Edge(caller) => caller.principal(),
            Who::Local { principal, .. } => principal,
        }
    }

    pub(crate) fn request_id(&self) -> Arc<str> {
        match &self.who {
            Who::Edge(caller) => caller.shared_request_id(),
            Who::Local { request_id, .. } => Arc::clone(request_id),
        }
    }

    /// Lets the edge answer a call for which the credential lacks scopes with 403 and a challenge.
    pub(crate) fn report_scopes(&self, fault: &roothold_core::Fault) {
        if let (Who::Edge(caller), Some(scopes)) = (&self.who, fault.missing_scopes()) {
            caller.require_scopes(&scopes.split(' ').collect::<Vec<_>>());
        }
    }
}

/// What a `tools/call` asks for.
struct Asked<'a> {
    tool: &'a str,
    arguments: JsonObject,
    takes_tasks: bool,
    asking: Asking,
    /// Whether its revision has an error for what a client does not declare.
    modern: bool,
    /// What was said to the question of a call before.
    said: Option<Said>,
}

impl Handler {
    /// Answers a `tools/call`, whichever way it came.
    async fn answer(
        &self,
        origin: &Origin,
        asked: Asked<'_>,
        cancel: &CancellationToken,
        progress: Option<ProgressSink>,
        verbatim: Option<&Verbatim>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Asked { tool, arguments, takes_tasks, asking, modern, said } = asked;
        // Where the question is put while the call waits, it is made once more with what was said.
        let engine = &self.engine;
        let may_ask = matches!(asking, Asking::Within(_))
            && engine.changes_databases(&engine.rights.now(), origin.principal(), tool);
        let again = may_ask.then(|| arguments.clone());
        let call = CallRequest {
            principal: origin.principal(),
            request_id: origin.request_id(),
            method: "tools/call",
            tool,
            arguments,
            cancel,
            progress: progress.clone(),
            takes_tasks,
            dialogue: asking.dialogue(said),
            within: None,
            job: None,
            trace: origin.trace(),
        };
        let mut answered = self.engine.call(call).await;
        if let (Ok(answer), Asking::Within(peer), Some(arguments)) = (&mut answered, &asking, again)
            && let Some(question) = answer.question.take()
        {
            let asked = Asked {
                tool,
                arguments,
                takes_tasks,
                asking: Asking::Within(peer.clone()),
                modern,
                said: None,
            };
            answered =
                Box::pin(self.answer_within(origin, asked, *question, cancel, progress)).await;
        }
        match answered {
            Ok(Answer { question: Some(question), .. }) => {
                asking::input_required(*question).map(CallToolResponse::from)
            }
            Ok(answer) if takes_tasks && answer.job.is_some() => Ok(self.task_of(&answer)),
            Ok(answer) => Ok(wire::tool_result(answer, verbatim).into()),
            Err(error) => {
                if let CallError::Fault(fault) = &error {
                    origin.report_scopes(fault);
                }
                wire::tool_error(error, tool, modern).map(CallToolResponse::from)
            }
        }
    }

    /// Asks the user over the connection, and makes the call once more with what was said.
    async fn answer_within(
        &self,
        origin: &Origin,
        asked: Asked<'_>,
        question: Question,
        cancel: &CancellationToken,
        progress: Option<ProgressSink>,
    ) -> Result<Answer, CallError> {
        let Asking::Within(peer) = &asked.asking else {
            return Err(Fault::internal("a question to a client that cannot be asked").into());
        };
        let who = origin.principal().shared_name();
        let confirmations = &self.engine.confirmations;
        let said = asking::ask(peer, question, confirmations, who, cancel).await?;
        let call = CallRequest {
            principal: origin.principal(),
            request_id: origin.request_id(),
            method: "tools/call",
            tool: asked.tool,
            arguments: asked.arguments,
            cancel,
            progress,
            takes_tasks: asked.takes_tasks,
            // One question is enough: an answer that cannot be read is no yes.
            dialogue: Dialogue { can_ask: false, said: Some(Arc::new(said)) },
            within: None,
            job: None,
            trace: origin.trace(),
        };
        self.engine.call(call).await
    }
}

impl Handler {
    /// The task that a call became.
    fn task_of(&self, answer: &Answer) -> CallToolResponse {
        let retention = self.engine.jobs.as_ref().map(|jobs| jobs.settings().retention());
        let task = answer.job.as_ref().map(|job| jobs::task(job, retention.unwrap_or_default()));
        CreateTaskResult::new(task.unwrap_or_default()).into()
    }
}

impl ToolCalls for Handler {
    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<CallToolResponse, ErrorData>> {
        let handler = self.clone();
        Box::pin(async move {
            let origin = Origin::edge(call.caller, call.parent);
            let asked = Asked {
                tool: &call.name,
                arguments: call.arguments,
                takes_tasks: call.tasks,
                asking: if call.forms { Asking::BetweenCalls } else { Asking::Never },
                modern: call.modern,
                said: None,
            };
            handler.answer(&origin, asked, &call.cancel, None, None).await
        })
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_completions()
            .build();
        if let Some(tools) = &mut capabilities.tools
            && self.engine.hub.tool_list.is_told
        {
            tools.list_changed = Some(true);
        }
        if self.engine.jobs.is_some() {
            let extensions = capabilities.extensions.get_or_insert_default();
            extensions.insert(TASKS_EXTENSION_ID.to_owned(), JsonObject::new());
        }
        let mut info = ServerConfig::new(capabilities).with_instructions(INSTRUCTIONS);
        info.server_info =
            Implementation::new("roothold", env!("CARGO_PKG_VERSION")).with_title("Roothold");
        info
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        std::borrow::Cow::Borrowed(&VERSIONS)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let origin = Origin::of(&context);
        let progress = context
            .meta
            .get_progress_token()
            .map(|token| ProgressSink::new(context.peer.clone(), token));
        // With the request itself: what an earlier one declared does not count.
        let declared = context.meta.client_capabilities();
        let takes_tasks = declared.is_some_and(|declared| declared.supports_tasks());
        let modern = asking::speaks_modern(&context);
        // Older revisions have no answer that asks, so nothing can have been said to one.
        let said = request.request_state.filter(|_| modern);
        let asked = Asked {
            tool: &request.name,
            arguments: request.arguments.unwrap_or_default(),
            takes_tasks,
            asking: Asking::of(&context),
            modern,
            said: said.map(|state| Said::new(state, request.input_responses)),
        };
        let verbatim = context.extensions.get::<Verbatim>();
        self.answer(&origin, asked, &context.ct, progress, verbatim).await
    }

    // Behind pointers: what the SDK keeps for a request is as large as the largest of its futures, and
    // each connection has room for one.
    fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<GetTaskResult, ErrorData>> + Send + '_ {
        Box::pin(jobs::get_task(self, request, context))
    }

    fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        Box::pin(jobs::update_task(self, request, context))
    }

    fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        Box::pin(jobs::cancel_task(self, request, context))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let origin = Origin::of(&context);
        let asked = ListAsked::new(&self.engine, "tools/list", origin.trace());
        let tools = self.engine.listed_tools(origin.principal());
        asked.emit();
        Ok(ListToolsResult::with_all_items(tools)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let built_in = self.engine.catalog.get(name).map(|entry| entry.model.clone());
        built_in.or_else(|| self.engine.rights.now().sql_tools.model(name))
    }

    fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListResourcesResult, ErrorData>> + Send + '_ {
        resources::list(self, request, context)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates().with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ReadResourceResponse, ErrorData>> + Send + '_ {
        resources::read(self, request, context)
    }

    fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<CompleteResult, ErrorData>> + Send + '_ {
        resources::complete(self, request, context)
    }

    /// Without sessions there is nobody to tell of changes in the way of the older revisions.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.negotiate_initialize(&request)?;
        context.peer.set_peer_info(request);
        let is_http = roothold_edge::caller(&context.extensions).is_some();
        if is_http
            && !self.engine.hub.has_sessions
            && let Some(resources) = &mut result.capabilities.resources
        {
            resources.subscribe = None;
        }
        Ok(result)
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(watch::accepted(self, requested))
    }

    fn listen(
        &self,
        context: SubscriptionContext,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        Box::pin(watch::listen(self, context))
    }

    fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        watch::subscribe(self, request.uri, context)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        watch::unsubscribe(self, request.uri, &context)
    }

    fn on_initialized(
        &self,
        context: NotificationContext<RoleServer>,
    ) -> impl Future<Output = ()> + Send + '_ {
        Box::pin(watch::tell_session(self, context))
    }
}

impl Engine {
    /// The tools that a principal may call and has a use for.
    pub(crate) fn listed_tools(&self, principal: &Principal) -> Vec<Tool> {
        let rights = self.rights.now();
        let Rights { policy, sql_tools } = &*rights;
        let granted =
            |entry: &&crate::catalog::Entry| policy.grants_tool(principal, entry.tool.name());
        let public = |entry: &&crate::catalog::Entry| !resources::is_internal(entry.tool.name());
        let writes = policy.may_write_somewhere(principal);
        let has_database = |wanted: DatabaseUse| {
            policy.may_use_some_database(principal, wanted == DatabaseUse::Writes)
        };
        let useful = |entry: &&crate::catalog::Entry| {
            (writes || !entry.tool.writes_files())
                && entry.tool.databases().is_none_or(has_database)
        };
        self.catalog
            .iter()
            .filter(public)
            .filter(useful)
            .filter(granted)
            .map(|entry| match &entry.reading {
                Some(reading) if !writes => reading.clone(),
                _ => entry.model.clone(),
            })
            .chain(sql_tools.listed(principal, policy))
            .collect()
    }
}

const VERSIONS: [ProtocolVersion; 4] = [
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2026_07_28,
];

const INSTRUCTIONS: &str = "Files inside configured roots, under one access policy. Call listRoots first: it shows the \
roots and what may be read and written. Paths are absolute paths inside a root, or file:// URIs. Long answers come in \
pages: repeat the call with cursor = next_cursor. An error says what was wrong and what to do next.";
