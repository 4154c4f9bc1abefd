//! Prints what one audited call costs: `cargo run --release -p roothold-core --example audit_cost -- DIR`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement for a terminal"
)]

use std::time::{Duration, Instant};

use roothold_core::audit::{
    Action, AuditLog, AuditOptions, Decision, Intent, Outcome, Reads, verify,
};

const CALLS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("give a directory for the log")?;
    for reads in [Reads::Written, Reads::Queued] {
        for threads in [1, 8] {
            let queue_bytes_max = 64 * 1024 * 1024;
            let options = AuditOptions { reads, queue_bytes_max, ..AuditOptions::default() };
            let log = AuditLog::open(dir.as_ref(), options)?;
            let start = Instant::now();
            std::thread::scope(|scope| {
                let workers: Vec<_> =
                    (0..threads).map(|_| scope.spawn(|| calls(&log, CALLS / threads))).collect();
                workers.into_iter().all(|worker| matches!(worker.join(), Ok(true)))
            });
            let each = start.elapsed() / CALLS;
            log.close()?;
            println!("{reads:?}, {threads} threads: {each:?} a call (intent and outcome)");
            let start = Instant::now();
            let file = std::io::BufReader::new(std::fs::File::open(log.path())?);
            let lines = verify(file)?.lines;
            println!("  verify: {lines} lines in {:?}", start.elapsed());
        }
    }
    Ok(())
}

fn calls(log: &AuditLog, count: u32) -> bool {
    let target = "file:///workspace/mcp-demo/README.md";
    let actions = [Action { verb: "read", target, denied: None, temp: None, statement: None }];
    (0..count).all(|_| {
        let call = log.next_call();
        let intent = Intent {
            call,
            principal: "alice",
            tool: "read_text_file",
            actions: &actions,
            decision: Decision::Allow,
            rule: "policy.read[0]",
            request_id: "0196f3a2-7d4e",
        };
        let duration = Duration::from_micros(40);
        let outcome = Outcome { call, fault: None, rule: None, bytes_out: 1_234, duration };
        log.intent_read(&intent).is_ok() && log.outcome(&outcome).is_ok()
    })
}
