//! Changes inputs in ways that upset readers: cut, doubled, spliced, flipped, with words of the language in wrong places.

/// Longer inputs would only be slower: what depends on length is told by thousands of bytes as well.
const INPUT_BYTES_MAX: usize = 32 * 1024;
/// What upsets readers of whatever language.
const AWKWARD: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\"",
    b"\\",
    b"-1",
    b"0",
    b"1e400",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"99999999999999999999999999",
    b"null",
    "\u{202e}".as_bytes(),
    "\u{feff}".as_bytes(),
    "ä\u{301}".as_bytes(),
    "😀".as_bytes(),
];

/// Makes one mutation. The same name and round always make the same.
pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) fn new(name: &str, round: u64) -> Self {
        // FNV-1a: targets must not all mutate alike.
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, among: &[&'a T]) -> &'a T {
        among[self.below(among.len())]
    }

    /// A range of an input, most often a short one.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len());
        let length_max = if self.below(4) == 0 { input.len() } else { 16 };
        let length = self.below(length_max + 1);
        start..input.len().min(start + length)
    }

    /// One of the corpus, changed in a few places.
    pub(super) fn mutate(&mut self, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, corpus, words);
            input.truncate(INPUT_BYTES_MAX);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
        let range = self.range(input);
        match self.below(8) {
            0 => drop(input.drain(range)),
            1 => {
                if let Some(byte) = input.get_mut(range.start) {
                    *byte ^= 1 << self.below(8);
                }
            }
            2 => drop(input.splice(range, self.pick(AWKWARD).iter().copied())),
            3 | 4 => drop(input.splice(range, self.pick(words).bytes())),
            5 => {
                let place = range.end;
                drop(input.splice(place..place, self.pick(words).bytes()));
            }
            6 => {
                // Many times over: depth and length are what readers forget.
                let times = [2, 10, 200, 3_000][self.below(4)];
                let piece = input[range.clone()].to_vec();
                let times = times.min(INPUT_BYTES_MAX / piece.len().max(1));
                drop(input.splice(range, piece.repeat(times)));
            }
            _ => {
                let other = &corpus[self.below(corpus.len())];
                let piece = other[self.range(other)].to_vec();
                drop(input.splice(range, piece));
            }
        }
    }
}

#[test]
fn a_round_is_the_same_every_time_and_rounds_differ() {
    let corpus = [b"one".to_vec(), b"another".to_vec(), Vec::new()];
    let mutate = |round| Mutator::new("x", round).mutate(&corpus, &["word"]);
    let inputs: std::collections::BTreeSet<Vec<u8>> = (0..500).map(mutate).collect();
    assert!(inputs.len() > 300, "{} of 500 differ", inputs.len());
    assert_eq!(inputs, (0..500).map(mutate).collect());
    assert!(inputs.iter().any(|input| input.len() > 1_000));
}
