//! Change notifications: `subscriptions/listen`, and `resources/subscribe` of the older revisions.
//!
//! A subscription is a set of URIs that one client watches. It is decided and recorded as a call
//! when it is made (`tools`), and again each time something is told. What has changed is found
//! out by looking through the gate ([`roothold_core::files::Watched`]); the kernel's hints only say
//! when to look, and where there are none, a clock does (`hub`, `subscription`). What was found is
//! kept as one mark a URI until the client has taken it, so a client that is slow costs nothing.
//!
//! **Invariant**: what is kept for a client is bounded by the URIs that it named, however often
//! they change, and it is gone when the request or the session ends.

mod hub;
mod listen;
mod sessions;
mod slot;
mod subscription;
mod tool_list;
mod tools;

pub(crate) use hub::Hub;
pub(crate) use listen::{accepted, listen};
pub(crate) use sessions::{subscribe, unsubscribe};
pub(crate) use tool_list::tell_session;
pub(crate) use tools::add;
