//! The battery's `@watch`: a subscription, and changes of which nothing may be told.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::Step;
use super::steps::{Seen, Wire};
use crate::support::Dirs;
use crate::watch::Listening;

/// Longer than the server keeps changes back to tell them as one.
const SETTLED: Duration = Duration::from_millis(1500);

/// Makes the changes, and then one that is told: what comes before that is an event too many.
pub(super) fn run(step: &Step, dirs: &Dirs, wire: &Wire<'_>) -> Result<Vec<Seen>, String> {
    let Wire::Http(server, _) = wire else { return Err("needs HTTP".to_owned()) };
    let started = Instant::now();
    let uri = dirs.fill_in(step.args["uri"].as_str().unwrap());
    let last = format!("{uri}/sub/last.txt");
    let mut listening = Listening::open(server, &[uri.clone(), last.clone()]);
    let acknowledged = listening.acknowledged();
    if acknowledged["resourceSubscriptions"] != json!([uri, last]) {
        return Err(format!("not watched: {acknowledged}"));
    }
    while server.audit().counts().1 == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    for trigger in step.args["trigger"].as_array().unwrap() {
        let path = trigger.as_str().unwrap().strip_prefix("write:").unwrap();
        fs::write(dirs.fill_in(path), "CANARY-CHANGED").unwrap();
    }
    std::thread::sleep(SETTLED);
    dirs.write("work/sub/last.txt", "PUBLIC");
    let told = listening.updated();
    if told != last {
        return Err(format!("an event of {told}"));
    }
    let seen = |message: Value| Seen {
        tool: step.tool.clone(),
        outcome: "ok",
        raw: message.to_string().into_bytes(),
        message,
        took: started.elapsed(),
    };
    Ok(vec![seen(acknowledged), seen(json!(told))])
}
