//! The tools of a server, by name; and their schemas.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rmcp::model::{JsonObject, Tool as ToolModel};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use crate::telemetry::Successes;
use crate::tool::{About, AnyTool, Effect, Reply as _, Tool};

/// The tools of a server. Listed in the order in which they were added.
#[derive(Default)]
pub(crate) struct Catalog {
    tools: Vec<Entry>,
    by_name: HashMap<&'static str, usize>,
}

pub(crate) struct Entry {
    pub(crate) tool: Box<dyn AnyTool>,
    pub(crate) model: ToolModel,
    /// The same for those who can write nowhere, where that is another one.
    pub(crate) reading: Option<ToolModel>,
    /// Found when a call of the tool first succeeds, so that no series is there before.
    pub(crate) successes: Arc<OnceLock<Successes>>,
}

impl Catalog {
    /// Adds a tool; one of the same name is replaced, so that users can refine ours.
    pub(crate) fn add(&mut self, tool: impl Tool) {
        let (model, reading) = (model_of(&tool), reading_model_of(&tool));
        let name = tool.name();
        let entry = Entry { model, reading, tool: Box::new(tool), successes: Arc::default() };
        if let Some(at) = self.by_name.get(name) {
            self.tools[*at] = entry;
        } else {
            self.by_name.insert(name, self.tools.len());
            self.tools.push(entry);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|at| &self.tools[*at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.tools.iter()
    }
}

fn model_of<T: Tool>(tool: &T) -> ToolModel {
    model_with::<T>(tool.about(), schema_of_input::<T::Input>())
}

/// The model without the arguments by which the tool writes.
fn reading_model_of<T: Tool>(tool: &T) -> Option<ToolModel> {
    if T::WRITES_BY.is_empty() {
        return None;
    }
    let mut input = schema_of_input::<T::Input>();
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        properties.retain(|argument, _| !T::WRITES_BY.contains(&argument.as_str()));
    }
    let about = About { effect: Effect::Reads, ..tool.about() };
    Some(model_with::<T>(about, input))
}

fn model_with<T: Tool>(about: About, mut input: JsonObject) -> ToolModel {
    if T::PAGED {
        add_page_arguments(&mut input);
    }
    let mut model = ToolModel::new(T::NAME, about.description, Arc::new(input))
        .with_title(about.title)
        .with_annotations(about.effect.annotations());
    if let Some(output) = T::Output::schema() {
        model = model.with_raw_output_schema(Arc::new(output));
    }
    model
}

/// The two arguments of every tool that answers in pages.
pub(crate) fn add_page_arguments(schema: &mut JsonObject) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.insert(
            "cursor".to_owned(),
            json!({"type": "string", "description": "A page's next_cursor"}),
        );
        properties.insert(
            "max_bytes".to_owned(),
            json!({"type": "integer", "description": "Largest answer"}),
        );
    }
}

/// The schema of a tool's arguments.
pub(crate) fn schema_of_input<T: JsonSchema>() -> JsonObject {
    let generator =
        SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    object(generator.into_root_schema_for::<T>())
}

/// The schema of a tool's structured answer: the names of its fields. What they hold shows when they
/// come, and every agent would pay for it with each list of tools.
pub(crate) fn schema_of_output<T: JsonSchema>() -> JsonObject {
    let generator = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .for_serialize()
        .into_generator();
    let mut schema = object(generator.into_root_schema_for::<T>());
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.values_mut().for_each(|field| *field = json!({}));
    }
    schema.retain(|keyword, _| keyword == "properties" || keyword == "type");
    schema
}

fn object(mut schema: schemars::Schema) -> JsonObject {
    RecursiveTransform(strip).transform(&mut schema);
    let mut object = match schema.to_value() {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    };
    for noise in ["$schema", "title"] {
        object.remove(noise);
    }
    object.entry("type").or_insert_with(|| json!("object"));
    object.entry("properties").or_insert_with(|| json!({}));
    object
}

/// What the schema says of Rust and agents have no use for: `uint64` and that it is not below zero,
/// and `null` beside a type for what may simply be left out; and that nothing else is allowed, since
/// unknown arguments are refused by name all the same.
fn strip(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("format");
    object.remove("default");
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
    }
    if object.get("minimum").is_some_and(|least| least == 0) {
        object.remove("minimum");
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
}
