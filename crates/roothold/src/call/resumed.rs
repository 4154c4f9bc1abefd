//! Where a call in pages goes on: the cursor that it came with, and whom and what that is tied to.

use std::time::Duration;

use roothold_core::Fault;
use roothold_core::handle::Sealer;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a cursor can be used: an agent that pauses longer begins again.
const CURSOR_TTL: Duration = Duration::from_hours(1);

/// The cursor of a call, if it has one, before or while the call runs.
pub struct Resumed<'a> {
    pub(super) sealer: &'a Sealer,
    pub(super) tool: &'static str,
    pub(super) principal: &'a str,
    pub(super) cursor: Option<&'a str>,
    pub(super) arguments_digest: [u8; 8],
    pub(super) goes_on: bool,
}

impl Resumed<'_> {
    /// Whether the call goes on with one that was answered with a question. Whether what was said
    /// lets it run is found out when it does.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Where the page before this one ended, if the call carries a cursor.
    ///
    /// # Errors
    /// `Invalid`, if the cursor is not one of this principal for this tool with these arguments.
    pub fn position<T: DeserializeOwned>(&self) -> Result<Option<T>, Fault> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let opened = self.sealer.open::<([u8; 8], T)>(&self.purpose(), self.principal, cursor);
        match opened {
            Ok((digest, position)) if digest == self.arguments_digest => Ok(Some(position)),
            Ok(_) => Err(Fault::invalid(
                "the cursor belongs to other arguments; repeat those of the first page, or begin again without it",
            )),
            Err(error) => Err(Fault::invalid(error.to_string()).with_source(error)),
        }
    }

    pub(super) fn seal<T: Serialize>(&self, position: &T) -> Result<String, Fault> {
        let sealed = (self.arguments_digest, position);
        self.sealer
            .seal(&self.purpose(), self.principal, CURSOR_TTL, &sealed)
            .map_err(Fault::internal)
    }

    fn purpose(&self) -> String {
        format!("cursor/{}", self.tool)
    }
}
