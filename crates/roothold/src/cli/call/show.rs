//! The answer for the person or the script that called: progress on stderr, text on stdout.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{print, say};

/// A bar on stderr, if that is a terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Starts a bar, which is not seen before the first report.
    pub(super) fn start() -> Self {
        Self(
            std::io::stderr()
                .is_terminal()
                .then(|| ProgressBar::no_length().with_style(style(false))),
        )
    }

    /// Whether reports are wanted at all.
    pub(super) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Shows one `notifications/progress`.
    pub(super) fn update(&self, params: &Value) {
        let Some(bar) = &self.0 else { return };
        let total = whole(&params["total"]).filter(|total| bar.length() != Some(*total));
        if let Some(total) = total {
            bar.set_style(style(true));
            bar.set_length(total);
        }
        if let Some(done) = whole(&params["progress"]) {
            bar.set_position(done);
        }
        if let Some(message) = params["message"].as_str() {
            bar.set_message(message.chars().filter(|c| !c.is_control()).collect::<String>());
        }
        bar.enable_steady_tick(Duration::from_millis(100));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total { "{bar:30} {pos}/{len} {msg}" } else { "{spinner} {pos} {msg}" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A JSON number as a whole one; progress may come with a fraction.
fn whole(number: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float saturates, and a bar needs no more"
    )]
    number.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64)
}

/// Prints a result and returns the exit code.
pub(super) fn answer(result: &Value, raw: bool) -> u8 {
    let is_error = result["isError"] == true;
    if raw {
        print(&format!("{result:#}"));
    } else if is_error {
        say(&plain(&text(result)));
    } else if std::io::stdout().is_terminal() {
        print(&plain(&text(result)));
    } else {
        print(&text(result));
    }
    u8::from(is_error)
}

/// Text that cannot move the cursor of a terminal: files may hold anything.
fn plain(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// The blocks of a result for people: text as it is, others named.
pub(super) fn text(result: &Value) -> String {
    let blocks: Vec<String> =
        result["content"].as_array().into_iter().flatten().map(block).collect();
    if blocks.is_empty() && !result["structuredContent"].is_null() {
        return format!("{:#}", result["structuredContent"]);
    }
    blocks.join("\n")
}

fn block(block: &Value) -> String {
    let named = |key: &str| block[key].as_str().unwrap_or_default();
    match named("type") {
        "text" => named("text").to_owned(),
        "resource" => match block["resource"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("[{}]", block["resource"]["uri"].as_str().unwrap_or("resource")),
        },
        "resource_link" => format!("[{}]", named("uri")),
        kind => format!(
            "[{kind} {}, {} characters of base64; --raw prints it]",
            named("mimeType"),
            named("data").len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_printed_as_it_is_and_the_rest_is_named() {
        let result = json!({"content": [
            {"type": "text", "text": "a\nb"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource_link", "uri": "file:///x"},
            {"type": "resource", "resource": {"uri": "file:///y", "text": "inside"}},
        ]});
        assert_eq!(
            text(&result),
            "a\nb\n[image image/png, 4 characters of base64; --raw prints it]\n[file:///x]\ninside"
        );
        assert_eq!(
            text(&json!({"content": [], "structuredContent": {"a": 1}})),
            "{\n  \"a\": 1\n}"
        );
    }

    #[test]
    fn a_terminal_gets_no_escape_sequences() {
        assert_eq!(plain("a\tb\n\u{1b}[2Jc"), "a\tb\n\u{fffd}[2Jc");
    }

    #[test]
    fn progress_with_a_fraction_is_a_whole_number() {
        assert_eq!(whole(&json!(2.7)), Some(2));
        assert_eq!(whole(&json!(-1)), None);
        assert_eq!(whole(&Value::Null), None);
    }
}
