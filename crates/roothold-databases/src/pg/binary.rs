//! Values in the server's binary form: what a changing statement gives back comes so.

use std::fmt::Write as _;

use serde_json::Value;
use tokio_postgres::types::{FromSql, Kind, Type};

use super::text::Shape;
use crate::answer::{float, hex, whole};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01, where the server counts from.
const EPOCH_DAYS: i64 = 10_957;

/// A value. One of a type that is not known here is its binary form, in hexadecimal.
pub(super) struct Shown(pub(super) Value);

type Error = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for Shown {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Error> {
        let text = |raw: &[u8]| Ok::<_, Error>(std::str::from_utf8(raw)?.to_owned());
        let value = match *kind {
            Type::BOOL => Value::Bool(bool::from_sql(kind, raw)?),
            Type::INT2 => whole(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => whole(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => whole(i64::from_sql(kind, raw)?),
            Type::OID => whole(u32::from_sql(kind, raw)?.into()),
            Type::FLOAT4 => Shape::Float.value(&f32::from_sql(kind, raw)?.to_string()),
            Type::FLOAT8 => float(f64::from_sql(kind, raw)?),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::XML | Type::UNKNOWN => {
                Value::String(text(raw)?)
            }
            Type::JSON => Shape::Json.value(&text(raw)?),
            Type::JSONB => Shape::Json.value(&text(raw.get(1..).unwrap_or_default())?),
            Type::NUMERIC => numeric(raw).map_or_else(|| Value::String(hex(raw)), Value::String),
            Type::DATE => {
                let days = i32::from_sql(kind, raw)?;
                let endless = days == i32::MAX || days == i32::MIN;
                instant(i64::from(days) * MICROS_PER_DAY, endless, |date, _| date.to_owned())
            }
            Type::TIMESTAMP => moment(raw, "")?,
            Type::TIMESTAMPTZ => moment(raw, "+00:00")?,
            Type::UUID if raw.len() == 16 => {
                let digits = &hex(raw)[2..];
                let parts =
                    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
                Value::String(parts.join("-"))
            }
            _ if matches!(kind.kind(), Kind::Enum(_)) => Value::String(text(raw)?),
            _ => Value::String(hex(raw)),
        };
        Ok(Self(value))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn moment(raw: &[u8], zone: &str) -> Result<Value, Error> {
    let micros = i64::from_sql(&Type::INT8, raw)?;
    let endless = micros == i64::MAX || micros == i64::MIN;
    Ok(instant(micros, endless, |date, time| format!("{date}T{time}{zone}")))
}

/// Microseconds from 2000-01-01 on, as date and time.
fn instant(micros: i64, endless: bool, show: impl Fn(&str, &str) -> String) -> Value {
    if endless {
        return Value::String(if micros > 0 { "infinity" } else { "-infinity" }.to_owned());
    }
    let (year, month, day) = date(micros.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS);
    let within = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (within / 1_000_000, within % 1_000_000);
    let mut time = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        time.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    Value::String(show(&format!("{year:04}-{month:02}-{day:02}"), &time))
}

/// Year, month and day of a day counted from 1970-01-01, in the calendar of Gregory.
fn date(days: i64) -> (i64, i64, i64) {
    // Years that begin in March, in eras of 400: so that the day that leaps comes last.
    let from_march = days + 719_468;
    let era = from_march.div_euclid(146_097);
    let of_era = from_march.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// A decimal: digits to the base of 10,000, where the first stands, its sign, digits shown.
fn numeric(raw: &[u8]) -> Option<String> {
    let at =
        |index: usize| Some(u16::from_be_bytes([*raw.get(index * 2)?, *raw.get(index * 2 + 1)?]));
    let (count, sign, scale) = (usize::from(at(0)?), at(2)?, usize::from(at(3)?));
    let weight = i64::from(at(1)?.cast_signed());
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digit = |place: i64| -> Option<u16> {
        let index = usize::try_from(weight - place).ok().filter(|index| *index < count);
        index.map_or(Some(0), |index| at(4 + index))
    };
    let mut text = String::new();
    for place in (0..=weight.max(0)).rev() {
        write!(text, "{:04}", digit(place)?).ok()?;
    }
    let whole = text.trim_start_matches('0');
    let mut text = if whole.is_empty() { "0".to_owned() } else { whole.to_owned() };
    if sign == 0x4000 {
        text.insert(0, '-');
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut place = -1;
        while fraction.len() < scale {
            write!(fraction, "{:04}", digit(place)?).ok()?;
            place -= 1;
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[u16]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(numeric(&parts(&[2, 0, 0, 2, 1, 1000])).unwrap(), "1.10");
        assert_eq!(numeric(&parts(&[3, 1, 0x4000, 3, 1, 2345, 6780])).unwrap(), "-12345.678");
        assert_eq!(numeric(&parts(&[1, 0xFFFE, 0, 6, 1200])).unwrap(), "0.000012");
        assert_eq!(numeric(&parts(&[0, 0, 0, 0])).unwrap(), "0");
        assert_eq!(numeric(&parts(&[1, 2, 0, 0, 5])).unwrap(), "500000000");
        assert_eq!(numeric(&parts(&[0, 0, 0xC000, 0])).unwrap(), "NaN");
        assert_eq!(numeric(&parts(&[9])), None);
    }

    #[test]
    fn days_are_counted_right() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(EPOCH_DAYS), (2000, 1, 1));
        assert_eq!(date(EPOCH_DAYS + 59), (2000, 2, 29));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(20_454), (2026, 1, 1));
    }
}
