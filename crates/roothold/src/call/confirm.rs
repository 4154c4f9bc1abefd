//! Asking the client's user before something is done.
//!
//! A call that must be confirmed and is not is answered with a question and a sealed state, and
//! touches nothing. Made again with the same arguments, that state and the user's answer, it runs.
//! In revision 2026-07-28 the client makes both calls; for an older client with a session the
//! handler makes the second one when the user has answered.
//!
//! **Invariant**: what runs is what was shown: a state opens for its tool, its principal and its
//! subject only, for a limited time, and in one process once. It grants nothing: policy decides on
//! the second call as on the first.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::handle::Sealer;
use roothold_core::{Fault, FaultKind, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::Call;

/// How long an answer is good for, from the question on.
const STATE_TTL: Duration = Duration::from_mins(10);
/// The most states that are remembered as used; each is forgotten when it would not open any more.
const USED_MAX: usize = 10_000;
/// The most users who are waited for at once, in sessions.
const WAITING_MAX: usize = 64;
/// The most of one principal.
const WAITING_PER_PRINCIPAL_MAX: usize = 8;
/// The longest question, in bytes: a person is to read it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The name of the question among those of a call, and of the field in its form.
pub(crate) const CONFIRM: &str = "confirm";
/// The rule by which a call is refused that was not agreed to.
const RULE_CONFIRMATION: &str = "confirmation";
/// The rule by which a call is refused whose client lacks something.
pub(crate) const RULE_CAPABILITIES: &str = "client_capabilities";

/// What a client can be asked, and what was said when it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialogue {
    /// Whether its user can be asked by a form.
    pub(crate) can_ask: bool,
    /// What was said to the question of a call before.
    pub(crate) said: Option<Arc<Said>>,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct Said {
    /// The state that came with the question.
    pub(crate) state: String,
    /// What the client says that its user did, if it says anything.
    pub(crate) answer: Option<Value>,
}

impl Said {
    /// The answer among those that a client gives with a call.
    pub(crate) fn new(state: String, answers: Option<BTreeMap<String, Value>>) -> Self {
        Self { state, answer: answers.and_then(|mut answers| answers.remove(CONFIRM)) }
    }
}

/// A question to the client's user; nothing was done yet.
#[derive(Debug)]
pub(crate) struct Question {
    /// What the user reads.
    pub(crate) message: String,
    /// What the next call must carry.
    pub(crate) state: String,
}

/// What a state holds: what the user was shown.
#[derive(Serialize, Deserialize)]
struct Shown {
    subject: String,
}

/// What the user did.
enum Reply {
    Agreed,
    Refused,
    /// Nothing that can be read; the protocol wants the question to be asked again.
    Nothing,
}

impl Reply {
    fn of(answer: Option<&Value>) -> Self {
        let Some(Value::Object(answer)) = answer else { return Self::Nothing };
        match answer.get("action").and_then(Value::as_str) {
            Some("accept") => {
                let agreed = answer.get("content").and_then(|content| content.get(CONFIRM));
                if agreed == Some(&Value::Bool(true)) { Self::Agreed } else { Self::Refused }
            }
            Some("decline" | "cancel") => Self::Refused,
            _ => Self::Nothing,
        }
    }
}

impl Call {
    /// Whether the user has agreed to `subject`: `None` if so, else the question to answer with.
    /// `message` shows the user everything that matters of the subject.
    ///
    /// # Errors
    /// `Denied`, when the user did not agree or the client cannot ask; `Invalid`, for a state that
    /// cannot be used; `Limit`, for a message that is too long to be read.
    pub(crate) fn confirmed(
        &self,
        subject: &impl Serialize,
        message: impl FnOnce() -> String,
    ) -> Result<Option<Question>, Fault> {
        let (sealer, confirmations) = (&self.engine.sealer, &self.engine.confirmations);
        let subject = digest(subject)?;
        if let Some(said) = &self.dialogue.said {
            open(sealer, self.tool, self.principal.name(), &said.state, &subject)?;
            match Reply::of(said.answer.as_ref()) {
                Reply::Agreed => {
                    confirmations.used().take(&said.state, Instant::now())?;
                    return Ok(None);
                }
                Reply::Refused => return Err(refused()),
                Reply::Nothing => {}
            }
        }
        if !self.dialogue.can_ask {
            return Err(cannot_be_asked(self.nested));
        }
        let message = message();
        if message.len() > MESSAGE_BYTES_MAX {
            let text = format!(
                "a person is to confirm this and cannot read {} bytes; at most {MESSAGE_BYTES_MAX} are \
                 shown: do it in smaller parts",
                message.len()
            );
            return Err(Fault::new(FaultKind::Limit, text));
        }
        let purpose = purpose(self.tool);
        let state = sealer.seal(&purpose, self.principal.name(), STATE_TTL, &Shown { subject });
        Ok(Some(Question { message, state: state.map_err(Fault::internal)? }))
    }
}

fn purpose(tool: &str) -> String {
    format!("confirm/{tool}")
}

fn open(
    sealer: &Sealer,
    tool: &str,
    principal: &str,
    state: &str,
    subject: &str,
) -> Result<(), Fault> {
    match sealer.open::<Shown>(&purpose(tool), principal, state) {
        Ok(shown) if shown.subject == *subject => Ok(()),
        Ok(_) => Err(Fault::invalid(
            "what was confirmed is not what this call would do; call again without requestState",
        )),
        Err(error) => Err(Fault::invalid(
            "requestState is expired or not of this call; call again without it",
        )
        .with_source(error)),
    }
}

/// Stands for what is to be confirmed: all of it, since what is not bound could be exchanged.
fn digest(subject: &impl Serialize) -> Result<String, Fault> {
    let json = serde_json::to_vec(subject).map_err(Fault::internal)?;
    Ok(Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn refused() -> Fault {
    let rule = Rule { name: RULE_CONFIRMATION, detail: None };
    Fault::denied(
        rule,
        "the user was asked and did not agree, so nothing was done; do not repeat it unless they ask for it",
    )
}

fn cannot_be_asked(nested: bool) -> Fault {
    let rule = Rule { name: RULE_CAPABILITIES, detail: Some("elicitation".to_owned()) };
    let hint = if nested {
        "a person must confirm this, which cannot be asked inside of a batch; call the tool by itself"
    } else {
        "a person must confirm this, and this client does not say that it can ask one; use a client that \
         declares elicitation, call with dry_run, or ask the operator, who can set confirm = \"never\""
    };
    Fault::denied(rule, hint)
}

/// What is known of questions between calls.
#[derive(Default)]
pub(crate) struct Confirmations {
    used: Mutex<Used>,
    waiting: Mutex<HashMap<Arc<str>, usize>>,
    /// Cancelled when users are not waited for any more.
    pub(crate) end: CancellationToken,
}

impl Confirmations {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the users who are waited for; free again when it is dropped.
    ///
    /// # Errors
    /// `Busy`, if there are as many as there may be.
    pub(crate) fn wait(&self, principal: Arc<str>) -> Result<Waiting<'_>, Fault> {
        let mut waiting = self.waiting();
        let own = waiting.get(&principal).copied().unwrap_or_default();
        if own >= WAITING_PER_PRINCIPAL_MAX || waiting.values().sum::<usize>() >= WAITING_MAX {
            let text =
                "too many questions wait for an answer just now; try again when some are answered";
            return Err(Fault::new(FaultKind::Busy, text));
        }
        waiting.insert(Arc::clone(&principal), own + 1);
        drop(waiting);
        Ok(Waiting { confirmations: self, principal })
    }
}

/// A place among the users who are waited for.
pub(crate) struct Waiting<'a> {
    confirmations: &'a Confirmations,
    principal: Arc<str>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.confirmations.waiting();
        let left = waiting.get(&self.principal).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            waiting.remove(&self.principal);
        } else {
            waiting.insert(Arc::clone(&self.principal), left);
        }
    }
}

/// The states that were used, so that a repeated request does nothing twice.
#[derive(Default)]
struct Used {
    known: HashSet<[u8; 32]>,
    by_age: VecDeque<(Instant, [u8; 32])>,
}

impl Used {
    /// Uses a state.
    ///
    /// # Errors
    /// `Conflict`, if it was used before; `Busy`, if too many were used of late to remember more.
    fn take(&mut self, state: &str, now: Instant) -> Result<(), Fault> {
        while let Some((at, old)) = self.by_age.front().copied() {
            if now.saturating_duration_since(at) <= STATE_TTL {
                break;
            }
            self.by_age.pop_front();
            self.known.remove(&old);
        }
        let id: [u8; 32] = Sha256::digest(state).into();
        if self.known.contains(&id) {
            return Err(Fault::new(
                FaultKind::Conflict,
                "this confirmation was used already; look whether it was done, and call again without \
                 requestState to have it confirmed anew",
            ));
        }
        if self.known.len() >= USED_MAX {
            let text = "too much was confirmed in the last minutes; try again in some minutes";
            return Err(Fault::new(FaultKind::Busy, text));
        }
        self.known.insert(id);
        self.by_age.push_back((now, id));
        Ok(())
    }
}

/// A text as a person is to see it: what would not show, or would change the order in which the rest
/// shows, is written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hides = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}');
        if hides || (c.is_control() && !matches!(c, '\n' | '\t')) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sealed(sealer: &Sealer, tool: &str, subject: &str) -> String {
        let shown = Shown { subject: subject.to_owned() };
        sealer.seal(&purpose(tool), "anna", STATE_TTL, &shown).unwrap()
    }

    #[test]
    fn a_state_is_good_for_what_was_shown_to_whom_and_for_nothing_else() {
        let sealer = Sealer::ephemeral().unwrap();
        let state = sealed(&sealer, "t", "s");
        assert!(open(&sealer, "t", "anna", &state, "s").is_ok());
        for (tool, principal, subject) in
            [("u", "anna", "s"), ("t", "ben", "s"), ("t", "anna", "r")]
        {
            let fault = open(&sealer, tool, principal, &state, subject).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Invalid);
            assert!(fault.public().contains("without"), "{fault}");
        }
        let cursor = sealer.seal("cursor/t", "anna", STATE_TTL, &json!({"subject": "s"})).unwrap();
        let others = Sealer::ephemeral().unwrap();
        for forged in [cursor, sealed(&others, "t", "s"), String::new(), "x".repeat(100_000)] {
            assert!(open(&sealer, "t", "anna", &forged, "s").is_err());
        }
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        let agreed = json!({"action": "accept", "content": {"confirm": true}});
        assert!(matches!(Reply::of(Some(&agreed)), Reply::Agreed));
        for refused in [
            json!({"action": "accept"}),
            json!({"action": "accept", "content": {"confirm": false}}),
            json!({"action": "accept", "content": {"confirm": "true"}}),
            json!({"action": "accept", "content": {"confirm": 1}}),
            json!({"action": "accept", "content": [true]}),
            json!({"action": "decline", "content": {"confirm": true}}),
            json!({"action": "cancel"}),
        ] {
            assert!(matches!(Reply::of(Some(&refused)), Reply::Refused), "{refused}");
        }
        for nothing in [json!(null), json!(true), json!([]), json!({}), json!({"action": "Accept"})]
        {
            assert!(matches!(Reply::of(Some(&nothing)), Reply::Nothing), "{nothing}");
        }
        assert!(matches!(Reply::of(None), Reply::Nothing));
    }

    #[test]
    fn a_state_is_used_once_and_forgotten_when_it_is_over() {
        let (mut used, now) = (Used::default(), Instant::now());
        used.take("a", now).unwrap();
        assert_eq!(used.take("a", now).unwrap_err().kind(), FaultKind::Conflict);
        used.take("b", now + STATE_TTL).unwrap();
        let later = now + STATE_TTL + Duration::from_secs(1);
        used.take("c", later).unwrap();
        assert_eq!(used.known.len(), 2, "`a` would not open any more");
        for n in 2..USED_MAX {
            used.take(&n.to_string(), later).unwrap();
        }
        assert_eq!(used.take("one more", later).unwrap_err().kind(), FaultKind::Busy);
        let much_later = later + STATE_TTL + Duration::from_secs(1);
        used.take("one more", much_later).unwrap();
        assert_eq!((used.known.len(), used.by_age.len()), (1, 1));
    }

    #[test]
    fn one_principal_cannot_take_every_place() {
        let confirmations = Confirmations::default();
        let wait = |who: &str| confirmations.wait(who.into());
        let mut held: Vec<_> =
            (0..WAITING_PER_PRINCIPAL_MAX).map(|_| wait("anna").unwrap()).collect();
        assert_eq!(wait("anna").err().map(|fault| fault.kind()), Some(FaultKind::Busy));
        for other in held.len()..WAITING_MAX {
            held.push(wait(&format!("p{other}")).unwrap());
        }
        assert_eq!(wait("ben").err().map(|fault| fault.kind()), Some(FaultKind::Busy));
        held.clear();
        assert!(confirmations.waiting().is_empty());
        assert!(wait("anna").is_ok());
    }

    #[test]
    fn nothing_of_a_text_is_hidden_from_who_confirms_it() {
        let text = "SELECT 1;\n\tSELECT '\u{202e}\u{200b}\u{7}\r\u{2028}\u{e0041}é漢'";
        let shown = "SELECT 1;\n\tSELECT '\\u{202e}\\u{200b}\\u{7}\\u{d}\\u{2028}\\u{e0041}é漢'";
        assert_eq!(visible(text), shown);
    }

    #[test]
    fn every_part_of_a_subject_counts() {
        let of = |sql: &str, parameters: Value| digest(&json!([sql, parameters])).unwrap();
        assert_eq!(of("a", json!([1])), of("a", json!([1])));
        assert_ne!(of("a", json!([1])), of("a", json!([2])));
        assert_ne!(of("a", json!([1])), of("a", json!(["1"])));
        assert_ne!(of("a b", json!([])), of("a  b", json!([])));
    }
}
