//! Tests of path arguments.

use super::*;

fn bytes(argument: &str) -> Vec<u8> {
    FilePath::parse(argument).unwrap().as_bytes().to_vec()
}

#[test]
fn plain_paths_are_never_decoded() {
    assert_eq!(bytes("/work/100%41.txt"), b"work/100%41.txt");
    assert_eq!(bytes("/work/..%2fx"), b"work/..%2fx");
    assert_eq!(bytes("/work//a/./b/"), b"work/a/b");
    assert_eq!(bytes("/work/a b;c&d"), b"work/a b;c&d");
    assert_eq!(bytes("/work/..."), b"work/...");
}

#[test]
fn dot_dot_is_kept_for_the_kernel() {
    assert_eq!(bytes("/work/sub/../a"), b"work/sub/../a");
}

#[test]
fn a_uri_is_decoded_exactly_once() {
    assert_eq!(bytes("file:///work/%2Eenv"), b"work/.env");
    assert_eq!(bytes("file:///work/f%FFo.txt"), b"work/f\xffo.txt");
    assert_eq!(bytes("file:///work/%252e"), b"work/%2e");
}

#[test]
fn what_is_not_a_local_path_is_refused() {
    for bad in [
        "",
        "~/.ssh/id_rsa",
        "a\0b",
        "/work/a\nlevel=INFO",
        "file://evil.example/x",
        "file://user:pw@host/x",
        "file:/etc/passwd",
        "file:///a?x=1",
        "file:///a#f",
        "file:///a%2fb",
        "file:///a%00b",
        "file:///a%zz",
        "file:///a%",
        "work:///x",
        "https://example.com/x",
        "FILE:///x",
        "svn+ssh://host/x",
    ] {
        let fault = FilePath::parse(bad).unwrap_err();
        assert_eq!(fault.kind(), crate::FaultKind::Invalid, "{bad:?}");
    }
}

#[test]
fn only_a_scheme_at_the_beginning_makes_a_uri() {
    assert_eq!(bytes("notes/see http://x"), b"notes/see http:/x");
    assert_eq!(bytes("1://x"), b"1:/x");
    assert_eq!(bytes("a:b"), b"a:b");
}

#[test]
fn limits_are_reached_and_do_not_echo_the_path() {
    let long_name = format!("/work/{}", "a".repeat(NAME_BYTES_MAX));
    assert!(FilePath::parse(&long_name).is_ok());
    assert!(FilePath::parse(&format!("{long_name}a")).is_err());
    let fault = FilePath::parse(&format!("/work/{}", "d/".repeat(5000))).unwrap_err();
    assert!(fault.public().len() < 200);
    let longest = format!("/{}", "a/".repeat(PATH_BYTES_MAX / 2));
    assert_eq!(longest.len(), PATH_BYTES_MAX);
    assert!(FilePath::parse(&longest).is_ok());
    assert!(FilePath::parse(&format!("{longest}a")).is_err());
}

#[test]
fn what_is_shown_can_be_given_back() {
    let names: [&[u8]; 8] = [
        b"a.txt",
        b"a b",
        b"100%41",
        b"f\xffo",
        b"ev\nil\x1b[2J",
        "été-😀".as_bytes(),
        b"a?b#c",
        "x\u{202e}y".as_bytes(),
    ];
    for name in names {
        let public = [b"work/", name].concat();
        assert_eq!(bytes(&shown(&public)), public);
        assert_eq!(bytes(&uri(&public)), public);
    }
    assert_eq!(shown(b"work/a b"), "/work/a b");
    assert_eq!(shown(b"work/f\xff"), "file:///work/f%FF");
    assert_eq!(shown_name(b"61\xff", || b"work/61\xff".to_vec()), "file:///work/61%FF");
}

#[test]
fn a_trailing_slash_asks_for_a_directory() {
    assert!(FilePath::parse("/work/hello.txt/").unwrap().wants_directory());
    assert!(FilePath::parse("/work/.").unwrap().wants_directory());
    assert!(!FilePath::parse("/work/hello.txt").unwrap().wants_directory());
}
