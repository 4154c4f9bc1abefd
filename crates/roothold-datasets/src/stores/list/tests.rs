use futures::stream;
use object_store_remote::memory::InMemory;
use object_store_remote::{ObjectStoreExt as _, PutPayload};
use roothold_core::{
    Action, Actions, ObjectTarget, Policy, PolicySpec, Principal, Roots, StoreRule, Verb,
};

use super::*;
use crate::testing::wait;

fn permit(prefix: &str) -> Result<Permit, Fault> {
    let exclude = ["**/secret/**", "credentials.*"].map(str::to_owned).to_vec();
    let spec = PolicySpec { exclude, ..PolicySpec::default() };
    let policy = Policy::new(Roots::open(&[]).unwrap(), spec, &[]).unwrap();
    let rule = |url: &str| StoreRule { url: ObjectUrl::parse(url).unwrap(), principals: None };
    let policy = policy.with_stores(vec![rule("s3://lake/open"), rule("http://127.0.0.1:1/open")]);
    let url = ObjectUrl::parse(prefix).unwrap();
    let actions = Actions::one(Action::object(Verb::Search, ObjectTarget::Url(url)));
    Ok(policy.decide(&Principal::local(), "a_tool", &actions)?.remove(0))
}

fn bucket(keys: &[&str]) -> InMemory {
    let store = InMemory::new();
    for key in keys {
        let body = if key.ends_with("empty.csv") { "" } else { "n\n1\n" };
        wait(store.put(&Path::parse(key).unwrap(), PutPayload::from(body))).unwrap();
    }
    store
}

fn wish(after: Option<&str>, objects_max: usize) -> ListWish {
    let keep = |name: &str| name.strip_suffix(".csv").is_some();
    ListWish { after: after.map(str::to_owned), keep, objects_max }
}

fn urls(found: &ListedObjects) -> Vec<String> {
    found.objects.iter().map(|object| object.url.to_string()).collect()
}

#[test]
fn a_prefix_is_listed_page_by_page_with_each_object_once() {
    let all = ["b.csv", "a.csv", "sub/c.csv", "sub/d.csv", "x.bin", "e.csv", "empty.csv"];
    let keys: Vec<String> = all.iter().map(|key| format!("open/{key}")).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.extend(["opened/other.csv", "kept/k.csv", "open/.env", "open/secret/s.csv"]);
    let (store, permit) = (bucket(&keys), permit("s3://lake/open").unwrap());
    let mut names: Vec<String> = ["a.csv", "b.csv", "e.csv", "sub/c.csv", "sub/d.csv"]
        .map(|key| format!("s3://lake/open/{key}"))
        .to_vec();
    names.sort();
    for objects_max in [1, 2, 3, 100] {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = wait(list(&store, &permit, &wish(after.as_deref(), objects_max))).unwrap();
            assert!(page.objects.len() <= objects_max);
            assert!(page.objects.iter().all(|object| object.bytes == 4));
            found.extend(urls(&page));
            pages += 1;
            assert!(pages < 20, "{found:?}");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, names, "{objects_max}");
    }
    let below = wait(list(&store, &self::permit("s3://lake/open/sub").unwrap(), &wish(None, 9)));
    assert_eq!(urls(&below.unwrap()), names[3..]);
    let none = wait(list(&store, &self::permit("s3://lake/open/no").unwrap(), &wish(None, 9)));
    assert_eq!(none.unwrap(), ListedObjects::default());
}

#[test]
fn what_lies_beyond_a_store_and_what_is_excluded_is_not_listed() {
    for prefix in ["s3://lake", "s3://lake/kept", "s3://other/open", "http://127.0.0.1:2/open"] {
        assert_eq!(permit(prefix).unwrap_err().kind(), FaultKind::Denied, "{prefix}");
    }
    let keys = ["open/credentials.csv", "open/secret/s.csv", "open/a.csv", "open/Secret/t.csv"];
    let (store, permit) = (bucket(&keys), permit("s3://lake/open").unwrap());
    let found = wait(list(&store, &permit, &wish(None, 9))).unwrap();
    assert_eq!(urls(&found), ["s3://lake/open/a.csv"]);
}

#[test]
fn a_web_server_says_that_it_lists_nothing() {
    let permit = permit("http://127.0.0.1:1/open").unwrap();
    let fault = wait(list(&InMemory::new(), &permit, &wish(None, 9))).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported);
    assert!(fault.public().contains("whole URL of one object"), "{fault}");
}

fn metas(keys: &[&str]) -> BoxStream<'static, Result<ObjectMeta, Error>> {
    let meta = |key: &&str| ObjectMeta {
        location: Path::parse(key).unwrap(),
        last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
        size: 1,
        e_tag: None,
        version: None,
    };
    stream::iter(keys.iter().map(meta).map(Ok).collect::<Vec<_>>()).boxed()
}

#[test]
fn a_page_looks_at_so_many_objects_and_goes_on_where_it_stopped() {
    let permit = permit("s3://lake/open").unwrap();
    let keys = ["open/a.bin", "open/b.bin", "open/c.csv", "open/d.csv"];
    let first = wait(page(metas(&keys), &permit, &wish(None, 9), 2)).unwrap();
    assert_eq!((first.objects.len(), first.next.as_deref()), (0, Some("open/b.bin")));
    // The store begins anew, as some do.
    let second = wait(page(metas(&keys), &permit, &wish(Some("open/b.bin"), 9), 2)).unwrap();
    assert_eq!((urls(&second).len(), second.next), (2, None));
    let unsorted = metas(&["open/b.csv", "open/a.csv"]);
    let fault = wait(page(unsorted, &permit, &wish(None, 9), 9)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported, "{fault}");
}
