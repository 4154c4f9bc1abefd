//! The structured form of an answer. It is written down where it is known what as: a value of
//! thousands of entries costs several times their text.

use std::marker::PhantomData;

use rmcp::model::{ContentBlock, JsonObject};
use roothold_core::Fault;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::tool::{Answer, Reply, text_blocks};

/// The structured form of an answer.
pub(crate) enum Form {
    /// What it is made from.
    Typed(Box<dyn AnyForm>),
    /// Its JSON, in one line.
    Written {
        /// Pieces, one behind the other: to put large ones together would cost as much as to make them.
        pieces: Vec<String>,
        /// The answer's first text, which its blocks then lack.
        first_text: Option<FirstText>,
    },
}

/// A text as JSON, in one line and with its quotes, by somebody who knew what to escape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirstText {
    /// The JSON.
    pub(crate) json: String,
    /// The bytes of the text itself.
    pub(crate) bytes: usize,
}

impl FirstText {
    /// As a block.
    pub(crate) fn block(&self) -> ContentBlock {
        ContentBlock::text(serde_json::from_str::<String>(&self.json).unwrap_or_default())
    }
}

impl Form {
    /// As a value.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Typed(form) => form.value(),
            Self::Written { pieces, .. } => serde_json::from_str(&pieces.concat()),
        }
        .unwrap_or_default()
    }

    /// As JSON, in one line.
    pub(crate) fn json(self) -> String {
        self.into_pieces().0.concat()
    }

    /// As JSON in pieces, and the answer's first text if the form holds it.
    pub(crate) fn into_pieces(self) -> (Vec<String>, Option<FirstText>) {
        match self {
            Self::Typed(form) => (vec![form.json().unwrap_or_else(|_| "null".to_owned())], None),
            Self::Written { pieces, first_text } => (pieces, first_text),
        }
    }

    /// The answer's first text, if the form holds it.
    pub(crate) fn first_text(&self) -> Option<&FirstText> {
        match self {
            Self::Typed(_) => None,
            Self::Written { first_text, .. } => first_text.as_ref(),
        }
    }

    /// The bytes of that.
    pub(crate) fn first_text_len(&self) -> usize {
        self.first_text().map_or(0, |text| text.bytes)
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value().fmt(f)
    }
}

pub(crate) trait AnyForm: Send {
    fn value(&self) -> serde_json::Result<Value>;
    fn json(&self) -> serde_json::Result<String>;
}

impl<T: Serialize + Send> AnyForm for T {
    fn value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// As [`crate::tool::Structured`], of thousands of entries, whose JSON a tool writes by itself as
/// they come.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pieces: Vec<String>,
    content: Vec<ContentBlock>,
    first_text: Option<FirstText>,
    schema: PhantomData<fn() -> T>,
}

impl<T: Serialize> Written<T> {
    /// The value is `page`, whose first field is an empty list, with `list` in place of that: a
    /// list as JSON without line breaks.
    ///
    /// # Errors
    /// `Internal`, if the page is not like that.
    pub(crate) fn new(
        page: &T,
        list: String,
        text: String,
        note: Option<String>,
    ) -> Result<Self, Fault> {
        let pieces = pieces(page, list)?;
        let content = text_blocks(text, note);
        Ok(Self { pieces, content, first_text: None, schema: PhantomData })
    }

    /// The same with a text that was written as JSON, so that it need not be escaped.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with_first_text(
        page: &T,
        list: String,
        text: FirstText,
        note: Option<String>,
    ) -> Result<Self, Fault> {
        let pieces = pieces(page, list)?;
        let content = note.map(ContentBlock::text).into_iter().collect();
        Ok(Self { pieces, content, first_text: Some(text), schema: PhantomData })
    }
}

fn pieces<T: Serialize>(page: &T, list: String) -> Result<Vec<String>, Fault> {
    let frame = serde_json::to_string(page).map_err(Fault::internal)?;
    let (before, after) = frame
        .split_once("[]")
        .ok_or_else(|| Fault::internal("a page that does not begin with an empty list"))?;
    Ok(vec![before.to_owned(), list, after.to_owned()])
}

impl<T: JsonSchema + Send + 'static> Reply for Written<T> {
    fn schema() -> Option<JsonObject> {
        Some(crate::catalog::schema_of_output::<T>())
    }

    fn into_answer(self) -> Answer {
        let Self { pieces, content, first_text, .. } = self;
        Answer::new(content, Some(Form::Written { pieces, first_text }))
    }
}
