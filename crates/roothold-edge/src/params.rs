//! The parameters of a `tools/call`, parsed once, without copying what the front only compares.
//!
//! Invariant: no object of the arguments holds a name twice, at any depth: serde_json would keep
//! the last and another reader the first, so that what was decided on is not what was meant.

use std::borrow::Cow;
use std::fmt;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, JsonObject, RequestMetaObject,
};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::request::keys;
use crate::trace::TraceParent;

/// A `tools/call`.
#[derive(Deserialize)]
pub(crate) struct CallParams<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(default)]
    pub(crate) arguments: Option<Arguments>,
    #[serde(rename = "_meta", default, borrow)]
    meta: Option<MetaObject<'a>>,
    #[serde(rename = "inputResponses", default, deserialize_with = "present")]
    responses: Option<IgnoredAny>,
    #[serde(rename = "requestState", default, deserialize_with = "present")]
    state: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(
        rename = "io.modelcontextprotocol/protocolVersion",
        default,
        borrow,
        deserialize_with = "present"
    )]
    version: Option<&'a RawValue>,
    #[serde(
        rename = "io.modelcontextprotocol/clientCapabilities",
        default,
        borrow,
        deserialize_with = "present"
    )]
    capabilities: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/logLevel", default, deserialize_with = "present")]
    log_level: Option<IgnoredAny>,
    #[serde(rename = "progressToken", default, deserialize_with = "present")]
    progress: Option<IgnoredAny>,
    #[serde(default, borrow, deserialize_with = "present")]
    traceparent: Option<&'a RawValue>,
}

/// A derived type would take a list for an object too.
struct MetaObject<'a>(Meta<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for MetaObject<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(MetaVisitor).map(Self)
    }
}

struct MetaVisitor;

impl<'de> Visitor<'de> for MetaVisitor {
    type Value = Meta<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Meta<'de>, A::Error> {
        Meta::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A field that is there counts as there, also when it is `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

impl<'a> CallParams<'a> {
    /// Parses raw parameters. The error says what is wrong with them.
    pub(crate) fn parse(raw: Option<&'a RawValue>) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw.map_or("{}", RawValue::get))
    }

    /// Whether it goes on with a call that had asked the client something, which only the SDK's
    /// type holds.
    pub(crate) fn resumes(&self) -> bool {
        self.responses.is_some() || self.state.is_some()
    }

    /// As the SDK's request. `raw` are the parameters that this was parsed from; what goes on with
    /// an earlier call is left out.
    pub(crate) fn into_request(
        self,
        raw: Option<&RawValue>,
    ) -> Result<CallToolRequest, serde_json::Error> {
        #[derive(Deserialize)]
        struct WholeMeta {
            #[serde(rename = "_meta")]
            meta: JsonObject,
        }
        let mut params = CallToolRequestParams::new(self.name.into_owned());
        params.arguments = self.arguments.map(|arguments| arguments.0);
        let mut request = CallToolRequest::new(params);
        if let (Some(_), Some(raw)) = (&self.meta, raw) {
            let WholeMeta { meta } = serde_json::from_str(raw.get())?;
            request.extensions.insert(RequestMetaObject::from(meta));
        }
        Ok(request)
    }

    /// What the front reads of its `_meta`.
    pub(crate) fn seen(&self) -> Seen<'a> {
        let Some(MetaObject(meta)) = &self.meta else { return Seen::default() };
        let version = meta.version.map_or(Version::Absent, |raw| match unescaped(raw.get()) {
            Some(version) => Version::Named(version),
            None => Version::Odd,
        });
        let (mut capable, mut declared) = (false, Declared::default());
        if let Some(text) = meta.capabilities.map(RawValue::get) {
            capable = text == "{}";
            if !capable
                && text.starts_with('{')
                && let Ok(capabilities) = serde_json::from_str::<ClientCapabilities>(text)
            {
                (capable, declared) = (true, Declared::of(&capabilities));
            }
        }
        let asks_stream = meta.progress.is_some() || meta.log_level.is_some();
        let parent = meta.traceparent.and_then(|raw| unescaped(raw.get()));
        let parent = parent.and_then(|text| TraceParent::parse(text.as_bytes()));
        Seen { version, capable, declared, asks_stream, parent }
    }
}

/// A JSON string without escapes as it stands, one with escapes as `None`: no revision has one, and no span.
fn unescaped(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

/// What the front reads of a request's `_meta`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) version: Version<'a>,
    /// Whether the client's capabilities are there and well formed.
    pub(crate) capable: bool,
    pub(crate) declared: Declared,
    /// Whether it asks for progress or log messages.
    pub(crate) asks_stream: bool,
    /// The span that the message names.
    pub(crate) parent: Option<TraceParent>,
}

/// What the client declares with a request that decides what it may be answered with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The tasks extension.
    pub(crate) tasks: bool,
    /// That its user can be asked by a form.
    pub(crate) forms: bool,
}

impl Declared {
    fn of(capabilities: &ClientCapabilities) -> Self {
        Self { tasks: capabilities.supports_tasks(), forms: takes_forms(capabilities) }
    }
}

/// Returns whether a client with these capabilities can ask its user by a form: one that names no
/// mode of elicitation knows this one.
pub fn takes_forms(capabilities: &ClientCapabilities) -> bool {
    capabilities
        .elicitation
        .as_ref()
        .is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
}

/// The revision that `_meta` names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Version<'a> {
    #[default]
    Absent,
    /// It is there, and is no version.
    Odd,
    Named(&'a str),
}

impl<'a> Seen<'a> {
    pub(crate) fn of(meta: &'a RequestMetaObject) -> Self {
        let meta = &meta.0.0;
        let version = match meta.get(keys::VERSION) {
            None => Version::Absent,
            Some(Value::String(version)) => Version::Named(version),
            Some(_) => Version::Odd,
        };
        let (capable, declared) = match meta.get(keys::CAPABILITIES) {
            Some(Value::Object(fields)) if fields.is_empty() => (true, Declared::default()),
            Some(value @ Value::Object(_)) => ClientCapabilities::deserialize(value)
                .map_or((false, Declared::default()), |capabilities| {
                    (true, Declared::of(&capabilities))
                }),
            _ => (false, Declared::default()),
        };
        let asks_stream = meta.contains_key(keys::PROGRESS) || meta.contains_key(keys::LOG_LEVEL);
        Self { version, capable, declared, asks_stream, parent: span_of(meta) }
    }
}

/// The span that a message names in its `_meta`, where it is well formed.
pub fn span_of(meta: &JsonObject) -> Option<TraceParent> {
    TraceParent::parse(meta.get(keys::TRACEPARENT)?.as_str()?.as_bytes())
}

/// The arguments of a call.
pub(crate) struct Arguments(pub(crate) JsonObject);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = JsonObject;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` is there twice")));
            }
            object.insert(name, map.next_value::<Unique>()?.0);
        }
        Ok(object)
    }
}

/// Any value whose objects hold each name once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(map).map(Value::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<JsonObject, String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let params = CallParams::parse(Some(raw)).map_err(|error| error.to_string())?;
        Ok(params.arguments.map_or_else(JsonObject::new, |arguments| arguments.0))
    }

    #[test]
    fn arguments_are_what_serde_json_makes_of_them() {
        let text = r#"{"a":[1,-1,1.5,true,null,"x\n",{"b":{"a":18446744073709551615}}],"c":{}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        let params = format!(r#"{{"name":"t","arguments":{text},"more":1}}"#);
        assert_eq!(Value::Object(parse(&params).unwrap()), expected);
        assert_eq!(parse(r#"{"name":"t","arguments":null}"#).unwrap(), JsonObject::new());
    }

    #[test]
    fn a_doubled_name_is_refused_at_every_depth_and_in_every_spelling() {
        for arguments in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"l":[{"b":{"c":1,"c":2}}]}"#]
        {
            let error = parse(&format!(r#"{{"name":"t","arguments":{arguments}}}"#)).unwrap_err();
            assert!(error.contains("is there twice"), "{error}");
        }
        for params in [
            r#"{"name":"t","name":"u"}"#,
            r#"{"name":"t","arguments":{},"arguments":{}}"#,
            r#"{"name":"t","_meta":{"progressToken":1,"progressToken":2}}"#,
            r#"{"name":"t","arguments":[]}"#,
            r#"{"name":"t","_meta":[]}"#,
            r#"{"name":1}"#,
            r#"{"arguments":{}}"#,
        ] {
            assert!(parse(params).is_err(), "{params}");
        }
    }

    #[test]
    fn both_readings_of_the_metadata_agree() {
        for meta in [
            json!({}),
            json!({keys::VERSION: "2026-07-28", keys::CAPABILITIES: {}}),
            json!({keys::VERSION: 1, keys::CAPABILITIES: {"elicitation": 5}}),
            json!({keys::VERSION: null, keys::CAPABILITIES: null}),
            json!({keys::CAPABILITIES: {"sampling": {}}, keys::PROGRESS: null}),
            json!({keys::LOG_LEVEL: "error"}),
            json!({keys::CAPABILITIES: {"extensions": {"io.modelcontextprotocol/tasks": {}}}}),
            json!({keys::CAPABILITIES: {"extensions": {"io.modelcontextprotocol/other": {}}}}),
            json!({keys::CAPABILITIES: {"extensions": 1}}),
            json!({keys::CAPABILITIES: {"elicitation": {}}}),
            json!({keys::CAPABILITIES: {"elicitation": {"url": {}}}}),
            json!({keys::TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}),
            json!({keys::TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7"}),
            json!({keys::TRACEPARENT: "\u{e4}\n".repeat(50)}),
            json!({keys::TRACEPARENT: {"a": [1]}, keys::PROGRESS: 1}),
            json!({keys::TRACEPARENT: null}),
        ] {
            let object: RequestMetaObject = serde_json::from_value(meta.clone()).unwrap();
            let text = json!({"name": "t", "_meta": meta}).to_string();
            let raw: &RawValue = serde_json::from_str(&text).unwrap();
            let params = CallParams::parse(Some(raw)).unwrap();
            assert_eq!(format!("{:?}", params.seen()), format!("{:?}", Seen::of(&object)));
        }
    }

    #[test]
    fn who_says_nothing_of_forms_is_not_asked_by_one() {
        for (capabilities, forms) in [
            (json!({}), false),
            (json!({"sampling": {}}), false),
            (json!({"elicitation": {}}), true),
            (json!({"elicitation": {"form": {}}}), true),
            (json!({"elicitation": {"form": {}, "url": {}}}), true),
            (json!({"elicitation": {"url": {}}}), false),
        ] {
            let meta = json!({keys::CAPABILITIES: capabilities});
            let object: RequestMetaObject = serde_json::from_value(meta).unwrap();
            assert_eq!(Seen::of(&object).declared.forms, forms, "{capabilities}");
        }
    }
}
