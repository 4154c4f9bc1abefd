//! The MCP handler: it hands each method to the module that has the fixtures for it.
//!
//! Invariant: one `Fixture` serves every connection, so listeners and tasks are seen from all.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams,
        CompleteRequestParams, CompleteResult, GetPromptRequestParams, GetPromptResponse,
        GetTaskParams, GetTaskResult, Implementation, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec, RequestStateError,
        ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
        SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{RequestContext, SubscriptionContext, SubscriptionSink},
    task_manager::TaskManager,
};

use roothold::Handler;

use crate::{prompts, resources, tools};

/// How long a list may be kept by a client, in milliseconds.
pub(crate) const CACHE_MS: u64 = 60_000;

/// Signs `requestState`. A fixture has nothing to protect; a real server keeps its key secret.
const STATE_KEY: &[u8] = b"a fixture's key is public: it guards nothing";

/// The fixture server.
pub(crate) struct Fixture {
    pub(crate) listeners: Listeners,
    /// Tasks that ask something while they run.
    pub(crate) tasks: TaskManager,
    /// All other tasks: jobs of the library.
    pub(crate) jobs: Handler,
    pub(crate) states: RequestStateCodec,
}

impl Fixture {
    /// Returns a server with no listeners and no tasks of its own.
    ///
    /// # Errors
    /// Fails if the signing key is too short.
    pub(crate) fn new(jobs: Handler) -> Result<Self, RequestStateError> {
        Ok(Self {
            listeners: Listeners::default(),
            tasks: TaskManager::new(),
            jobs,
            states: RequestStateCodec::try_new(STATE_KEY)?,
        })
    }
}

impl Fixture {
    /// Whether a task is one that asks; every other id is the library's to know.
    fn tasks_are_here(&self, id: &str) -> bool {
        self.tasks.get_task(id).is_ok()
    }
}

/// The open `subscriptions/listen` requests.
#[derive(Default)]
pub(crate) struct Listeners {
    next: AtomicU64,
    open: Mutex<HashMap<u64, SubscriptionSink>>,
}

impl Listeners {
    /// Tells every listener that the tool list changed.
    pub(crate) async fn tools_changed(&self) {
        for sink in self.sinks() {
            // A listener that did not ask for this, or is gone, is simply not told.
            let _ = sink.notify_tool_list_changed().await;
        }
    }

    /// Tells every listener that the prompt list changed.
    pub(crate) async fn prompts_changed(&self) {
        for sink in self.sinks() {
            let _ = sink.notify_prompt_list_changed().await;
        }
    }

    fn sinks(&self) -> Vec<SubscriptionSink> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, SubscriptionSink>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_completions()
            .enable_logging()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "roothold-conformance",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions("Fixtures of the official MCP conformance suite.")
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == "test_custom_header").then(tools::custom_header)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult { tools: tools::list(), ..Default::default() }
            .with_ttl_ms(CACHE_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, request, context).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(resources::list())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri).map(Into::into)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(prompts::list())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        prompts::complete(&request)
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // Every fixture logs at `info` or at the level that the request names.
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let key = self.listeners.next.fetch_add(1, Ordering::Relaxed);
        self.listeners.lock().insert(key, context.sink().clone());
        context.cancelled().await;
        self.listeners.lock().remove(&key);
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        if !self.tasks_are_here(&request.task_id) {
            return self.jobs.get_task(request, context).await;
        }
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !self.tasks_are_here(&request.task_id) {
            return self.jobs.update_task(request, context).await;
        }
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !self.tasks_are_here(&request.task_id) {
            return self.jobs.cancel_task(request, context).await;
        }
        self.tasks.cancel_task(&request.task_id)
    }
}
