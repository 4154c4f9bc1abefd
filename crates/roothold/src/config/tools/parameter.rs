//! A parameter of a tool that is made of SQL: what of it agents are told, and which values it takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{NAME_LEN_MAX, check_text};

/// The most values that a parameter can be kept to.
const ENUM_MAX: usize = 200;
/// The longest text, unless `max_length` says otherwise, in characters.
const LENGTH_DEFAULT: usize = 10_000;
/// The longest text that can be allowed, in characters.
const LENGTH_MAX: usize = 100_000;
/// The most items of a list, unless `max_items` says otherwise.
const ITEMS_DEFAULT: usize = 100;
/// The most items of a list that can be allowed.
const ITEMS_MAX: usize = 10_000;
/// Beyond it a reader of JSON may round whole numbers (IEEE 754).
const EXACT_MAX: i64 = 1 << 53;

/// A parameter of a tool that is made of SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolParameter {
    /// The name, `:name` in the statement: letters, digits and `_`, no digit first.
    pub name: String,
    /// What its values are. 64-bit whole numbers beyond 2^53 are also taken as text.
    pub r#type: ParameterType,
    /// What it means, for agents.
    pub description: String,
    /// Whether its value is a list of these. PostgreSQL: `= ANY(:name)`; SQLite: `IN (SELECT value FROM json_each(:name))`.
    #[serde(default)]
    pub list: bool,
    /// Whether it must be given. Default: it must, unless it has a `default`. One that is not given is NULL.
    #[serde(default)]
    pub required: Option<bool>,
    /// What it is when it is not given.
    #[serde(default)]
    #[schemars(with = "Value", extend("type" = "any"))]
    pub default: Option<Value>,
    /// The values that it can have.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Value>>")]
    pub r#enum: Option<Vec<Value>>,
    /// The least number.
    #[serde(default)]
    pub minimum: Option<f64>,
    /// The greatest number.
    #[serde(default)]
    pub maximum: Option<f64>,
    /// The fewest characters of a text.
    #[serde(default)]
    pub min_length: Option<usize>,
    /// The most characters of a text. Default: 10000.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// The most items of a list. Default: 100.
    #[serde(default)]
    pub max_items: Option<usize>,
    /// PostgreSQL: the type that the value is bound as, such as `int8`, `uuid` or `text[]`. Default: the one that the statement asks for there.
    #[serde(default)]
    pub database_type: Option<String>,
}

/// What the values of a parameter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text; also days, times and what else the database reads from a text.
    Text,
    /// A whole number of up to 64 bits.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl ParameterType {
    /// The word of JSON Schema for it.
    fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => whole(value).is_some(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// A whole number, as such or as the text of one that a reader of JSON would round.
fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number: i64 = value.as_str()?.parse().ok()?;
    // The form of a number, not one of several, and only where it is needed.
    let is_large = number.unsigned_abs() > EXACT_MAX.unsigned_abs();
    (is_large && number.to_string() == value.as_str()?).then_some(number)
}

impl ToolParameter {
    /// Whether a call must give it.
    pub(crate) fn is_required(&self) -> bool {
        self.required.unwrap_or(self.default.is_none())
    }

    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// What does not, and what to write.
    pub(super) fn check(&self) -> Result<(), String> {
        let begins =
            self.name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let fits = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !begins || !fits || self.name.len() > NAME_LEN_MAX {
            return Err(format!(
                "is no name; write up to {NAME_LEN_MAX} letters, digits and _, with no digit first"
            ));
        }
        check_text("description", &self.description)?;
        self.check_meaning()?;
        self.check_bounds()?;
        self.check_values()
    }

    /// Whether nothing is said that has no meaning for the type.
    fn check_meaning(&self) -> Result<(), String> {
        let (is_number, is_text) = (self.r#type.is_number(), self.r#type == ParameterType::Text);
        for (key, is_misplaced) in [
            ("minimum", self.minimum.is_some() && !is_number),
            ("maximum", self.maximum.is_some() && !is_number),
            ("min_length", self.min_length.is_some() && !is_text),
            ("max_length", self.max_length.is_some() && !is_text),
            ("max_items", self.max_items.is_some() && !self.list),
            ("enum", self.r#enum.is_some() && self.r#type == ParameterType::Boolean),
        ] {
            if is_misplaced {
                return Err(format!("{key} means nothing for this type; remove it"));
            }
        }
        if self.required == Some(true) && self.default.is_some() {
            return Err(
                "is required and has a default, which would never be used; remove one".to_owned()
            );
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), String> {
        let is_number = |bound: Option<f64>| bound.is_none_or(f64::is_finite);
        if !is_number(self.minimum) || !is_number(self.maximum) {
            return Err("minimum and maximum must be numbers".to_owned());
        }
        if let (Some(least), Some(most)) = (self.minimum, self.maximum)
            && least > most
        {
            return Err("minimum is above maximum, so that no value fits".to_owned());
        }
        for (key, is, most) in
            [("max_length", self.max_length, LENGTH_MAX), ("max_items", self.max_items, ITEMS_MAX)]
        {
            if let Some(is) = is
                && !(1..=most).contains(&is)
            {
                return Err(format!("{key}: {is} is out of bounds; write 1 to {most}"));
            }
        }
        if self.min_length.unwrap_or(0) > self.length_max() {
            return Err("min_length is above max_length, so that no value fits".to_owned());
        }
        Ok(())
    }

    /// Whether the default and the values that it can have are such that a call could give them.
    fn check_values(&self) -> Result<(), String> {
        if let Some(values) = &self.r#enum {
            if !(1..=ENUM_MAX).contains(&values.len()) {
                return Err(format!("enum must have 1 to {ENUM_MAX} values"));
            }
            for value in values {
                self.check_item(value).map_err(|reason| format!("enum: {value} {reason}"))?;
            }
        }
        if let Some(default) = &self.default {
            self.check_value(default).map_err(|reason| format!("default {reason}"))?;
        }
        Ok(())
    }

    fn length_max(&self) -> usize {
        self.max_length.unwrap_or(LENGTH_DEFAULT)
    }

    fn items_max(&self) -> usize {
        self.max_items.unwrap_or(ITEMS_DEFAULT)
    }

    /// What agents are told of it.
    pub(crate) fn schema(&self) -> Value {
        let mut item = Map::from_iter([("type".to_owned(), json!(self.r#type.word()))]);
        let mut tell = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                item.insert(key.to_owned(), value);
            }
        };
        tell("enum", self.r#enum.as_ref().map(|values| json!(values)));
        tell("minimum", self.minimum.map(|bound| self.bound(bound)));
        tell("maximum", self.maximum.map(|bound| self.bound(bound)));
        tell("minLength", self.min_length.map(|length| json!(length)));
        tell("maxLength", self.max_length.map(|length| json!(length)));
        let mut schema = if self.list {
            let mut list = Map::from_iter([("type".to_owned(), json!("array"))]);
            list.insert("items".to_owned(), Value::Object(item));
            list.insert("maxItems".to_owned(), json!(self.items_max()));
            list
        } else {
            item
        };
        schema.insert("description".to_owned(), json!(self.description));
        if let Some(default) = &self.default {
            schema.insert("default".to_owned(), default.clone());
        }
        Value::Object(schema)
    }

    /// A bound of whole numbers without a fraction of zero.
    fn bound(&self, bound: f64) -> Value {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough to be exact")]
        #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
        if self.r#type == ParameterType::Integer
            && bound.fract() == 0.0
            && bound.abs() <= EXACT_MAX as f64
        {
            return json!(bound as i64);
        }
        json!(bound)
    }

    /// Whether a call can give this value.
    ///
    /// # Errors
    /// What it must be; nothing of the value.
    pub(crate) fn check_value(&self, value: &Value) -> Result<(), String> {
        if !self.list {
            return self.check_item(value);
        }
        let Value::Array(items) = value else {
            return Err(format!("must be a list of {}", self.kind()));
        };
        let most = self.items_max();
        if items.len() > most {
            return Err(format!("has more than {most} items"));
        }
        (1..).zip(items).try_for_each(|(place, item)| {
            self.check_item(item).map_err(|reason| format!("item {place} {reason}"))
        })
    }

    fn kind(&self) -> &'static str {
        match self.r#type {
            ParameterType::Text => "texts",
            ParameterType::Integer => "whole numbers",
            ParameterType::Number => "numbers",
            ParameterType::Boolean => "true and false",
        }
    }

    fn check_item(&self, value: &Value) -> Result<(), String> {
        if !self.r#type.takes(value) {
            return Err(format!(
                "must be {}",
                match self.r#type {
                    ParameterType::Text => "a text",
                    ParameterType::Integer => "a whole number of up to 64 bits",
                    ParameterType::Number => "a number",
                    ParameterType::Boolean => "true or false",
                }
            ));
        }
        if let Some(values) = &self.r#enum
            && !values.iter().any(|allowed| same(allowed, value))
        {
            return Err(format!("must be one of {}", Value::from(values.clone())));
        }
        if self.r#type.is_number() {
            return self.check_number(value);
        }
        if let Value::String(text) = value {
            return self.check_length(text);
        }
        Ok(())
    }

    fn check_number(&self, value: &Value) -> Result<(), String> {
        #[expect(clippy::cast_precision_loss, reason = "a bound is a float, too")]
        let number = whole(value).map(|number| number as f64).or_else(|| value.as_f64());
        let number = number.filter(|number| number.is_finite()).ok_or("must be a number")?;
        if let Some(least) = self.minimum
            && number < least
        {
            return Err(format!("must be at least {least}"));
        }
        if let Some(most) = self.maximum
            && number > most
        {
            return Err(format!("must be at most {most}"));
        }
        Ok(())
    }

    fn check_length(&self, text: &str) -> Result<(), String> {
        let (length, most) = (text.chars().count(), self.length_max());
        if length > most {
            return Err(format!("has more than {most} characters"));
        }
        let least = self.min_length.unwrap_or(0);
        if length < least {
            return Err(format!("has fewer than {least} characters"));
        }
        if text.contains('\0') {
            return Err("holds a NUL character; leave it out".to_owned());
        }
        Ok(())
    }
}

/// Whether two values are one: `2` and `2.0` are.
fn same(a: &Value, b: &Value) -> bool {
    a == b
        || (a.is_number()
            && b.is_number()
            && a.as_f64() == b.as_f64()
            && (a.is_f64() || b.is_f64()))
}
