//! What an answer must hold to count: only right answers are measured.

/// What an answer's text must hold.
#[derive(Debug)]
pub(super) enum Expect {
    /// Each of these.
    All(Vec<String>),
    /// This, exactly so many times.
    Times(&'static str, usize),
    /// The same, but only where no name goes on: a cursor may hold any letters.
    Ends(&'static str, usize),
    Anything,
}

impl Expect {
    pub(super) fn holds(&self, text: &str) -> Result<(), String> {
        match self {
            Self::All(parts) => match parts.iter().position(|part| !text.contains(part.as_str())) {
                Some(at) => Err(format!("part {} of {} is missing", at + 1, parts.len())),
                None => Ok(()),
            },
            Self::Times(part, times) => same(text.matches(part).count(), *times),
            Self::Ends(part, times) => {
                let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                let found = text.match_indices(part);
                let ends = found.filter(|(at, _)| !text[at + part.len()..].starts_with(goes_on));
                same(ends.count(), *times)
            }
            Self::Anything => Ok(()),
        }
    }
}

fn same(found: usize, times: usize) -> Result<(), String> {
    if found == times { Ok(()) } else { Err(format!("{found} of {times} entries")) }
}
