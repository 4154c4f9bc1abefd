//! URLs of objects in stores over the network: how a caller names one.
//!
//! `s3://bucket/key`, `gs://bucket/key`, `az://container/key` and `http(s)://host[:port]/path`. Keys of
//! the first three are taken as they are written; paths of the last are percent-decoded once. A URL
//! is parsed here, once, or refused: it holds no user, no query and no fragment, so no secret, and
//! no component that is empty, `.` or `..`.
//!
//! **Invariant**: two URLs that are written differently and mean the same place are equal.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::fault::Fault;

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// The longest name of a bucket, a container or a host, in bytes.
const HOST_BYTES_MAX: usize = 253;
/// What makes a component of a key a glob.
const GLOB_SIGNS: [char; 5] = ['*', '?', '[', '{', '\\'];

/// What kind of store a URL speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon S3, and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server, in the clear.
    Http,
    /// A web server.
    Https,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::S3, Self::Gs, Self::Az, Self::Http, Self::Https];

    /// As URLs begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether it is that of a web server, which has a host instead of a bucket and lists nothing.
    pub fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::S3 | Self::Gs | Self::Az => None,
        }
    }
}

/// An object, or the prefix of several, by its URL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectUrl {
    scheme: Scheme,
    /// The bucket, the container, or the host with its port, if that is not the usual one.
    place: String,
    /// Components joined by `/`; empty for the place itself.
    key: String,
}

impl ObjectUrl {
    /// Whether an argument is meant as such a URL.
    pub fn is_meant(argument: &str) -> bool {
        scheme_of(argument).is_some()
    }

    /// Parses a URL. A slash at its end is no part of it.
    ///
    /// # Errors
    /// `Invalid`, with what to write instead.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let (scheme, place, key) = split(text)?;
        let key = if scheme.is_web() { decoded(key)? } else { key.to_owned() };
        check_key(&key)?;
        Ok(Self { scheme, place, key })
    }

    /// Parses a URL whose key may be a glob: the longest prefix that has no sign of one, and the
    /// rest, if there is one.
    ///
    /// # Errors
    /// `Invalid`, as for every URL, and for a glob of a web server.
    pub fn parse_glob(text: &str) -> Result<(Self, Option<String>), Fault> {
        let (scheme, place, key) = split(text)?;
        let Some(sign) = key.find(GLOB_SIGNS).filter(|_| !scheme.is_web()) else {
            return Ok((Self::parse(text)?, None));
        };
        let (above, glob) = match key[..sign].rfind('/') {
            Some(end) => (&key[..end], &key[end + 1..]),
            None => ("", key),
        };
        check_key(above)?;
        let is_odd = |component: &str| matches!(component, "" | "." | "..");
        if glob.split('/').any(is_odd) {
            return Err(odd_component());
        }
        Ok((Self { scheme, place, key: above.to_owned() }, Some(glob.to_owned())))
    }

    /// What kind of store it speaks of.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The bucket, the container, or the host, with its port where that is not the usual one.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The key below it, without a slash at either end; empty for all of it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Another object of the same place.
    ///
    /// # Errors
    /// `Invalid` for a key that no URL can name.
    pub fn with_key(&self, key: &str) -> Result<Self, Fault> {
        check_key(key)?;
        Ok(Self { scheme: self.scheme, place: self.place.clone(), key: key.to_owned() })
    }

    /// The rest of `other` below this; empty if they are the same.
    pub fn below<'a>(&self, other: &'a Self) -> Option<&'a str> {
        if self.scheme != other.scheme || self.place != other.place {
            return None;
        }
        if self.key.is_empty() {
            return Some(&other.key);
        }
        let rest = other.key.strip_prefix(&self.key)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The place and the key as one path: what patterns of the policy see.
    pub(crate) fn path(&self) -> String {
        if self.key.is_empty() {
            self.place.clone()
        } else {
            format!("{}/{}", self.place, self.key)
        }
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.place)?;
        if self.key.is_empty() {
            return Ok(());
        }
        if self.scheme.is_web() {
            return write!(f, "/{}", crate::path::escaped(self.key.as_bytes()));
        }
        write!(f, "/{}", self.key)
    }
}

impl fmt::Debug for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectUrl({self})")
    }
}

fn scheme_of(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let found = Scheme::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(scheme))?;
    Some((found, rest))
}

fn split(text: &str) -> Result<(Scheme, String, &str), Fault> {
    if text.len() > URL_BYTES_MAX {
        return Err(Fault::invalid(format!("the URL is longer than {URL_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::invalid("the URL holds control characters"));
    }
    let (scheme, rest) = scheme_of(text).ok_or_else(|| {
        Fault::invalid(
            "the URL is none of a store; it begins with s3://, gs://, az://, https:// or http://",
        )
    })?;
    let (place, key) = rest.split_once('/').unwrap_or((rest, ""));
    if place.contains('@') {
        return Err(Fault::invalid("the URL names a user; a store's credentials are configured"));
    }
    if scheme.is_web() && rest.contains(['?', '#', '\\']) || place.contains(['?', '#', '\\']) {
        return Err(Fault::invalid("the URL has a query or a fragment; name the object alone"));
    }
    let place = place_of(scheme, place)?;
    Ok((scheme, place, key.strip_suffix('/').unwrap_or(key)))
}

fn place_of(scheme: Scheme, text: &str) -> Result<String, Fault> {
    let wrong = || {
        let what = if scheme.is_web() { "host" } else { "bucket or container" };
        Fault::invalid(format!("the URL names no {what} that can be: {}", text.escape_debug()))
    };
    let is_name = |text: &str| {
        (1..=HOST_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !text.starts_with('.')
    };
    if !scheme.is_web() {
        return if is_name(text) { Ok(text.to_owned()) } else { Err(wrong()) };
    }
    let in_brackets = text.starts_with('[');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !in_brackets || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host = host.to_ascii_lowercase();
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match inner {
        Some(inner) => {
            let address: std::net::Ipv6Addr = inner.parse().map_err(|_| wrong())?;
            format!("[{address}]")
        }
        None if is_name(&host) => host,
        None => return Err(wrong()),
    };
    let port = port.map(str::parse::<u16>).transpose().map_err(|_| wrong())?;
    match port.filter(|port| Some(*port) != scheme.default_port()) {
        Some(0) => Err(wrong()),
        Some(port) => Ok(format!("{host}:{port}")),
        None => Ok(host),
    }
}

/// A path of a web server, decoded once.
fn decoded(key: &str) -> Result<String, Fault> {
    let mut components = Vec::new();
    for component in key.split('/') {
        let text = percent_decode_str(component)
            .decode_utf8()
            .map_err(|_| Fault::invalid("the URL is not UTF-8 once it is decoded"))?;
        if text.contains('/') || text.chars().any(char::is_control) {
            return Err(Fault::invalid("the URL holds an encoded slash or control character"));
        }
        components.push(text.into_owned());
    }
    Ok(components.join("/"))
}

fn check_key(key: &str) -> Result<(), Fault> {
    let is_odd = |component: &str| matches!(component, "" | "." | "..");
    if key.chars().any(char::is_control) {
        return Err(Fault::invalid("the key holds control characters"));
    }
    if !key.is_empty() && key.split('/').any(is_odd) {
        return Err(odd_component());
    }
    Ok(())
}

fn odd_component() -> Fault {
    Fault::invalid("the URL holds an empty component, `.` or `..`; write where the object is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        ObjectUrl::parse(text).map_or_else(|fault| format!("{fault}"), |url| url.to_string())
    }

    #[test]
    fn one_place_has_one_url() {
        for (text, url) in [
            ("s3://lake", "s3://lake"),
            ("S3://lake/", "s3://lake"),
            ("s3://lake/a/b.csv", "s3://lake/a/b.csv"),
            ("s3://lake/a%20b.csv", "s3://lake/a%20b.csv"),
            ("gs://my-bucket/x=1/y.parquet", "gs://my-bucket/x=1/y.parquet"),
            ("az://box/ä.csv", "az://box/ä.csv"),
            ("HTTPS://Data.Example.org:443/a/b.csv", "https://data.example.org/a/b.csv"),
            ("http://h:80/a", "http://h/a"),
            ("http://h:8080/a%20b/%61.csv", "http://h:8080/a%20b/a.csv"),
            ("http://[::1]:9000/a", "http://[::1]:9000/a"),
            ("http://[0:0:0:0:0:0:0:1]/a", "http://[::1]/a"),
        ] {
            assert_eq!(parsed(text), url, "{text}");
            assert_eq!(parsed(url), url, "{text}");
        }
    }

    #[test]
    fn what_means_two_things_or_holds_a_secret_is_refused() {
        let long = format!("s3://lake/{}", "a".repeat(URL_BYTES_MAX));
        for text in [
            "ftp://h/a",
            "file:///a",
            "s3:/lake/a",
            "s3://",
            "s3:///a",
            "s3://la ke/a",
            "s3://user:secret@lake/a",
            "http://user@h/a",
            "http://h@169.254.169.254/a",
            "http://h/a?sig=secret",
            "http://h/a#x",
            "http://h\\@evil/a",
            "http://h:0/a",
            "http://h:99999/a",
            "http://h:/a",
            "http://[::1/a",
            "http://[fe80::1%25eth0]/a",
            "http://.h/a",
            "http://h/a/../b",
            "http://h/a/%2e%2e/b",
            "http://h/a/%2E/b",
            "http://h/a%2fb",
            "http://h/a%00b",
            "http://h/%ff",
            "http://h//a",
            "s3://lake/a//b",
            "s3://lake/./b",
            "s3://lake/a/..",
            "s3://lake/a\nb",
            &long,
        ] {
            let fault = ObjectUrl::parse(text).unwrap_err();
            assert!(!fault.public().contains("secret"), "{text}: {fault}");
        }
    }

    #[test]
    fn a_prefix_covers_whole_components() {
        let url = |text: &str| ObjectUrl::parse(text).unwrap();
        let below = |prefix: &str, other: &str| url(prefix).below(&url(other)).map(str::to_owned);
        assert_eq!(below("s3://lake/a", "s3://lake/a/b.csv").as_deref(), Some("b.csv"));
        assert_eq!(below("s3://lake/", "s3://lake/a/b.csv").as_deref(), Some("a/b.csv"));
        assert_eq!(below("s3://lake/a", "s3://lake/a").as_deref(), Some(""));
        for other in ["s3://lake/ab.csv", "s3://lake", "s3://lake2/a/b", "gs://lake/a/b"] {
            assert_eq!(below("s3://lake/a", other), None, "{other}");
        }
        for other in ["http://h:81/a", "https://h/a", "http://h.evil/a"] {
            assert_eq!(below("http://h", other), None, "{other}");
        }
    }

    #[test]
    fn a_glob_begins_at_the_first_component_that_has_a_sign() {
        let split = |text: &str| {
            let (above, glob) = ObjectUrl::parse_glob(text).unwrap();
            (above.to_string(), glob)
        };
        let glob = |text: &str| Some(text.to_owned());
        assert_eq!(split("s3://lake/a/b.csv"), ("s3://lake/a/b.csv".to_owned(), None));
        assert_eq!(split("s3://lake/a/*.csv"), ("s3://lake/a".to_owned(), glob("*.csv")));
        assert_eq!(split("s3://lake/a/x?/**/b"), ("s3://lake/a".to_owned(), glob("x?/**/b")));
        assert_eq!(split("s3://lake/*"), ("s3://lake".to_owned(), glob("*")));
        assert_eq!(split("http://h/a[1].csv").1, None);
        for text in ["s3://lake/*/../b", "s3://lake/*//b", "s3://la*/b", "http://h/?"] {
            assert!(ObjectUrl::parse_glob(text).is_err(), "{text}");
        }
    }
}
