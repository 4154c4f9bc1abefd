//! The one mapping from what calls end with to what the protocol carries.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ClientCapabilities, ContentBlock, ErrorCode, MetaObject};
use roothold_core::{Fault, FaultKind};
use serde_json::json;

use crate::call::{CallError, RULE_CAPABILITIES, panicked};
use crate::escape::json_string;
use crate::form::{FirstText, Form};
use crate::tool::Answer;
use crate::verbatim::{Parts, Verbatim};

/// An answer as the result of `tools/call`. Where the transport writes texts as they are, the
/// structured form goes there, and the first text if that is long or there as JSON.
pub(crate) fn tool_result(answer: Answer, verbatim: Option<&Verbatim>) -> CallToolResult {
    let mut result = CallToolResult::success(answer.content);
    result.is_error = None;
    let Some(verbatim) = verbatim else {
        if let Some(form) = answer.structured {
            let first_text = form.first_text().map(FirstText::block);
            result.content.splice(0..0, first_text);
            result.structured_content = Some(form.value());
        }
        return result;
    };
    let (structured, first_text) = answer.structured.map(Form::into_pieces).unwrap_or_default();
    let first_text = match first_text {
        Some(text) => Some(text.json),
        None => take_long_text(&mut result.content),
    };
    verbatim.put(Parts { structured, first_text });
    result
}

/// Takes the first text out of an answer, as JSON, if it is worth it.
fn take_long_text(content: &mut Vec<ContentBlock>) -> Option<String> {
    /// Of a shorter one it does not matter who escapes it.
    const BYTES_MIN: usize = 1024;
    let ContentBlock::Text(text) = content.first()? else { return None };
    if text.text.len() < BYTES_MIN || text.meta.is_some() || text.annotations.is_some() {
        return None;
    }
    let json = json_string(&text.text);
    content.remove(0);
    Some(json)
}

/// A failed call: an error that the agent reads, or one of the protocol. What the client does not
/// declare has an error of its own since revision 2026-07-28, which is `modern`.
pub(crate) fn tool_error(
    error: CallError,
    tool: &str,
    modern: bool,
) -> Result<CallToolResult, ErrorData> {
    match error {
        CallError::UnknownTool => {
            let name: String = tool.chars().take(64).collect();
            Err(ErrorData::invalid_params(
                format!("unknown tool: {name}; tools/list has those that exist"),
                None,
            ))
        }
        CallError::NeedsTasks => {
            let tasks = ClientCapabilities::builder().enable_tasks().build();
            Err(ErrorData::missing_required_client_capability(tasks))
        }
        CallError::Panicked => Err(ErrorData::internal_error(text_of(&panicked()), None)),
        CallError::Fault(fault) if modern && lacks_forms(&fault) => {
            let forms = ClientCapabilities::builder().enable_elicitation().build();
            let mut error = ErrorData::missing_required_client_capability(forms);
            error.message = text_of(&fault).into();
            Err(error)
        }
        CallError::Fault(fault) => {
            let mut result = CallToolResult::error(vec![ContentBlock::text(text_of(&fault))]);
            result.meta = Some(meta_of(&fault));
            Ok(result)
        }
    }
}

fn lacks_forms(fault: &Fault) -> bool {
    fault.rule().is_some_and(|rule| rule.name == RULE_CAPABILITIES)
}

/// What the agent reads: the kind, then what was wrong and what to try.
pub(crate) fn text_of(fault: &Fault) -> String {
    format!("{}: {}", fault.kind().code(), fault.public())
}

/// The same for programs.
fn meta_of(fault: &Fault) -> MetaObject {
    meta_of_kind(fault.kind(), fault.rule().map(|rule| rule.name))
}

/// What programs read of a failure: its kind, and the rule that denied, if one did.
pub(crate) fn meta_of_kind(kind: FaultKind, rule: Option<&str>) -> MetaObject {
    let mut error = json!({"kind": kind.code()});
    if let Some(rule) = rule {
        error["rule"] = json!(rule);
    }
    let mut meta = MetaObject::default();
    meta.insert("io.roothold/error".to_owned(), error);
    meta
}

/// A failed request about a task: whatever is wrong with its id or its answers is one code.
pub(crate) fn task_error(fault: &Fault) -> ErrorData {
    let mut error = request_error(fault);
    if error.code == ErrorCode::RESOURCE_NOT_FOUND {
        error.code = ErrorCode::INVALID_PARAMS;
    }
    error
}

/// A failed request that is no tool call, such as `resources/read`.
pub(crate) fn request_error(fault: &Fault) -> ErrorData {
    let code = request_code(fault.kind());
    ErrorData::new(code, text_of(fault), Some(json!({"kind": fault.kind().code()})))
}

/// The code of the protocol that such a failure has.
pub(crate) fn request_code(kind: FaultKind) -> ErrorCode {
    match kind {
        FaultKind::Invalid | FaultKind::Limit | FaultKind::Unsupported | FaultKind::Conflict => {
            ErrorCode::INVALID_PARAMS
        }
        // What may not be seen and what is not there are one answer.
        FaultKind::Denied | FaultKind::NotFound => ErrorCode::RESOURCE_NOT_FOUND,
        FaultKind::Busy
        | FaultKind::Cancelled
        | FaultKind::Timeout
        | FaultKind::Unavailable
        | FaultKind::Internal => ErrorCode::INTERNAL_ERROR,
    }
}
