//! What the tool says of its arguments, as whoever is at a command line writes them.

use serde_json::Value;

use super::super::table::line;

/// Words of the tool, and those that stand for them here.
const FLAGS: [(&str, &str); 6] = [
    ("say overwrite: true", "say --overwrite"),
    ("`limit` of aggregate is", "--limit of aggregate is"),
    ("`max_matches` of search is", "--max-matches of search is"),
    ("`rows` of sample is", "--rows of sample is"),
    ("`rows` of sql is", "--rows of sql is"),
    (
        "give `parameters`, a list with a value for each of $1, $2, …",
        "give --parameter VALUE once for each of $1, $2, …",
    ),
];

/// A message of the tool with flags in place of arguments.
pub(super) fn in_flags(message: &str) -> String {
    let mut message = message.to_owned();
    for (argument, flag) in FLAGS {
        message = message.replace(argument, flag);
    }
    let Some(at) = message.find("with options {") else { return message };
    let json = at + "with options ".len();
    let mut values = serde_json::Deserializer::from_str(&message[json..]).into_iter::<Value>();
    let Some(Ok(options)) = values.next() else { return message };
    let behind = json + values.byte_offset();
    format!("{}with {}{}", &message[..at], flags(&options), &message[behind..])
}

/// How a file is to be read, as flags that a shell takes.
pub(super) fn flags(options: &Value) -> String {
    let mut pairs = Vec::new();
    for (key, value) in options.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(types) => {
                let of =
                    |(column, kind): (&String, &Value)| format!("types.{column}={}", text(kind));
                pairs.extend(types.iter().map(of));
            }
            None => pairs.push(format!("{key}={}", text(value))),
        }
    }
    let flags = pairs.iter().map(|pair| format!("--option {}", quoted(&line(pair))));
    flags.collect::<Vec<_>>().join(" ")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_.=-".contains(character);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_flags_that_a_shell_takes() {
        let options =
            json!({"short_records": true, "types": {"price": "number", "it's a": "text"}});
        assert_eq!(
            flags(&options),
            r"--option short_records=true --option 'types.it'\''s a=text' --option types.price=number"
        );
        assert_eq!(flags(&json!({"encoding": "windows-1252"})), "--option encoding=windows-1252");
        assert_eq!(
            flags(&json!({"types": {"$(rm)\u{1b}": "text"}})),
            "--option 'types.$(rm)\\u{1b}=text'"
        );
    }

    #[test]
    fn messages_name_flags() {
        for (message, wanted) in [
            (
                "invalid: /d/a.csv line 3 is bad; read it with options {\"types\":{\"a\":\"number\"}}, or so",
                "invalid: /d/a.csv line 3 is bad; read it with --option types.a=number, or so",
            ),
            (
                "limit: `max_matches` of search is 1 to 1000",
                "limit: --max-matches of search is 1 to 1000",
            ),
            ("there; or say overwrite: true", "there; or say --overwrite"),
            ("column `rows` is bad with options {", "column `rows` is bad with options {"),
        ] {
            assert_eq!(in_flags(message), wanted);
        }
    }
}
