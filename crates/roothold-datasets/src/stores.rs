//! Stores over the network: objects of S3, Google Cloud Storage, Azure and web servers, read as if
//! they were files.
//!
//! What may be read is decided elsewhere, by URL; here a store talks to the one host that it was
//! configured with, follows no redirect and uses no proxy, and an object is held to the version that
//! it had when it was opened.
//!
//! Requests run on a runtime of their own. Whoever reads, reads on a thread that may block, and
//! waits there; it looks meanwhile whether its run may go on.
//!
//! **Invariant**: nothing of a credential is in an error, a log line or a `Debug` form.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use object_store_remote::ObjectStore;
use object_store_remote::path::Path;
use roothold_core::{Budget, Fault, FaultKind, ObjectUrl, PathGlobs, Permit, StorePermit};

use crate::meter::Meter;

mod fault;
mod forward;
mod guard;
mod list;
mod make;
mod net;
mod object;

use fault::fault_of;
pub(crate) use forward::Forward;
pub use list::{ListWish, ListedObject, ListedObjects};
pub use make::{StoreError, StoreReach};
use net::Net;
pub use object::StoreObject;

/// How many objects a glob looks at.
const LOOKED_AT_MAX: usize = 100_000;
/// How many objects are asked for their versions at once.
const OPENED_AT_ONCE: usize = 16;

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A store as it is configured.
#[derive(Debug, Clone)]
pub struct StoreSpec {
    /// What lies below it can be read.
    pub url: ObjectUrl,
    /// The URL of the server, where it is not the usual one. Web servers have none besides `url`.
    pub endpoint: Option<ObjectUrl>,
    /// S3: the region; `us-east-1` if none is given.
    pub region: Option<String>,
    /// Azure: the storage account.
    pub account: Option<String>,
    /// What the server wants to see: for S3 `key:secret` or `key:secret:token`, for Google the JSON of
    /// a service account's key, for Azure an account's key or a shared access signature, for a web
    /// server the value of the header `Authorization`. `None`: what is public.
    pub credentials: Option<Secret>,
    /// Certificates in PEM of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether another machine may be talked to in the clear.
    pub plaintext: bool,
    /// Whether addresses may be talked to at which clouds keep credentials, such as 169.254.0.0/16.
    pub link_local: bool,
}

impl StoreSpec {
    /// A store with what is usual.
    pub fn new(url: ObjectUrl) -> Self {
        Self {
            url,
            endpoint: None,
            region: None,
            account: None,
            credentials: None,
            ca_pem: None,
            plaintext: false,
            link_local: false,
        }
    }
}

/// The stores of a configuration. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stores: Vec<Store>,
    net: Net,
}

/// One store. Its client is made at once, since behind a wall what it reads may be out of reach; it
/// connects when it is first asked.
#[derive(Debug)]
struct Store {
    spec: StoreSpec,
    made: Arc<dyn ObjectStore>,
}

/// The objects of a glob.
#[derive(Debug, Default)]
pub struct FoundObjects {
    /// In the order of their keys.
    pub objects: Vec<StoreObject>,
    /// There are more than were asked for.
    pub more: bool,
    /// Those that hold nothing, by URL, the first few.
    pub empty: Vec<String>,
}

impl Stores {
    /// The stores of these specifications, in their order. Nothing is connected to.
    ///
    /// # Errors
    /// A [`StoreError`] that says what cannot be.
    pub fn new(specs: &[StoreSpec]) -> Result<Self, StoreError> {
        let mut stores = Vec::with_capacity(specs.len());
        for (at, spec) in specs.iter().enumerate() {
            make::check(spec)?;
            stores.push(Store { spec: spec.clone(), made: make::make(spec)? });
            let overlaps = |other: &&StoreSpec| {
                other.url.below(&spec.url).is_some() || spec.url.below(&other.url).is_some()
            };
            if let Some(other) = specs[..at].iter().find(overlaps) {
                return Err(StoreError::Overlap(other.url.to_string(), spec.url.to_string()));
            }
        }
        Ok(Self { inner: Arc::new(Inner { stores, net: Net::default() }) })
    }

    /// What they need of the network, each by its place.
    pub fn reaches(&self) -> impl Iterator<Item = StoreReach> {
        self.inner.stores.iter().map(|store| make::reach(&store.spec))
    }

    /// Opens the object of a permit, at the version that it has now. Blocks.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` where the server does not say which version it gives; `Unavailable`
    /// where it cannot be reached or refuses; the budget's own.
    ///
    /// # Cancellation
    /// It ends within a fraction of a second when the budget does.
    pub fn open(&self, permit: &Permit, budget: &Budget) -> Result<StoreObject, Fault> {
        let permit = permit.of_object()?;
        let store = self.store(permit)?;
        let (url, net) = (permit.url().clone(), self.inner.net.clone());
        let opening = async move { StoreObject::open(store, url, net).await };
        let opened = self.inner.net.wait(&Meter::new(budget), opening);
        opened.map_err(|fault| match fault.kind() {
            FaultKind::NotFound => self.absent(permit, fault),
            _ => fault,
        })
    }

    /// Lists a page of the objects below the prefix of a permit that policy does not exclude and that
    /// hold something. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; `Unsupported` of a web server, and of a store that lists in no order.
    ///
    /// # Cancellation
    /// As [`Self::open`].
    pub fn list(
        &self,
        permit: &Permit,
        wish: ListWish,
        budget: &Budget,
    ) -> Result<ListedObjects, Fault> {
        let store = self.store(permit.of_object()?)?;
        let permit = permit.clone();
        let listing = async move { list::list(&*store, &permit, &wish).await };
        self.inner.net.wait(&Meter::new(budget), listing)
    }

    /// What is said of an object that is not there: where to look.
    fn absent(&self, permit: &StorePermit, fault: Fault) -> Fault {
        let url = permit.url();
        if url.scheme().is_web() {
            return Fault::not_found(format!(
                "{url} is not there; a web server does not tell what it holds, so give the whole URL of an object"
            ));
        }
        let Some(store) = self.inner.stores.get(permit.store()) else { return fault };
        let above = url.key().rsplit_once('/').map_or("", |(above, _)| above);
        let above = url.with_key(above).ok().filter(|above| store.spec.url.below(above).is_some());
        let above = above.as_ref().unwrap_or(&store.spec.url);
        Fault::not_found(format!(
            "{url} is not there; list_datasets with path {above}/ shows what is, and a glob such as {url}/** reads all below a prefix"
        ))
    }

    /// Opens up to `objects_max` objects below the prefix of a permit whose keys below it match and
    /// that policy does not exclude. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; `Limit` where the prefix holds too many objects to look at.
    ///
    /// # Cancellation
    /// As [`Self::open`].
    pub fn find(
        &self,
        permit: &Permit,
        globs: &PathGlobs,
        objects_max: usize,
        budget: &Budget,
    ) -> Result<FoundObjects, Fault> {
        let store = self.store(permit.of_object()?)?;
        let (net, permit, globs) = (self.inner.net.clone(), permit.clone(), globs.clone());
        let finding = async move { find(store, &permit, &globs, objects_max, net).await };
        self.inner.net.wait(&Meter::new(budget), finding)
    }

    fn store(&self, permit: &StorePermit) -> Result<Arc<dyn ObjectStore>, Fault> {
        let stores = &self.inner.stores;
        let store = stores.get(permit.store()).ok_or_else(|| Fault::internal("no such store"))?;
        Ok(Arc::clone(&store.made))
    }
}

async fn find(
    store: Arc<dyn ObjectStore>,
    permit: &Permit,
    globs: &PathGlobs,
    objects_max: usize,
    net: Net,
) -> Result<FoundObjects, Fault> {
    let above = permit.of_object()?.url().clone();
    let prefix = Path::parse(above.key()).map_err(|_| Fault::invalid("the key cannot be"))?;
    let mut listed = store.list((!above.key().is_empty()).then_some(&prefix));
    let (mut found, mut urls, mut looked_at) = (FoundObjects::default(), Vec::new(), 0_usize);
    while let Some(meta) = listed.next().await {
        let meta = meta.map_err(|error| fault_of(&error, &above))?;
        looked_at += 1;
        if looked_at > LOOKED_AT_MAX {
            let what = format!(
                "{above} holds more than {LOOKED_AT_MAX} objects; begin the glob with a longer prefix"
            );
            return Err(Fault::new(FaultKind::Limit, what));
        }
        // A key that no URL can name is none that a caller could have meant.
        let Ok(url) = above.with_key(meta.location.as_ref()) else { continue };
        let below = above.below(&url).filter(|below| globs.matches(below.as_bytes()));
        if below.is_none() || !permit.admits_object(&url) {
            continue;
        }
        // There is nothing in it to ask for, and who named it did so by accident.
        if meta.size == 0 {
            found.empty.push(url.to_string());
            continue;
        }
        urls.push(url);
    }
    drop(listed);
    found.empty.truncate(objects_max);
    urls.sort_by(|one, other| one.key().cmp(other.key()));
    found.more = urls.len() > objects_max;
    urls.truncate(objects_max);
    let opening =
        urls.into_iter().map(|url| StoreObject::open(Arc::clone(&store), url, net.clone()));
    let mut opened = stream::iter(opening).buffered(OPENED_AT_ONCE);
    while let Some(object) = opened.next().await {
        found.objects.push(object?);
    }
    drop(opened);
    Ok(found)
}

#[cfg(test)]
mod tests;
