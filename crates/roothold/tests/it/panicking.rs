//! A tool that panics: its call fails and is on record, and nothing else notices.
//!
//! The servers are in this process: none that is shipped has a tool that can be made to panic.

use std::net::SocketAddr;
use std::path::PathBuf;

use roothold::config::{self, Source};
use roothold::core::{Action, Actions, Fault, FilePath, Verb};
use roothold::schemars::{self, JsonSchema};
use roothold::{About, Call, Effect, Permits, Roothold, Text, Tool};
use roothold_edge::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{Audit, Conn, Dirs, Reply, Request};

/// Where the tool panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Place {
    Nowhere,
    /// While it says what it would touch, before policy decides.
    Actions,
    /// Before it waits for anything.
    Run,
    /// After it has waited.
    Later,
    Blocking,
    AtOnce,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    path: String,
    place: Place,
    #[serde(default)]
    writes: bool,
}

struct Panics;

/// A panic where it is due.
fn due(wanted: Place, here: Place) {
    assert_ne!(wanted, here, "due");
}

impl Tool for Panics {
    const NAME: &'static str = "panics";
    type Input = Input;
    type Output = Text;

    fn about(&self) -> About {
        let effect = Effect::Writes { destructive: true, idempotent: false };
        About { title: "Panics", description: "Panics.", effect }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        due(input.place, Place::Actions);
        let verb = if input.writes { Verb::Write } else { Verb::Read };
        Ok(Actions::one(Action::file(verb, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, _permits: Permits, input: Input) -> Result<Text, Fault> {
        let place = input.place;
        due(place, Place::Run);
        tokio::task::yield_now().await;
        due(place, Place::Later);
        call.blocking(move |_| {
            due(place, Place::Blocking);
            Ok(())
        })
        .await?;
        let at_once = call.at_once(|_| {
            due(place, Place::AtOnce);
            Some(Ok(()))
        });
        at_once.unwrap_or(Ok(()))?;
        Ok(Text { text: "it did not".to_owned(), note: None })
    }
}

/// A server of this process, with the tool.
struct Here {
    address: SocketAddr,
    audit: PathBuf,
    _runtime: Runtime,
}

impl Here {
    fn start(dirs: &Dirs) -> Self {
        let (audit, state) = (dirs.base().join("audit"), dirs.base().join("state"));
        // Fewer than panic in the end: whoever panics gives its place back.
        let limits = "calls_max = 3\ncalls_per_principal_max = 2\n";
        let places = format!(
            "[audit]\ndir = \"{}\"\n[state]\ndir = \"{}\"\n[telemetry]\nlisten = \"\"\n",
            audit.display(),
            state.display()
        );
        dirs.write("roothold.toml", dirs.config(&format!("{limits}{places}")));
        let file = Some(dirs.base().join("roothold.toml"));
        let config = config::load(&Source { file, overrides: Vec::new() }).unwrap();
        let runtime = Runtime::new().unwrap();
        let server = Roothold::builder().config(config).tool(Panics).build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server.serve(listener, Shutdown::new()));
        Self { address, audit, _runtime: runtime }
    }

    fn send(&self, request: &Request) -> Reply {
        Conn::open(self.address).send(request)
    }

    /// The last two lines that calls left.
    fn last(&self) -> [Value; 2] {
        let audit = Audit::read(&self.audit);
        let (intents, outcomes) = audit.counts();
        assert_eq!(intents, outcomes, "an outcome for each intent");
        let last = |kind: &str| audit.of_kind(kind).last().unwrap().clone();
        let [intent, outcome] = ["intent", "outcome"].map(last);
        assert_eq!(intent["call"], outcome["call"]);
        [intent, outcome]
    }
}

fn panics(dirs: &Dirs, place: &str, writes: bool) -> Request {
    let path = dirs.fill_in("$ROOT/hello.txt");
    Request::call("panics", &json!({"path": path, "place": place, "writes": writes}))
}

/// With a token for its progress a call goes by way of the SDK's transport.
fn with_progress(request: Request) -> Request {
    request.edit(|body| body["params"]["_meta"]["progressToken"] = "p".into())
}

#[test]
fn a_panic_fails_its_call_is_on_record_and_stops_nothing_else() {
    let dirs = Dirs::with_fixture();
    let server = Here::start(&dirs);
    let mut failed = 0;
    for place in ["actions", "run", "later", "blocking", "at_once"] {
        for (writes, progress) in [(false, false), (true, false), (false, true), (true, true)] {
            let what = format!("{place}, writes {writes}, progress {progress}");
            let request = panics(&dirs, place, writes);
            let request = if progress { with_progress(request) } else { request };
            let answer = server.send(&request).json();
            let said = if ["blocking", "at_once"].contains(&place) {
                let result = &answer["result"];
                assert_eq!(result["_meta"]["io.roothold/error"]["kind"], "internal", "{answer}");
                &result["content"][0]["text"]
            } else {
                assert_eq!(answer["error"]["code"], -32603, "{what}: {answer}");
                &answer["error"]["message"]
            };
            let said = said.as_str().unwrap();
            assert!(said.starts_with("internal: ") && !said.contains("due"), "{what}: {said}");
            failed += 1;
            let [intent, outcome] = server.last();
            let decision = if place == "actions" { "deny" } else { "allow" };
            assert_eq!(
                (&intent["tool"], &intent["decision"]),
                (&json!("panics"), &json!(decision))
            );
            assert_eq!(
                (&outcome["ok"], &outcome["fault"]),
                (&json!(false), &json!("internal")),
                "{what}"
            );
            // The same tool, another one, and whether it is ready.
            let done = server.send(&panics(&dirs, "nowhere", writes));
            assert_eq!(done.text(), "it did not", "{what}");
            let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
            assert!(
                server
                    .send(&Request::call("read_text_file", &read))
                    .text()
                    .contains("PUBLIC-HELLO")
            );
            assert_eq!(server.send(&Request::get("/ready")).status, 200, "{what}");
        }
    }
    assert_eq!(Audit::read(&server.audit).counts(), (3 * failed, 3 * failed));
}

#[test]
fn a_part_of_a_batch_that_panics_leaves_the_others_their_answers() {
    let dirs = Dirs::with_fixture();
    let server = Here::start(&dirs);
    let path = dirs.fill_in("$ROOT/hello.txt");
    let read = json!({"tool": "read_text_file", "arguments": {"path": path}});
    let panics =
        |place: &str| json!({"tool": "panics", "arguments": {"path": path, "place": place}});
    let calls =
        [read.clone(), panics("run"), panics("later"), panics("blocking"), panics("actions"), read];
    let answer = server.send(&Request::call("batch", &json!({"calls": calls}))).result();
    let results = answer["structuredContent"]["results"].as_array().unwrap();
    let ok: Vec<bool> = results.iter().map(|result| result["ok"] == true).collect();
    assert_eq!(ok, [true, false, false, false, false, true], "{answer}");
    for failed in &results[1..5] {
        assert!(
            failed["content"][0]["text"].as_str().unwrap().starts_with("internal: "),
            "{failed}"
        );
    }
    let audit = Audit::read(&server.audit);
    assert_eq!(audit.counts(), (7, 7));
    assert_eq!(audit.of_kind("outcome").filter(|line| line["fault"] == "internal").count(), 4);
}
