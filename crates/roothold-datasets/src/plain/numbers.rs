//! Numbers as they are mostly written, read with a few steps.
//!
//! **Invariant**: where a number is given it is that of the general parsers, to the last bit.

use datafusion::arrow::array::types::{Float64Type, Int64Type};
use datafusion::arrow::compute::kernels::cast_utils::Parser as _;

/// So many digits fit into every integer.
const INTEGER_DIGITS_MAX: usize = 18;
/// So many digits are a float exactly, whatever they are, and so are the powers of ten below;
/// their quotient is rounded once, as it should be.
const FLOAT_DIGITS_MAX: usize = 15;
const POWERS: [f64; FLOAT_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A whole number.
#[inline]
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (is_negative, digits) = signed(text);
    if digits.is_empty() || digits.len() > INTEGER_DIGITS_MAX {
        return Int64Type::parse(text);
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Int64Type::parse(text);
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if is_negative { -value } else { value })
}

/// A number, perhaps with a fraction.
#[inline]
pub(crate) fn float(text: &str) -> Option<f64> {
    let (is_negative, digits) = signed(text);
    match decimal(digits) {
        Some(value) => Some(if is_negative { -value } else { value }),
        None => Float64Type::parse(text),
    }
}

/// The value of a few digits, with or without a point between two of them.
#[inline]
fn decimal(digits: &[u8]) -> Option<f64> {
    if digits.len() > FLOAT_DIGITS_MAX + 1 {
        return None;
    }
    let (mut value, mut point) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    let decimals = match point {
        None if (1..=FLOAT_DIGITS_MAX).contains(&digits.len()) => 0,
        Some(at) if at > 0 && at + 1 < digits.len() => digits.len() - at - 1,
        _ => return None,
    };
    #[expect(clippy::cast_precision_loss, reason = "so few digits are exact")]
    let value = value as f64;
    Some(value / POWERS[decimals])
}

fn signed(text: &str) -> (bool, &[u8]) {
    match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agree(text: &str) -> Result<(), TestCaseError> {
        prop_assert_eq!(integer(text), Int64Type::parse(text), "{}", text);
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        prop_assert_eq!(bits(float(text)), bits(Float64Type::parse(text)), "{}", text);
        Ok(())
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_general_parsers(text in "[-+ ]?[0-9]{0,20}[.eE]?[-+]?[0-9]{0,18} ?") {
            agree(&text)?;
        }

        #[test]
        fn shortest_texts_are_read_back(value in any::<f64>(), whole in any::<i64>(), some in -1e9..1e9_f64) {
            agree(&value.to_string())?;
            agree(&whole.to_string())?;
            agree(&some.to_string())?;
            agree(&format!("{some:.2}"))?;
        }
    }

    #[test]
    fn odd_numbers_are_left_to_the_general_parsers() {
        for text in [
            "", "-", "-0", "-0.0", ".5", "5.", ".", "1.2.3", "1e5", "0x10", "inf", "NaN", "\u{661}",
        ] {
            agree(text).unwrap();
        }
        for text in
            ["9007199254740993", "999999999999999.9", "0.000000000000001", "999999999999999999"]
        {
            agree(text).unwrap();
        }
    }
}
