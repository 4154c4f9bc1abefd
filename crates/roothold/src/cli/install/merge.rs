//! An entry put into a client's JSON file, with everything else in it kept to the byte.
//!
//! What is not plain JSON is refused: a file with comments would lose them.

use std::fmt;

use anyhow::{Context as _, bail};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON object whose values stay as they are written, in their order.
#[derive(Default)]
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        input.deserialize_map(Members)
    }
}

impl Object {
    fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// The object as text that stands `depth` levels deep.
    fn written(&self, depth: usize) -> serde_json::Result<String> {
        let mut text = String::from("{");
        for (at, (key, value)) in self.0.iter().enumerate() {
            text.push_str(if at == 0 { "\n" } else { ",\n" });
            text.push_str(&INDENT.repeat(depth + 1));
            text.push_str(&serde_json::to_string(key)?);
            text.push_str(": ");
            text.push_str(value.get());
        }
        if !self.0.is_empty() {
            text.push('\n');
            text.push_str(&INDENT.repeat(depth));
        }
        text.push('}');
        Ok(text)
    }

    fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }
}

/// `text` with `entry` as `key.name`.
///
/// # Errors
/// When the text is not plain JSON, or `key` is something else than an object.
pub(super) fn merge(text: &str, key: &str, name: &str, entry: &Value) -> anyhow::Result<String> {
    let mut file: Object = if text.trim().is_empty() {
        Object::default()
    } else {
        serde_json::from_str(text).context(
            "it is not plain JSON, and rewriting it would lose its comments; add the printed entry by hand",
        )?
    };
    let mut servers: Object = match file.get(key) {
        None => Object::default(),
        Some(raw) => serde_json::from_str(raw.get())
            .ok()
            .with_context(|| format!("its `{key}` is no object; mend it first"))?,
    };
    let is_there = servers.get(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    if is_there.as_ref() == Some(entry) {
        return Ok(text.to_owned());
    }
    if is_there.is_some_and(|old| !is_ours(name, &old)) {
        bail!("it has another server named `{name}`; choose a name with --name");
    }
    // A JSON string holds no line feed, so these are all between the lines of the entry.
    let entry =
        serde_json::to_string_pretty(entry)?.replace('\n', &format!("\n{}", INDENT.repeat(2)));
    servers.set(name, RawValue::from_string(entry)?);
    file.set(key, RawValue::from_string(servers.written(1)?)?);
    Ok(format!("{}\n", file.written(0)?))
}

const INDENT: &str = "  ";

/// Whether an entry is one that this command wrote before, and may write again.
fn is_ours(name: &str, entry: &Value) -> bool {
    match entry["command"].as_str() {
        Some(command) => command.rsplit('/').next() == Some("roothold"),
        // A URL does not tell what is behind it.
        None => name.starts_with("roothold"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OTHERS: &str = r#"{
  "theme": "dark",
  "mcpServers": {
    "github": {
      "command": "npx",
      "args": ["-y", "x"]
    },
    "asana": { "url": "https://a/sse", "n": 1.0 }
  },
  "last": [1,2 , 3]
}
"#;

    #[test]
    fn other_members_keep_their_bytes_and_their_order() {
        let entry = json!({"command": "/bin/roothold", "args": ["stdio", "/d"]});
        let expected = OTHERS.replace(
            "\"n\": 1.0 }\n",
            "\"n\": 1.0 },\n    \"roothold\": {\n      \"args\": [\n        \"stdio\",\n        \"/d\"\n      ],\n      \
             \"command\": \"/bin/roothold\"\n    }\n",
        );
        let merged = merge(OTHERS, "mcpServers", "roothold", &entry).unwrap();
        assert_eq!(merged, expected);
        assert_eq!(merge(&merged, "mcpServers", "roothold", &entry).unwrap(), merged);
        let newer = json!({"command": "/opt/roothold", "args": []});
        let merged = merge(&merged, "mcpServers", "roothold", &newer).unwrap();
        assert!(merged.contains("/opt/roothold") && !merged.contains("/bin/roothold"));
    }

    #[test]
    fn a_new_file_is_made() {
        for empty in ["", "\n", "{}"] {
            let merged = merge(empty, "servers", "r", &json!({"url": "u"})).unwrap();
            let expected = json!({"servers": {"r": {"url": "u"}}});
            assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), expected);
        }
    }

    #[test]
    fn what_would_be_destroyed_is_refused() {
        let entry = json!({"url": "u"});
        let cases = [
            ("{ // mine\n}", "not plain JSON"),
            ("[]", "not plain JSON"),
            ("{\"mcpServers\": []}", "is no object"),
            ("{\"mcpServers\": {\"r\": {\"command\": \"npx\"}}}", "another server named `r`"),
            ("{\"mcpServers\": {\"r\": {\"url\": \"https://a/mcp\"}}}", "another server named `r`"),
        ];
        for (text, expected) in cases {
            let error = merge(text, "mcpServers", "r", &entry).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
