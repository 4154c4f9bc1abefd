//! Media types by a name's ending.

/// The media type of a file, by its ending; `application/octet-stream` where it says nothing.
pub(crate) fn media_type(name: &[u8]) -> &'static str {
    let ending =
        name.rsplit(|byte| *byte == b'.').next().filter(|ending| ending.len() < name.len());
    let ending = ending.map(<[u8]>::to_ascii_lowercase).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| known.as_bytes() == ending);
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

/// The first eleven are those of the reference server.
const TYPES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("svg", "image/svg+xml"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("xml", "application/xml"),
    ("pdf", "application/pdf"),
    ("parquet", "application/vnd.apache.parquet"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_without_regard_to_case() {
        assert_eq!(media_type(b"a/b.PNG"), "image/png");
        assert_eq!(media_type(b"notes.md"), "text/markdown");
        assert_eq!(media_type(b"png"), "application/octet-stream");
        assert_eq!(media_type(b"x.\xff"), "application/octet-stream");
    }
}
