//! Making a subscription and telling of a change, as internal tools: decided and recorded by the
//! one call path.

use std::time::Duration;

use roothold_core::files::Watched;
use roothold_core::{Action, Actions, Fault, FaultKind, FilePath, Permit, Policy, Principal, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subscription::Subscription;
use crate::call::Call;
use crate::catalog::Catalog;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(super) const LISTEN: &str = "subscriptions/listen";
pub(super) const SUBSCRIBE: &str = "resources/subscribe";
pub(super) const UPDATED: &str = "notifications/resources/updated";

/// What is asked of one URI: that it may be read, if it is a file, or listed, if it is a directory.
const VERBS: [Verb; 2] = [Verb::Read, Verb::List];

/// Adds the internal tools.
pub(crate) fn add(catalog: &mut Catalog) {
    catalog.add(Subscribe::<true>);
    catalog.add(Subscribe::<false>);
    catalog.add(Tell);
}

/// The actions by which a URI may be watched.
fn actions_of(uri: &str) -> Result<[Action; 2], Fault> {
    let path = FilePath::parse_uri(uri)?;
    Ok(VERBS.map(|verb| Action::file(verb, path.clone())))
}

/// The permits by which a policy lets somebody watch a URI; none where it does not.
pub(super) fn permits_of(policy: &Policy, principal: &Principal, uri: &str) -> Vec<Permit> {
    let decided = actions_of(uri).and_then(|[read, list]| {
        policy.decide_each(principal, LISTEN, &Actions::many(read, [list]))
    });
    decided.into_iter().flatten().flatten().collect()
}

fn actions<'a>(uris: impl IntoIterator<Item = &'a String>) -> Result<Actions, Fault> {
    let each = uris.into_iter().map(|uri| actions_of(uri));
    let mut all = each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
    let none = || Fault::invalid("no URI is named; name one file:// URI at least");
    let first = all.next().ok_or_else(none)?;
    Ok(Actions::many(first, all))
}

/// The URIs that may be watched, with the permits of each, and why the first other may not.
fn allowed(uris: Vec<String>, permits: Permits) -> (Vec<(String, Vec<Permit>)>, Option<Fault>) {
    let mut decided = permits.each();
    let mut refused = None;
    let mut allowed = Vec::new();
    for uri in uris {
        let mut own = Vec::new();
        let mut why = None;
        for permit in decided.by_ref().take(VERBS.len()) {
            match permit {
                Ok(permit) => own.push(permit),
                Err(fault) => why = why.or(Some(fault)),
            }
        }
        if own.is_empty() {
            refused = refused.or(why);
        } else {
            allowed.push((uri, own));
        }
    }
    (allowed, refused)
}

/// What was asked for and is allowed.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Uris {
    pub(super) uris: Vec<String>,
}

/// By `subscriptions/listen`, or in the way of the older revisions.
struct Subscribe<const LISTENS: bool>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Subscribed {
    /// Where the subscription is put.
    slot: u64,
    uris: Vec<String>,
}

impl<const LISTENS: bool> Tool for Subscribe<LISTENS> {
    const NAME: &'static str = if LISTENS { LISTEN } else { SUBSCRIBE };
    const INDEPENDENT: bool = true;
    type Input = Subscribed;
    type Output = Structured<Uris>;

    fn about(&self) -> About {
        let description = "Be told of changes of files and of directories' entries";
        About { title: "Subscribe", description, effect: Effect::Reads }
    }

    fn actions(&self, input: &Subscribed) -> Result<Actions, Fault> {
        actions(&input.uris)
    }

    async fn run(
        &self,
        call: Call,
        permits: Permits,
        input: Subscribed,
    ) -> Result<Structured<Uris>, Fault> {
        let limits = call.limits();
        let uris_max = limits.subscription_uris_max;
        if input.uris.len() > uris_max {
            let count = input.uris.len();
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "{count} URIs are more than the {uris_max} of one subscription (limits.subscription_uris_max); watch directories instead of their files, or fewer"
                ),
            ));
        }
        let (allowed, refused) = allowed(input.uris, permits);
        if allowed.is_empty() {
            return Err(refused.unwrap_or_else(|| Fault::internal("nothing was decided")));
        }
        let uris: Vec<String> = allowed.iter().map(|(uri, _)| uri.clone()).collect();
        let interval = Duration::from_secs(limits.notification_interval_seconds);
        let poll = Duration::from_secs(limits.watch_poll_seconds);
        let place = call.hub().place(call.principal(), uris.len())?;
        let watched =
            allowed.into_iter().map(|(uri, permits)| (uri, Watched::new(permits))).collect();
        let decided_by = call.policy().clone();
        let begun = call.blocking(move |budget| {
            Subscription::begin(place, watched, decided_by, (interval, poll), budget)
        });
        call.hub().slots.fill(input.slot, begun.await?);
        Ok(Structured { value: Uris { uris }, text: String::new(), note: None })
    }
}

/// Telling that something has changed.
struct Tell;

impl Tool for Tell {
    const NAME: &'static str = UPDATED;
    const INDEPENDENT: bool = true;
    type Input = Uris;
    type Output = Structured<Uris>;

    fn about(&self) -> About {
        let description = "Tell a subscriber what has changed";
        About { title: "Notify", description, effect: Effect::Reads }
    }

    fn actions(&self, input: &Uris) -> Result<Actions, Fault> {
        actions(&input.uris)
    }

    async fn run(
        &self,
        _call: Call,
        permits: Permits,
        input: Uris,
    ) -> Result<Structured<Uris>, Fault> {
        let (allowed, _) = allowed(input.uris, permits);
        let uris = allowed.into_iter().map(|(uri, _)| uri).collect();
        Ok(Structured { value: Uris { uris }, text: String::new(), note: None })
    }
}
