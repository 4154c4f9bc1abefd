//! Time stamps of records: RFC 3339 in UTC with microseconds, written without allocating.
//!
//! Dates before 1970 do not occur and are written as 1970; leap seconds are not represented.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, or 0 when the clock stands before that.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Appends `2026-11-22T11:04:05.000123Z`.
pub(super) fn push_rfc3339(out: &mut Vec<u8>, us: u64) {
    let (date, clock) = split(us);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], date.0);
    put(&mut text[5..7], date.1);
    put(&mut text[8..10], date.2);
    put(&mut text[11..13], clock / 3600);
    put(&mut text[14..16], clock / 60 % 60);
    put(&mut text[17..19], clock % 60);
    put(&mut text[20..26], us % 1_000_000);
    out.extend_from_slice(&text);
}

/// Returns `20261122T110405.000123Z`, the form of file names, which sort by it.
pub(super) fn compact(us: u64) -> String {
    let ((year, month, day), clock) = split(us);
    let (h, m, s) = (clock / 3600, clock / 60 % 60, clock % 60);
    let us = us % 1_000_000;
    format!("{year:04}{month:02}{day:02}T{h:02}{m:02}{s:02}.{us:06}Z")
}

/// The civil date, and the seconds since midnight. Days are counted in eras of 400 years that
/// begin on 1 March, so that the leap day is the last of its year (Hinnant, "chrono-compatible
/// low-level date algorithms").
fn split(us: u64) -> ((u64, u64, u64), u64) {
    let seconds = us / 1_000_000;
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    ((year, month, day), seconds % 86_400)
}

/// Writes `value` in decimal over the whole of `field`, keeping the lowest digits.
fn put(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(us: u64) -> String {
        let mut out = Vec::new();
        push_rfc3339(&mut out, us);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_instants_are_written_as_rfc_3339() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(text(1_795_345_445_123_456), "2026-11-22T11:04:05.123456Z");
        assert_eq!(text(4_107_542_399_999_999), "2100-02-28T23:59:59.999999Z");
        assert_eq!(text(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn file_names_use_the_compact_form() {
        assert_eq!(compact(1_795_345_445_123_456), "20261122T110405.123456Z");
    }
}
