//! How a question reaches the client's user: as the answer of a call, in revision 2026-07-28, or by
//! `elicitation/create` over the connection of an older client that has a session.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ClientResult, ElicitRequest, ElicitRequestParams, ElicitationSchema, InputRequest,
    InputRequests, InputRequiredResult, ProtocolVersion, ServerRequest,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestContext};
use rmcp::{ErrorData, RoleServer};
use roothold_core::{Fault, FaultKind};
use roothold_edge::takes_forms;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::{CONFIRM, Confirmations, Dialogue, Question, Said};

/// How long a user is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// How a client can be asked.
pub(crate) enum Asking {
    /// Not at all.
    Never,
    /// By an answer that asks: it calls again with what was said.
    BetweenCalls,
    /// While the call waits.
    Within(Peer<RoleServer>),
}

impl Asking {
    /// How the client of a request can be asked.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Self {
        let capabilities = context.client_capabilities();
        if !capabilities.as_ref().is_some_and(takes_forms) {
            return Self::Never;
        }
        if speaks_modern(context) { Self::BetweenCalls } else { Self::Within(context.peer.clone()) }
    }

    /// What the first call knows of it.
    pub(crate) fn dialogue(&self, said: Option<Said>) -> Dialogue {
        Dialogue { can_ask: !matches!(self, Self::Never), said: said.map(Arc::new) }
    }
}

/// Whether a request is of a revision that has answers that ask.
pub(crate) fn speaks_modern(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// The answer that asks.
///
/// # Errors
/// Never in practice: the form is a valid one.
pub(crate) fn input_required(question: Question) -> Result<InputRequiredResult, ErrorData> {
    let form = InputRequest::Elicitation(ElicitRequest::new(form(question.message)?));
    let requests = InputRequests::from([(CONFIRM.to_owned(), form)]);
    Ok(InputRequiredResult::new(Some(requests), Some(question.state)))
}

fn form(message: String) -> Result<ElicitRequestParams, ErrorData> {
    let title = "Do it";
    let schema = ElicitationSchema::builder()
        .required_bool_with(CONFIRM, |field| field.title(title).with_default(false))
        .build();
    let requested_schema = schema.map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

/// Asks over the connection, and waits for the answer. One that does not come in time is none.
///
/// # Errors
/// `Busy`, when too many are waited for; `Cancelled`, when the client has gone; `Unavailable`, when
/// the server stops.
///
/// # Cancellation
/// The client is told that the question is void when the call is cancelled; dropped, it is not.
pub(crate) async fn ask(
    peer: &Peer<RoleServer>,
    question: Question,
    confirmations: &Confirmations,
    principal: Arc<str>,
    cancel: &CancellationToken,
) -> Result<Said, Fault> {
    let _place = confirmations.wait(principal)?;
    let form = form(question.message).map_err(|error| Fault::internal(error.message))?;
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(form));
    let sent = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let mut handle = sent.map_err(gone)?;
    let why = tokio::select! {
        biased;
        answer = &mut handle.rx => {
            let answer = match answer.map_err(gone)? {
                Ok(ClientResult::ElicitResult(result)) => serde_json::to_value(result).ok(),
                // An error of the client's, or an answer to something else, is no yes.
                _ => Some(void()),
            };
            return Ok(Said { state: question.state, answer });
        }
        () = cancel.cancelled() => Fault::new(FaultKind::Cancelled, "the call was cancelled; nothing was done"),
        () = confirmations.end.cancelled() => Fault::new(
            FaultKind::Unavailable,
            "the server is stopping, and nothing was done; try again, another replica will ask",
        ),
        () = tokio::time::sleep(ANSWER_TIMEOUT) => {
            let _ = handle.cancel(Some("nobody answered in time".to_owned())).await;
            return Ok(Said { state: question.state, answer: Some(void()) });
        }
    };
    let _ = handle.cancel(Some("the call has ended".to_owned())).await;
    Err(why)
}

fn void() -> Value {
    json!({"action": "cancel"})
}

fn gone(_: impl Sized) -> Fault {
    Fault::new(FaultKind::Cancelled, "the client could not be asked; nothing was done")
}
