//! The name of a job.

use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "job-";

/// A job's id: 128 random bits, written `job-` and 32 hexadecimal digits. It is also the id of
/// the protocol's task. Knowing it gives no right: the owner is checked at every access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId([u8; 16]);

/// The text is no job id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a job id: it is `job-` and 32 hexadecimal digits, as the answer that started the job gave it"
)]
pub struct JobIdError;

impl JobId {
    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<Self, crate::StateError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| crate::StateError::Internal(error.into()))?;
        Ok(Self(bytes))
    }

    /// The id of these bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bits.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    /// Only the form that [`JobId`] writes: lower case, so that one job has one name.
    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(JobIdError)?.as_bytes();
        if digits.len() != 32 {
            return Err(JobIdError);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, JobIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(JobIdError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_back_and_nothing_else_is() {
        let id = JobId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        let zero = "job-00000000000000000000000000000000";
        assert_eq!(zero.parse(), Ok(JobId::from_bytes([0; 16])));
        let wrong = [
            "",
            "job-",
            "00000000000000000000000000000000",
            "JOB-00000000000000000000000000000000",
            "job-0000000000000000000000000000000",
            "job-000000000000000000000000000000000",
            "job-0000000000000000000000000000000G",
            "job-0000000000000000000000000000000A",
            "job-+0000000000000000000000000000000",
            "job-ééééééééééééééééé",
        ];
        for text in wrong {
            assert_eq!(text.parse::<JobId>(), Err(JobIdError), "{text}");
        }
    }

    #[test]
    fn ids_differ() {
        assert_ne!(JobId::random().unwrap(), JobId::random().unwrap());
    }
}
