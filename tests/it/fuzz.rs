//! Whatever comes through a door is answered: no panic, no endless work, and what is accepted keeps its promises.
//!
//! Every file of `fuzz/corpus/<target>/` is tried as it is, and then so many mutations of them. The mutations are the same in every run,
//! so what fails once fails again; `REDIAL_FUZZ_ROUNDS` asks for more than the few that every run of the tests affords. An input that
//! found a fault goes into the corpus under a name that says which.

mod mutator;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use mutator::Mutator;

/// Mutations of each target that every run of the tests tries.
const ROUNDS_DEFAULT: u64 = 400;
/// No input takes a thousandth of it; a machine would have to be very busy for that.
const PATIENCE: Duration = Duration::from_mins(1);

/// Something that takes input from strangers.
struct Target {
    /// The name of its corpus.
    name: &'static str,
    /// What a mutation may put in.
    words: &'static [&'static str],
    /// Takes one input, and holds what comes of it to what is promised.
    run: fn(&[u8]),
}

fn rounds() -> u64 {
    let rounds = std::env::var("REDIAL_FUZZ_ROUNDS").ok();
    rounds.map_or(ROUNDS_DEFAULT, |rounds| rounds.parse().expect("REDIAL_FUZZ_ROUNDS is a number"))
}

/// The files of a target's corpus, in one order on every machine.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{} has too little to begin with", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Tries one input after the other. Each lies in the file before it is tried: one that ends the whole process is known, too.
fn try_all(target: &Target, file: &Path, tried: &Sender<()>) {
    let corpus = corpus(target.name);
    let attempt = |input: &[u8]| {
        std::fs::write(file, input).unwrap();
        let passed = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok();
        passed && tried.send(()).is_ok()
    };
    let mutants = (0..rounds()).map(|round| Mutator::new(target.name, round).mutate(&corpus, target.words));
    if corpus.iter().cloned().chain(mutants).all(|input| attempt(&input)) {
        std::fs::remove_file(file).unwrap();
    }
}

fn fuzz(target: &'static Target) {
    fuzz_within(target, Path::new(env!("CARGO_TARGET_TMPDIR")));
}

/// Tries everything; an input that fails, or does not come to an end, stays in a file of this folder.
fn fuzz_within(target: &'static Target, folder: &Path) {
    let file = folder.join(format!("finding-{}", target.name));
    let (tried, ticks) = channel();
    let trying = std::thread::spawn({
        let file = file.clone();
        move || try_all(target, &file, &tried)
    });
    loop {
        match ticks.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{}", finding(target, &file, "takes too long")),
        }
    }
    trying.join().unwrap();
    assert!(!file.exists(), "{}", finding(target, &file, "fails"));
}

fn finding(target: &Target, file: &Path, what: &str) -> String {
    let input = std::fs::read(file).unwrap();
    let shown = input[..input.len().min(300)].escape_ascii();
    format!(
        "an input of {} bytes {what}; it is in {}, and belongs into fuzz/corpus/{}:\n{shown}",
        input.len(),
        file.display(),
        target.name
    )
}

#[test]
fn no_submission_is_too_strange() {
    fuzz(&targets::SUBMISSION);
}

#[test]
fn no_ticket_message_is_too_strange() {
    fuzz(&targets::TICKETS);
}

#[test]
fn no_configuration_is_too_strange() {
    fuzz(&targets::CONFIGURATION);
}

#[test]
fn no_retry_after_is_too_strange() {
    fuzz(&targets::RETRY_AFTER);
}

#[test]
fn no_condition_is_too_strange() {
    fuzz(&targets::CONDITION);
}

#[test]
fn no_template_is_too_strange() {
    fuzz(&targets::TEMPLATE);
}

#[test]
fn no_cursor_is_too_strange() {
    fuzz(&targets::CURSOR);
}

#[test]
fn no_address_is_too_strange() {
    fuzz(&targets::ADDRESS);
}

#[test]
fn no_signed_message_is_too_strange() {
    fuzz(&targets::SIGNATURE);
}

#[test]
fn every_corpus_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut known: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn what_fails_is_found_and_kept() {
    static FRAGILE: Target =
        Target { name: "cursor", words: &["!"], run: |input| assert!(!input.contains(&b'!')) };
    let folder = tempfile::tempdir().unwrap();
    let found = catch_unwind(|| fuzz_within(&FRAGILE, folder.path())).unwrap_err();
    let told = found.downcast_ref::<String>().unwrap();
    assert!(told.contains("fails") && told.contains('!'), "{told}");
    assert!(std::fs::read(folder.path().join("finding-cursor")).unwrap().contains(&b'!'));
}
