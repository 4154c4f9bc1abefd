//! The attack battery against the real binary: every case it holds, and variations of each
//! kind. A case runs, or is listed with the reason why it cannot.

mod case;
mod check;
mod race;
#[cfg(feature = "datasets")]
mod replay;
mod setup;
mod steps;
mod variations;
mod watched;

use std::sync::Mutex;

use case::{Case, battery};
use check::Verdict;
#[cfg(feature = "datasets")]
pub(crate) use replay::paths_are_as_for_reading;

/// Cases that cannot be shown with files and calls alone, each with its reason.
const NOT_HERE: &[(&str, &str)] = &[];

#[test]
fn every_case_runs_over_http_or_is_listed() {
    let cases = battery();
    let listed: Mutex<Vec<(String, String)>> = Mutex::default();
    let failed: Mutex<Vec<String>> = Mutex::default();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    match run(case) {
                        Verdict::Passed => {}
                        Verdict::NotRun(why) => {
                            listed.lock().unwrap().push((case.id.clone(), why));
                        }
                        Verdict::Failed(why) => {
                            failed.lock().unwrap().push(format!("{}: {why}", case.id));
                        }
                    }
                }
            });
        }
    });
    let (mut listed, failed) = (listed.into_inner().unwrap(), failed.into_inner().unwrap());
    listed.sort();
    let ran = cases.len() - listed.len();
    println!("{} cases: {ran} ran, {} listed", cases.len(), listed.len());
    for (id, why) in &listed {
        println!("not run: {id}: {why}");
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(ran >= 103, "only {ran} cases ran; a tool or a right is missing");
}

fn run(case: &Case) -> Verdict {
    if let Some((_, why)) = NOT_HERE.iter().find(|(id, _)| *id == case.id) {
        return Verdict::NotRun((*why).to_owned());
    }
    let caught = std::panic::catch_unwind(|| check::over_http(case));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Verdict::Failed(format!("panicked: {}", text.unwrap_or("?")))
    })
}

#[test]
fn a_handful_of_cases_runs_over_stdio() {
    let groups =
        ["control", "traversal", "absolute", "exclude", "exclude-bypass", "uri", "symlink"];
    let mut ran = 0;
    for case in battery().iter().filter(|case| groups.contains(&case.group.as_str())) {
        if case.attacker.is_some() || case.calls.iter().any(|call| call.tool.starts_with('@')) {
            continue;
        }
        match check::over_stdio(case) {
            Verdict::Passed => ran += 1,
            Verdict::NotRun(_) => {}
            Verdict::Failed(why) => panic!("{}: {why}", case.id),
        }
    }
    println!("{ran} cases ran over stdio");
    assert!(ran >= 35, "{ran}");
}
