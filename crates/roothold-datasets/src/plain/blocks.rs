//! Where bytes stand in a text, found for 64 bytes at a time.
//!
//! Fields are short: a search from one of their ends to the next takes longer to begin than to
//! end. Without a condition inside, the loops below become vector instructions.

const BLOCK: usize = 64;

/// A bit for each byte of a block that is one of the two.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "a condition would be a jump")]
fn marks(block: &[u8; BLOCK], one: u8, other: u8) -> u64 {
    let mut found = [0; BLOCK];
    for (at, (found, byte)) in found.iter_mut().zip(block).enumerate() {
        *found = if (*byte == one) | (*byte == other) { 1_u8 << (at % 8) } else { 0 };
    }
    let (eights, _) = found.as_chunks::<8>();
    let together = |(at, eight): (usize, &[u8; 8])| {
        // The eight are bits of different worth: their sum is the byte of all of them.
        let sum = u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        sum << (at * 8)
    };
    eights.iter().enumerate().map(together).fold(0, |all, some| all | some)
}

/// The places of either of two bytes, in order.
pub(super) struct Places<'a> {
    blocks: std::slice::Iter<'a, [u8; BLOCK]>,
    rest: &'a [u8],
    one: u8,
    other: u8,
    /// Those of the block that were not given yet.
    marks: u64,
    /// Where that block begins, and the one after it.
    block: usize,
    next: usize,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a [u8], one: u8, other: u8) -> Self {
        let (blocks, rest) = text.as_chunks();
        Self { blocks: blocks.iter(), rest, one, other, marks: 0, block: 0, next: 0 }
    }

    #[inline]
    fn advance(&mut self) -> Option<()> {
        self.block = self.next;
        if let Some(block) = self.blocks.next() {
            self.marks = marks(block, self.one, self.other);
            self.next += BLOCK;
            return Some(());
        }
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        self.marks = marks(&block, self.one, self.other) & !(u64::MAX << rest.len());
        self.next += rest.len();
        Some(())
    }
}

impl Iterator for Places<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.marks == 0 {
            self.advance()?;
        }
        let at = self.block + self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_places_are_found(
            text in vec(prop_oneof![Just(b','), Just(b'\n'), Just(0), any::<u8>()], 0..300),
            one in any::<u8>(),
        ) {
            let is_one = |at: &usize| text[*at] == one || text[*at] == b'\n';
            let expected: Vec<usize> = (0..text.len()).filter(is_one).collect();
            let found: Vec<usize> = Places::new(&text, one, b'\n').collect();
            prop_assert_eq!(found, expected);
        }
    }
}
