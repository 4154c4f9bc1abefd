//! What holding a record against a schema can cost at most.
//!
//! A schema is held against a value, and some of its parts against the same value (`allOf`, `$ref`),
//! others against values within it (`properties`, `items`). Where several parts come to the same
//! value within, the work multiplies at each level: a few lines can ask for more than there is
//! time. So the most work that comes to one value at any depth is reckoned, and bounded.
//!
//! **Invariant**: it never reckons less than there is. Keywords that are not listed here hold no
//! schemas that are used, unless a `$ref` leads there; that is followed.

use std::collections::HashMap;

use roothold_core::{Fault, FaultKind};
use serde_json::{Map, Value};

/// The most schemas that are held against one value of a record.
const WORK_MAX: u64 = 1_000;
/// The deepest record that there is: the parser refuses deeper ones.
const DEPTH: usize = 128;
/// The most parts of a schema.
const PARTS_MAX: usize = 4096;
/// How deep schemas are within each other that are held against the same value.
const CHAIN_MAX: usize = 32;
/// What a pattern costs, compared with other keywords.
const PATTERN_WORK: u64 = 20;

/// Keywords whose schema is held against the same value.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// The same, with a list of them.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// The same, with one for each name.
const SAME_NAMED: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords whose schema is held against any value within.
const WITHIN: [&str; 7] = [
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "items",
];
/// Keywords that keep schemas for others to refer to.
const KEPT: [&str; 2] = ["$defs", "definitions"];

/// Whether a schema costs no more than it may.
///
/// # Errors
/// `Limit`; `Unsupported` for references that lead out of it or are only known while it is used.
pub(super) fn check(schema: &Value) -> Result<(), Fault> {
    let mut graph = Graph { root: schema, parts: Vec::new(), known: HashMap::new() };
    graph.add(schema, true)?;
    let mut same = Same { graph: &graph, found: vec![None; graph.parts.len()], open: Vec::new() };
    let mut all = Vec::with_capacity(graph.parts.len());
    for part in 0..graph.parts.len() {
        all.push(same.of(part)?.clone());
    }
    reckon(&graph, &all)
}

/// A part of a schema.
#[derive(Default)]
struct Part<'a> {
    /// Held against the same value.
    same: Vec<usize>,
    /// Held against the member of that name.
    named: Vec<(&'a str, usize)>,
    /// Held against some value within, whichever.
    within: Vec<usize>,
    /// Its own work.
    work: u64,
    /// What is below it is looked at twice.
    twice: bool,
}

struct Graph<'a> {
    root: &'a Value,
    parts: Vec<Part<'a>>,
    /// Parts by where they are.
    known: HashMap<*const Value, usize>,
}

fn too_much() -> Fault {
    Fault::new(
        FaultKind::Limit,
        "holding a record against the schema could take too long: too many of its parts (allOf, anyOf, oneOf, $ref) come to the same value; write it flatter",
    )
}

impl<'a> Graph<'a> {
    fn add(&mut self, schema: &'a Value, is_root: bool) -> Result<usize, Fault> {
        if let Some(known) = self.known.get(&std::ptr::from_ref(schema)) {
            return Ok(*known);
        }
        if self.parts.len() >= PARTS_MAX {
            let what = format!("the schema has more than {PARTS_MAX} parts");
            return Err(Fault::new(FaultKind::Limit, what));
        }
        let at = self.parts.len();
        self.known.insert(std::ptr::from_ref(schema), at);
        self.parts.push(Part { work: 1, ..Part::default() });
        let Value::Object(keywords) = schema else { return Ok(at) };
        refuse_unknown(keywords, is_root)?;
        let mut part = Part { work: work_of(keywords), ..Part::default() };
        part.twice = ["unevaluatedProperties", "unevaluatedItems"]
            .iter()
            .any(|key| keywords.contains_key(*key));
        self.add_same(keywords, &mut part)?;
        self.add_within(keywords, &mut part)?;
        for key in KEPT {
            for kept in
                keywords.get(key).and_then(Value::as_object).into_iter().flat_map(Map::values)
            {
                self.add(kept, false)?;
            }
        }
        self.parts[at] = part;
        Ok(at)
    }

    fn add_same(
        &mut self,
        keywords: &'a Map<String, Value>,
        part: &mut Part<'a>,
    ) -> Result<(), Fault> {
        let one = SAME.iter().filter_map(|key| keywords.get(*key));
        let lists = SAME_LISTS.iter().filter_map(|key| keywords.get(*key)?.as_array()).flatten();
        let named = SAME_NAMED.iter().filter_map(|key| keywords.get(*key)?.as_object());
        // A dependency may be a list of names instead.
        let named = named.flat_map(Map::values).filter(|value| !value.is_array());
        for schema in one.chain(lists).chain(named) {
            part.same.push(self.add(schema, false)?);
        }
        if let Some(reference) = keywords.get("$ref") {
            let target = self.target(reference)?;
            part.same.push(self.add(target, std::ptr::eq(target, self.root))?);
        }
        Ok(())
    }

    fn add_within(
        &mut self,
        keywords: &'a Map<String, Value>,
        part: &mut Part<'a>,
    ) -> Result<(), Fault> {
        for (name, schema) in
            keywords.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            part.named.push((name, self.add(schema, false)?));
        }
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        for schema in patterns.into_iter().flat_map(Map::values) {
            part.within.push(self.add(schema, false)?);
        }
        let any =
            WITHIN.iter().filter_map(|key| keywords.get(*key)).chain(keywords.get("prefixItems"));
        for schema in any {
            match schema {
                Value::Array(items) => {
                    for item in items {
                        part.within.push(self.add(item, false)?);
                    }
                }
                schema => part.within.push(self.add(schema, false)?),
            }
        }
        Ok(())
    }

    /// What a reference leads to within the schema.
    fn target(&self, reference: &Value) -> Result<&'a Value, Fault> {
        let text = reference.as_str().ok_or_else(|| Fault::invalid("a $ref is a text"))?;
        let outside = || {
            Fault::new(
                FaultKind::Unsupported,
                "a $ref of the schema leads out of it, or to nothing; only references like #/$defs/name are followed",
            )
        };
        let pointer = text.strip_prefix('#').ok_or_else(outside)?;
        // What is percent-encoded would be found by other rules than these.
        if pointer.contains('%') {
            return Err(outside());
        }
        self.root.pointer(pointer).ok_or_else(outside)
    }
}

fn refuse_unknown(keywords: &Map<String, Value>, is_root: bool) -> Result<(), Fault> {
    let refuse = |key: &str| {
        let what = format!(
            "the schema's keyword {key} is not supported here: where references lead must be known beforehand"
        );
        Err(Fault::new(FaultKind::Unsupported, what))
    };
    for key in ["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$anchor"] {
        if keywords.contains_key(key) {
            return refuse(key);
        }
    }
    for key in ["$id", "id"] {
        // A property may be called so, and is no keyword then: there it is a schema, not a text.
        if keywords.get(key).is_some_and(Value::is_string) && !is_root {
            return refuse(key);
        }
    }
    Ok(())
}

fn work_of(keywords: &Map<String, Value>) -> u64 {
    let patterns = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
    let formats = ["pattern", "format"].iter().filter(|key| keywords.contains_key(**key)).count();
    1 + PATTERN_WORK * (patterns + formats) as u64
}

/// Which parts come to the same value, and how often.
struct Same<'a, 'b> {
    graph: &'b Graph<'a>,
    found: Vec<Option<HashMap<usize, u64>>>,
    open: Vec<usize>,
}

impl Same<'_, '_> {
    fn of(&mut self, part: usize) -> Result<&HashMap<usize, u64>, Fault> {
        if self.found[part].is_none() {
            if self.open.contains(&part) || self.open.len() >= CHAIN_MAX {
                return Err(too_much());
            }
            self.open.push(part);
            let factor = if self.graph.parts[part].twice { 2 } else { 1 };
            let mut all = HashMap::from([(part, factor)]);
            let graph = self.graph;
            for same in &graph.parts[part].same {
                for (other, times) in self.of(*same)?.clone() {
                    *all.entry(other).or_default() += times * factor;
                }
                if all.values().sum::<u64>() > WORK_MAX {
                    return Err(too_much());
                }
            }
            self.open.pop();
            self.found[part] = Some(all);
        }
        self.found[part].as_ref().ok_or_else(too_much)
    }
}

/// Goes down level by level: the most work that comes to one value there, whichever value it is.
fn reckon(graph: &Graph<'_>, same: &[HashMap<usize, u64>]) -> Result<(), Fault> {
    let count = graph.parts.len();
    let here: Vec<u64> = same
        .iter()
        .map(|all| all.iter().map(|(part, times)| graph.parts[*part].work * times).sum())
        .collect();
    if here.iter().any(|work| *work > WORK_MAX) {
        return Err(too_much());
    }
    // The work at a value so many levels below one that a part is held against.
    let mut below = here;
    for _ in 0..DEPTH {
        let mut next = vec![0_u64; count];
        for part in 0..count {
            let (mut any, mut by_name) = (0_u64, HashMap::<&str, u64>::new());
            for (other, times) in &same[part] {
                let other = &graph.parts[*other];
                let sum: u64 = other.within.iter().map(|within| below[*within]).sum();
                any = any.saturating_add(sum.saturating_mul(*times));
                for (name, named) in &other.named {
                    let work = by_name.entry(name).or_default();
                    *work = work.saturating_add(below[*named].saturating_mul(*times));
                }
            }
            next[part] = any.saturating_add(by_name.values().copied().max().unwrap_or(0));
            if next[part] > WORK_MAX {
                return Err(too_much());
            }
        }
        below = next;
    }
    Ok(())
}
