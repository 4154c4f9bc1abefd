//! Where a message stands in a trace: one span, as W3C Trace Context names it in `traceparent`.
//!
//! It reads and writes that header and nothing else: `tracestate` and `baggage` are free text of the
//! sender's, and are not taken. **Invariant**: what is malformed is as if it were not there, so that
//! nobody is refused for it.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One span of one trace. It takes its written form by `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    sampled: bool,
}

/// The length of version 00; later versions begin with the same.
const LEN: usize = 55;

impl TraceParent {
    /// A span; nothing, where an id is zero, which names none.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        let (trace_id, span_id) = (NonZeroU128::new(trace_id)?, NonZeroU64::new(span_id)?);
        Some(Self { trace_id, span_id, sampled })
    }

    /// Reads a `traceparent`. One of a later version counts for what version 00 knows of it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let head = text.get(..LEN)?;
        let of_later_version = match &head[..2] {
            b"ff" => return None,
            b"00" => false,
            _ => true,
        };
        let ends = text.len() == LEN || (of_later_version && text[LEN] == b'-');
        if !ends || [2, 35, 52].iter().any(|&at| head[at] != b'-') {
            return None;
        }
        hex(&head[..2])?;
        let trace_id = hex(&head[3..35])?;
        let span_id = u64::try_from(hex(&head[36..52])?).ok()?;
        let flags = hex(&head[53..])?;
        Self::new(trace_id, span_id, flags & 1 == 1)
    }

    /// The span of a request's sender. Where several are named, nobody knows which is meant.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(&TRACEPARENT).iter();
        let one = all.next().filter(|_| all.next().is_none())?;
        Self::parse(one.as_bytes())
    }

    /// The trace.
    pub fn trace_id(self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// The span.
    pub fn span_id(self) -> NonZeroU64 {
        self.span_id
    }

    /// Whether spans of this trace are to be recorded.
    pub fn is_sampled(self) -> bool {
        self.sampled
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace_id(), self.span_id, u8::from(self.sampled))
    }
}

/// The id of a trace, which is written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

impl TraceId {
    /// The number that it is.
    pub fn get(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Lower case digits only: that is what the header may have.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn what_is_well_formed_is_read_and_written_as_it_was() {
        for sound in [SOUND, "00-00000000000000000000000000000001-ffffffffffffffff-00"] {
            let parsed = TraceParent::parse(sound.as_bytes()).unwrap();
            assert_eq!(parsed.to_string(), sound);
            assert_eq!(parsed.trace_id().to_string(), sound[3..35]);
            assert_eq!(parsed.is_sampled(), sound.ends_with('1'));
        }
    }

    #[test]
    fn a_later_version_counts_for_what_this_one_knows() {
        let of = |text: &str| TraceParent::parse(text.as_bytes());
        let known = of(SOUND);
        assert_eq!(of(&SOUND.replacen("00", "01", 1)), known);
        assert_eq!(of(&format!("{}-more", SOUND.replacen("00", "fe", 1))), known);
        assert_eq!(of(&SOUND.replacen("-01", "-03", 1)), known, "an unknown flag");
        assert_eq!(of(&format!("{}more", SOUND.replacen("00", "01", 1))), None);
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "0g-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0AF7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0",
            "00_0af7651916cd43dd8448eb211c80319c_00f067aa0ba902b7_01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-zz",
            " 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1",
            "00-ff..",
            "",
            "\u{e4}0-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(TraceParent::parse(&[0xff; 4096]), None);
    }

    #[test]
    fn two_spans_of_one_sender_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of_headers(&headers), None);
        headers.append(TRACEPARENT, SOUND.parse().unwrap());
        assert_eq!(TraceParent::of_headers(&headers), TraceParent::parse(SOUND.as_bytes()));
        headers.append(TRACEPARENT, SOUND.parse().unwrap());
        assert_eq!(TraceParent::of_headers(&headers), None);
    }

    #[test]
    fn no_cut_and_no_changed_byte_is_a_panic() {
        for at in 0..SOUND.len() {
            let _ = TraceParent::parse(&SOUND.as_bytes()[..at]);
            for byte in 0..=u8::MAX {
                let mut changed = SOUND.as_bytes().to_vec();
                changed[at] = byte;
                if let Some(parsed) = TraceParent::parse(&changed) {
                    assert_eq!(parsed.to_string().len(), LEN);
                }
            }
        }
    }
}
