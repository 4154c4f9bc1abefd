//! A small handler, and a front around it on a free port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateTaskResult,
    DetailedTask, ListToolsResult, NotificationMetaObject, PaginatedRequestParams,
    ProgressNotificationParam, ServerCapabilities, ServerConfig, ServerNotification,
    SubscriptionFilter, Task, TaskPayload, TaskStatus, TaskStatusNotification,
    TaskStatusNotificationParams, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer};
use roothold_edge::auth::{Authenticator, KeyRing, KeysFile, ProtectedResource, RateLimit};
use roothold_edge::{
    Caller, Drained, Edge, EdgeConfig, Observer, RequestFinished, Shutdown, TaskListeners,
    ToolCall, ToolCalls,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Conn, Request};

/// What the handlers of one server have seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) started: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
    /// Calls that came on their short way.
    pub(crate) short: AtomicUsize,
    pub(crate) requests: Mutex<Vec<RequestFinished>>,
    /// Bytes of answers that nobody has read yet.
    pub(crate) held: AtomicU64,
    pub(crate) no_room: AtomicUsize,
}

impl Observer for Seen {
    fn request_finished(&self, request: &RequestFinished) {
        self.requests.lock().unwrap().push(*request);
    }

    fn answer_held(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    fn answer_released(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn answer_refused(&self) {
        self.no_room.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub(crate) struct Tools(Arc<Seen>);

impl Tools {
    fn tool(name: &'static str) -> Tool {
        let mut schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        if name == "deploy" {
            let region = json!({"type": "string", "x-mcp-header": "Region"});
            schema["properties"] = json!({"region": region});
        }
        Tool::new(name, "a tool of the fixture", schema.as_object().unwrap().clone())
    }
}

const NAMES: [&str; 11] = [
    "task",
    "marked",
    "empty",
    "read_file",
    "write_file",
    "slow",
    "echo",
    "progress",
    "big",
    "deploy",
    "panics",
];

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
    }

    /// Tells of each accepted task once, and ends.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let request = context.request_context();
        let Some(accepted) = roothold_edge::accepted_tasks(&request.extensions) else {
            context.cancelled().await;
            return Ok(());
        };
        for id in &accepted.0 {
            let task = DetailedTask::new(task(id), TaskPayload::Working);
            let mut meta = NotificationMetaObject::new();
            meta.set_subscription_id(request.id.clone());
            let params = TaskStatusNotificationParams::new(task).with_meta(meta);
            let note = TaskStatusNotification::new(params);
            let note = ServerNotification::TaskStatusNotification(note);
            request.peer.send_notification(note).await.unwrap();
        }
        Ok(())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        NAMES.iter().find(|known| **known == name).map(|name| Self::tool(name))
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(NAMES.iter().map(|name| Self::tool(name)).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let caller = roothold_edge::caller(&context.extensions).expect("a caller on both ways");
        assert!(context.extensions.get::<http::request::Parts>().is_some());
        if request.name == "progress" {
            let text = ContentBlock::text(progress(&context).await);
            return Ok(CallToolResponse::Complete(CallToolResult::success(vec![text])));
        }
        self.response(&request.name, &arguments, &caller, &context.ct).await
    }
}

impl ToolCalls for Tools {
    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<CallToolResponse, ErrorData>> {
        let tools = self.clone();
        Box::pin(async move {
            tools.0.short.fetch_add(1, Ordering::SeqCst);
            let arguments = Value::Object(call.arguments);
            tools.response(&call.name, &arguments, &call.caller, &call.cancel).await
        })
    }
}

/// Lets everybody follow `of-NAME` and what begins so, and `anyones`; refuses to when asked for `broken`.
impl TaskListeners for Tools {
    fn accept(
        &self,
        caller: Option<Arc<Caller>>,
        tasks: Vec<String>,
    ) -> BoxFuture<'static, Result<Vec<String>, ErrorData>> {
        Box::pin(async move {
            if tasks.iter().any(|task| task == "broken") {
                return Err(ErrorData::internal_error("it is broken", None));
            }
            let own = caller.map(|caller| format!("of-{}", caller.principal().name()));
            let own = own.as_deref().unwrap_or("of-nobody");
            Ok(tasks
                .into_iter()
                .filter(|task| task == "anyones" || task.starts_with(own))
                .collect())
        })
    }
}

fn task(id: &str) -> Task {
    let time = "2026-11-26T04:00:00Z";
    Task::new(id, TaskStatus::Working, time, time)
}

impl Tools {
    async fn response(
        &self,
        tool: &str,
        arguments: &Value,
        caller: &Caller,
        cancel: &CancellationToken,
    ) -> Result<CallToolResponse, ErrorData> {
        if tool == "task" {
            return Ok(CreateTaskResult::new(task("job-1")).into());
        }
        self.answer(tool, arguments, caller, cancel).await.map(CallToolResponse::Complete)
    }

    async fn answer(
        &self,
        tool: &str,
        arguments: &Value,
        caller: &Caller,
        cancel: &CancellationToken,
    ) -> Result<CallToolResult, ErrorData> {
        let text = match tool {
            "read_file" => "hello".to_owned(),
            "deploy" => format!("deployed to {}", arguments["region"]),
            "echo" => format!("{} says {}", caller.principal().name(), arguments["text"]),
            "big" => "x".repeat(arguments["bytes"].as_u64().unwrap().try_into().unwrap()),
            "panics" => panic!("as asked"),
            "write_file" if !caller.principal().scopes().contains("files:write") => {
                caller.require_scopes(&["files:read", "files:write"]);
                return Ok(CallToolResult::error(vec![ContentBlock::text("denied")]));
            }
            "write_file" => "written".to_owned(),
            "marked" => {
                let mut result = CallToolResult::structured(json!({"a": "}}"}));
                result.meta.get_or_insert_default().insert("mark".to_owned(), json!({}));
                return Ok(result);
            }
            "empty" => return Ok(CallToolResult::success(Vec::new())),
            "slow" => self.slow(arguments, cancel).await,
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }

    async fn slow(&self, arguments: &Value, cancel: &CancellationToken) -> String {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        let time = Duration::from_millis(arguments["ms"].as_u64().unwrap());
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = cancel.cancelled() => {
                self.0.cancelled.fetch_add(1, Ordering::SeqCst);
                // what a real handler does to reach a safe state
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        "slept".to_owned()
    }
}

async fn progress(context: &RequestContext<RoleServer>) -> String {
    let Some(token) = context.meta.get_progress_token() else { return "no token".to_owned() };
    for done in [1.0, 2.0] {
        let step = ProgressNotificationParam::new(token.clone(), done);
        context.peer.notify_progress(step).await.unwrap();
    }
    "done".to_owned()
}

/// A running front.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) seen: Arc<Seen>,
    /// Credentials of `anna` (every scope of the fixture) and `ben` (reads only).
    pub(crate) anna: String,
    pub(crate) ben: String,
    running: tokio::task::JoinHandle<Drained>,
    _keys: tempfile::TempDir,
}

/// How a server differs from the default.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: EdgeConfig,
    pub(crate) keys: bool,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) ready: Option<Arc<AtomicBool>>,
    /// Whether calls have a short way.
    pub(crate) short: bool,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// With a short way for calls.
    pub(crate) async fn short() -> Self {
        Self::with(Setup { short: true, ..Setup::default() }).await
    }

    pub(crate) async fn configured(config: EdgeConfig) -> Self {
        Self::with(Setup { config, ..Setup::default() }).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let file = KeysFile::open(&path).unwrap();
        let key = |name: &str, scopes: &[&str]| {
            let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
            file.new_key(name, &scopes, None).unwrap().1.reveal().to_owned()
        };
        let anna = key("anna", &["files:read", "files:write"]);
        let ben = key("ben", &["files:read"]);
        let auth = if setup.keys {
            let resource = ProtectedResource {
                url: "https://mcp.example.com/mcp".to_owned(),
                authorization_servers: vec!["https://login.example.com".to_owned()],
                scopes_supported: vec!["files:read".to_owned()],
                initial_scopes: vec!["files:read".to_owned()],
                name: "fixture".to_owned(),
            };
            let ring = KeyRing::load(&path).unwrap();
            Authenticator::builder().keys(ring).resource(resource).build().unwrap()
        } else {
            Authenticator::none()
        };
        let seen = Arc::new(Seen::default());
        let mut builder = Edge::builder(Tools(Arc::clone(&seen)))
            .config(setup.config)
            .auth(auth)
            .observer(Arc::clone(&seen) as Arc<dyn Observer>)
            .task_listeners(Tools(Arc::clone(&seen)));
        if let Some(rate) = setup.rate {
            builder = builder.rate_limit(rate);
        }
        if let Some(ready) = setup.ready {
            builder = builder.ready_when(move || ready.load(Ordering::SeqCst));
        }
        if setup.short {
            builder = builder.calls(Tools(Arc::clone(&seen)));
        }
        let edge = builder.build().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let serving = edge.serve(listener, shutdown.clone(), async {});
        let running = tokio::spawn(async { serving.await.unwrap() });
        Self { address, shutdown, seen, anna, ben, running, _keys: dir }
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        Conn::open(self.address).await.send(request).await
    }

    /// Waits until the handlers have come so far.
    pub(crate) async fn until(&self, reached: impl Fn(&Seen) -> bool) {
        for _ in 0..1_000 {
            if reached(&self.seen) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the handlers did not come so far");
    }

    pub(crate) async fn stop(self) -> Drained {
        self.shutdown.begin();
        self.running.await.unwrap()
    }
}
