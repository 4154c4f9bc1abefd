//! Compression of whole answers, where the client accepts it and it pays. Streams never are.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Beyond this, compressing would hold up other requests of the same thread for milliseconds.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Whether the client takes gzip.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|entry| {
            let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let refused = weight
                .trim()
                .strip_prefix("q=")
                .is_some_and(|q| q.bytes().all(|byte| matches!(byte, b'0' | b'.')));
            coding.trim().eq_ignore_ascii_case("gzip") && !refused
        })
    })
}

/// Compresses; returns nothing where it did not become smaller.
pub(crate) async fn compress(body: &Bytes) -> Option<Bytes> {
    let packed = if body.len() <= INLINE_BYTES_MAX {
        pack(body)
    } else {
        let body = body.clone();
        tokio::task::spawn_blocking(move || pack(&body)).await.ok()?
    };
    packed.filter(|packed| packed.len() < body.len())
}

fn pack(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_used_only_where_it_is_accepted() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0", false),
            ("br", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepted(&headers), takes, "{value}");
        }
    }

    #[tokio::test]
    async fn what_is_compressed_unpacks_to_itself() {
        let body = Bytes::from("all work and no play ".repeat(10_000));
        let packed = compress(&body).await.unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, body);
        assert!(compress(&Bytes::from_static(b"x")).await.is_none());
    }
}
