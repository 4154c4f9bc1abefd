//! Sealed handles: the input is a payload, and how its handle is changed.

use std::sync::LazyLock;
use std::time::Duration;

use roothold_core::handle::{HandleKey, Sealer};

static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    let key = |kid: &str, byte| HandleKey { kid: kid.to_owned(), secret: [byte; 32] };
    Sealer::new(vec![key("new", 1), key("old", 2)]).expect("a sealer")
});

/// Asks what must hold of a handle, of what is nearly one, and of what is none.
pub fn run(data: &[u8]) {
    let open = |purpose: &str, principal: &str, handle: &str| {
        SEALER.open::<Vec<u8>>(purpose, principal, handle)
    };
    let text = String::from_utf8_lossy(data);
    assert!(open("cursor/a", "alice", &text).is_err(), "{text:?} opens");
    assert!(open("cursor/a", "alice", &format!("v1.new.{text}")).is_err(), "{text:?} opens");
    let Some((change, payload)) = data.split_at_checked(4) else { return };
    let minute = Duration::from_mins(1);
    let Ok(handle) = SEALER.seal("cursor/a", "alice", minute, &payload) else { return };
    assert_eq!(open("cursor/a", "alice", &handle).as_deref(), Ok(payload));
    assert!(open("cursor/b", "alice", &handle).is_err(), "it opens for another purpose");
    assert!(open("cursor/a", "bob", &handle).is_err(), "it opens for somebody else");
    let expired = SEALER.seal("cursor/a", "alice", Duration::ZERO, &payload).expect("it fits");
    assert!(open("cursor/a", "alice", &expired).is_err(), "it opens after its time");
    let changed = changed(&handle, change);
    let same = changed == handle;
    assert_eq!(open("cursor/a", "alice", &changed).is_ok(), same, "{handle} as {changed}");
}

/// The handle with a character replaced, removed, doubled or inserted, or cut, or with another
/// key's name.
fn changed(handle: &str, change: &[u8]) -> String {
    let [how, high, low, new] = *change else { return handle.to_owned() };
    let at = usize::from(u16::from_be_bytes([high, low])) % handle.len();
    let (before, after) = handle.split_at(at);
    let rest = &after[1..];
    let new = char::from(new);
    match how % 6 {
        0 => format!("{before}{new}{rest}"),
        1 => format!("{before}{rest}"),
        2 => format!("{before}{}{after}", &after[..1]),
        3 => format!("{before}{new}{after}"),
        4 => before.to_owned(),
        _ => handle.replacen("v1.new.", "v1.old.", 1),
    }
}
