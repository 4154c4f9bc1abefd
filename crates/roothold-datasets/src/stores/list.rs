//! What a store holds below a prefix, page by page in the order of the keys.
//!
//! Buckets and containers list in that order, and go on behind a key. One that does not is refused:
//! what it left out of a page would be on none.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store_remote::path::Path;
use object_store_remote::{Error, ObjectMeta, ObjectStore};
use roothold_core::{Fault, FaultKind, ObjectUrl, Permit};

use super::fault::fault_of;

/// How many objects are looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;

/// An object as a list tells of it; it was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its URL.
    pub url: ObjectUrl,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A page of the objects below a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedObjects {
    /// In the order of their keys.
    pub objects: Vec<ListedObject>,
    /// The key behind which the next page begins, if there is more to look at.
    pub next: Option<String>,
}

/// What of a prefix is wanted.
#[derive(Debug, Clone)]
pub struct ListWish {
    /// The key behind which the page begins.
    pub after: Option<String>,
    /// Which objects, by the last component of their keys.
    pub keep: fn(&str) -> bool,
    /// How many at most.
    pub objects_max: usize,
}

/// Lists what is below the prefix of a permit.
///
/// # Errors
/// `Unsupported`, of a web server and of a store that lists in no order; as asking the store.
pub(super) async fn list(
    store: &dyn ObjectStore,
    permit: &Permit,
    wish: &ListWish,
) -> Result<ListedObjects, Fault> {
    let above = permit.of_object()?.url();
    if above.scheme().is_web() {
        let what = format!(
            "a web server does not tell what it holds; give the whole URL of one object below {above} as data_source"
        );
        return Err(Fault::new(FaultKind::Unsupported, what));
    }
    let cannot_be = |_| Fault::invalid("the key cannot be");
    let prefix = Path::parse(above.key()).map_err(cannot_be)?;
    let prefix = (!above.key().is_empty()).then_some(&prefix);
    let listed = match &wish.after {
        Some(after) => store.list_with_offset(prefix, &Path::parse(after).map_err(cannot_be)?),
        None => store.list(prefix),
    };
    page(listed, permit, wish, LOOKED_AT_MAX).await
}

async fn page(
    mut listed: BoxStream<'static, Result<ObjectMeta, Error>>,
    permit: &Permit,
    wish: &ListWish,
    looked_at_max: usize,
) -> Result<ListedObjects, Fault> {
    let above = permit.of_object()?.url();
    let (mut found, mut looked_at) = (ListedObjects::default(), 0);
    let mut last = wish.after.clone();
    while let Some(meta) = listed.next().await {
        let meta = meta.map_err(|error| fault_of(&error, above))?;
        let key = meta.location.as_ref();
        // Some that stand in for a store give the first ones once more.
        if wish.after.as_deref().is_some_and(|after| key <= after) {
            continue;
        }
        if last.as_deref().is_some_and(|last| key <= last) {
            let what = format!(
                "the server of {above} does not list by name; name an object, or a glob of a few"
            );
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
        if found.objects.len() == wish.objects_max || looked_at == looked_at_max {
            found.next = last;
            return Ok(found);
        }
        looked_at += 1;
        last = Some(key.to_owned());
        let name = key.rsplit('/').next().unwrap_or_default();
        // There is nothing to ask for in an empty one, and a key that no URL can name is nobody's.
        if meta.size == 0 || !(wish.keep)(name) {
            continue;
        }
        if let Ok(url) = above.with_key(key)
            && permit.admits_object(&url)
        {
            found.objects.push(ListedObject { url, bytes: meta.size });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
