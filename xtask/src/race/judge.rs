//! What an answer tells that it must not.

use serde_json::Value;

use super::arena::{EXCLUDED_MARK, EXCLUDED_NAME, OUTSIDE_MARK, OUTSIDE_NAME, VERSIONS};
use super::asks::Ask;

/// What one answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// The tool did it.
    Done,
    /// The tool refused, for a reason that the caller is told.
    Refused,
    /// The server did not expect what it met.
    Unexpected,
    /// It holds something from outside the root.
    Outside,
    /// It holds something of what is excluded.
    Excluded,
    /// It holds a file that never was: neither of the two versions.
    Torn,
}

/// As text, in Base64 (of the first nine bytes), as a name, and as sizes in bytes and in words.
const OUTSIDE: [&str; 6] =
    [OUTSIDE_MARK, "Q0FOQVJZLU9V", OUTSIDE_NAME, "\"size\":77777", "size: 77777", "75.95 KB"];
const EXCLUDED: [&str; 6] =
    [EXCLUDED_MARK, "Q0FOQVJZLUVY", EXCLUDED_NAME, "\"size\":66666", "size: 66666", "65.10 KB"];

pub(super) fn judge(ask: &Ask, line: &str) -> Verdict {
    if OUTSIDE.iter().any(|mark| line.contains(mark)) {
        return Verdict::Outside;
    }
    if EXCLUDED.iter().any(|mark| line.contains(mark)) {
        return Verdict::Excluded;
    }
    let Ok(answer) = serde_json::from_str::<Value>(line) else { return Verdict::Unexpected };
    let result = &answer["result"];
    let kind = |error: &Value| error["kind"].as_str().map(str::to_owned);
    if result.is_object() && result["isError"] != true {
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let whole = VERSIONS.iter().any(|version| text.trim_end() == version.trim_end());
        return if ask.is_versioned && !whole { Verdict::Torn } else { Verdict::Done };
    }
    let kind = kind(&result["_meta"]["io.roothold/error"]).or(kind(&answer["error"]["data"]));
    match kind.as_deref() {
        Some("internal" | "timeout" | "unavailable") => Verdict::Unexpected,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str, is_versioned: bool) -> Verdict {
        let ask =
            Ask { method: "tools/call", params: json!({}), name: "read_text_file", is_versioned };
        let answer = json!({"id": 1, "result": {"content": [{"type": "text", "text": text}]}});
        judge(&ask, &answer.to_string())
    }

    #[test]
    fn what_must_not_come_back_is_found_in_every_form() {
        assert_eq!(of("PUBLIC-ONE first version\n", true), Verdict::Done);
        assert_eq!(of("PUBLIC-ONE second, longer\n", true), Verdict::Torn);
        assert_eq!(of("CANARY-OUT...", false), Verdict::Outside);
        assert_eq!(of("Q0FOQVJZLU9VVC4u", false), Verdict::Outside);
        assert_eq!(of("[FILE] only-excluded.txt", false), Verdict::Excluded);
        assert_eq!(of("Q0FOQVJZLUVYQy4u", false), Verdict::Excluded);
    }

    #[test]
    fn a_refusal_is_no_defect_and_an_internal_error_is() {
        let ask = |line: &str| {
            let ask = Ask { method: "", params: Value::Null, name: "", is_versioned: false };
            judge(&ask, line)
        };
        let error = |kind: &str| json!({"id": 1, "result": {"isError": true, "_meta": {"io.roothold/error": {"kind": kind}}}});
        assert_eq!(ask(&error("denied").to_string()), Verdict::Refused);
        assert_eq!(ask(&error("internal").to_string()), Verdict::Unexpected);
        assert_eq!(ask("{}x"), Verdict::Unexpected);
    }
}
