//! Every target over its corpus, without libFuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpus is read from the source tree")]

use std::fs;
use std::path::Path;

use roothold_fuzz::TARGETS;

/// How much of a seed is cut off at either end.
const CUT_BYTES_MAX: usize = 64;

#[test]
fn every_target_holds_over_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let mut seeds = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let data = fs::read(entry.unwrap().path()).unwrap();
            // What is left of a seed is an input as good as any.
            for cut in 0..=data.len().min(CUT_BYTES_MAX) {
                target(&data[cut..]);
                target(&data[..data.len() - cut]);
            }
            seeds += 1;
        }
        assert!(seeds > 3, "{name} has {seeds} seeds");
    }
}

#[test]
fn every_target_has_a_binary() {
    let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut found: Vec<String> = fs::read_dir(binaries)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
}
