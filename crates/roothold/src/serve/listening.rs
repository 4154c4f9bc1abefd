//! Subscriptions to tasks over stdio: which of the tasks that a `subscriptions/listen` names may be
//! followed is found out before the SDK sees the request, and put into what it acknowledges.
//!
//! **Invariant**: what is kept of a subscription is gone once it was acknowledged or refused.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{
    ClientRequest, ErrorData, GetExtensions as _, GetMeta as _, JsonRpcMessage, RequestId,
    ServerNotification,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use roothold_edge::{AcceptedTasks, CheckedLine, RefusedLine, TaskListeners};

type Message = RxJsonRpcMessage<RoleServer>;

/// The subscriptions to tasks that are in the making.
#[derive(Default)]
pub(super) struct Listening {
    /// Who decides; none where the server has no tasks.
    listeners: Option<Arc<dyn TaskListeners>>,
    asking: Option<Asking>,
    acknowledging: HashMap<RequestId, Arc<AcceptedTasks>>,
}

/// A subscription that it is being asked for.
struct Asking {
    message: Message,
    id: RequestId,
    accepted: BoxFuture<'static, Result<Vec<String>, ErrorData>>,
}

impl Listening {
    pub(super) fn new(listeners: Option<Arc<dyn TaskListeners>>) -> Self {
        Self { listeners, ..Self::default() }
    }

    /// Takes a message that names tasks, for [`Self::asked`]; any other comes back.
    pub(super) fn take(
        &mut self,
        message: Message,
        checked: CheckedLine,
    ) -> Result<Option<Message>, RefusedLine> {
        let (Some(listeners), Some(tasks)) = (&self.listeners, checked.tasks) else {
            return Ok(Some(message));
        };
        let JsonRpcMessage::Request(request) = &message else { return Ok(Some(message)) };
        let id = request.id.clone();
        if !checked.declares_tasks {
            return Err(RefusedLine::undeclared_tasks(id));
        }
        let accepted = listeners.accept(None, tasks);
        self.asking = Some(Asking { message, id, accepted });
        Ok(None)
    }

    /// What became of the message that was taken last, if one was. May be dropped while it waits.
    pub(super) async fn asked(&mut self) -> Option<Result<Message, RefusedLine>> {
        let accepted = (&mut self.asking.as_mut()?.accepted).await;
        let Asking { mut message, id, .. } = self.asking.take()?;
        let accepted = match accepted {
            Ok(accepted) => Arc::new(AcceptedTasks(accepted)),
            Err(error) => return Some(Err(RefusedLine::of_request(id, error))),
        };
        if let JsonRpcMessage::Request(request) = &mut message
            && let ClientRequest::SubscriptionsListenRequest(listen) = &mut request.request
        {
            listen.extensions_mut().insert(Arc::clone(&accepted));
        }
        self.acknowledging.insert(id, accepted);
        Some(Ok(message))
    }

    /// The tasks that a message is to name which is about to be sent.
    pub(super) fn acknowledged(
        &mut self,
        message: &TxJsonRpcMessage<RoleServer>,
    ) -> Option<Arc<AcceptedTasks>> {
        if self.acknowledging.is_empty() {
            return None;
        }
        match message {
            JsonRpcMessage::Notification(note) => {
                let ServerNotification::SubscriptionsAcknowledgedNotification(_) =
                    &note.notification
                else {
                    return None;
                };
                let id = note.notification.get_meta().subscription_id()?;
                self.acknowledging.remove(&id)
            }
            JsonRpcMessage::Response(response) => {
                self.acknowledging.remove(&response.id);
                None
            }
            JsonRpcMessage::Error(error) => {
                if let Some(id) = &error.id {
                    self.acknowledging.remove(id);
                }
                None
            }
            JsonRpcMessage::Request(_) => None,
        }
    }
}
