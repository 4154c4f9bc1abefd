//! Tests of detection and of the way there and back, on bytes in memory.

use super::*;

/// Numbers without a pattern that matters, the same in each run.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

fn detected(bytes: &[u8]) -> Encoding {
    Encoding::detect(bytes).unwrap()
}

#[test]
fn a_file_is_what_its_mark_and_its_bytes_say() {
    for (bytes, encoding) in [
        (&b""[..], Encoding::Utf8),
        (b"plain\r\nlines\n", Encoding::Utf8),
        ("größe".as_bytes(), Encoding::Utf8),
        (b"\xef\xbb\xbfmarked", Encoding::Utf8Bom),
        (b"\xff\xfeA\0", Encoding::Utf16Le),
        (b"\xfe\xff\0A", Encoding::Utf16Be),
        (b"\xff\xfe", Encoding::Utf16Le),
        // Without a newline after it, the byte could begin a character of UTF-8.
        (b"caf\xe9", Encoding::Windows1252),
        (b"caf\xe9\n", Encoding::Windows1252),
        (b"\x93quoted\x94 \x80 5", Encoding::Windows1252),
        (b"\x1b[1mred\x1b[0m \xfcber\x07", Encoding::Windows1252),
        // Control characters and undefined bytes are in no text.
        (b"\x01\xe9", Encoding::Utf8),
        (b"\x81\x8d", Encoding::Utf8),
        (b"\x7f\xe9", Encoding::Utf8),
    ] {
        assert_eq!(detected(bytes), encoding, "{bytes:x?}");
    }
}

#[test]
fn some_bad_bytes_do_not_make_another_encoding_of_utf8() {
    let mut bytes = "größe und Übermut\n".repeat(10).into_bytes();
    bytes.extend(b"caf\xe9\n");
    assert_eq!(detected(&bytes), Encoding::Utf8);
    let fault = Encoding::Utf8.decode(&bytes).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported);
    assert!(fault.public().contains(&format!("byte at {}", bytes.len() - 2)), "{fault}");
    // One word of UTF-8 in a file of the other encoding does not make it UTF-8.
    let mut bytes = b"caf\xe9 \xfcber\n".repeat(10);
    bytes.extend("größe\n".as_bytes());
    assert_eq!(detected(&bytes), Encoding::Windows1252);
}

#[test]
fn what_holds_a_nul_is_binary_unless_a_mark_says_utf_16() {
    for bytes in [
        &b"a\0b"[..],
        b"\xef\xbb\xbfa\0b",
        b"A\0B\0",
        // UTF-32 of either order, with its mark.
        b"\xff\xfe\0\0A\0\0\0",
        b"\0\0\xfe\xff\0\0\0A",
        b"\xfe\xff\0A\0\0",
    ] {
        let fault = Encoding::detect(bytes).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unsupported, "{bytes:x?}");
        assert!(fault.public().contains("read_media_file"));
    }
    let late = [vec![b'a'; BINARY_PROBE_BYTES], vec![0]].concat();
    assert_eq!(detected(&late), Encoding::Utf8);
}

#[test]
fn text_goes_there_and_back() {
    let text = "\u{feff}one\r\ntwo\rthree\n\n“€” größe";
    for encoding in Encoding::ALL {
        let text = if encoding == Encoding::Windows1252 { &text[3..] } else { text };
        let bytes = encoding.encode(text).unwrap();
        assert!(bytes.starts_with(encoding.mark()));
        assert_eq!(encoding.decode(&bytes).unwrap(), text, "{encoding:?}");
    }
    let wide = "漢字 😀 \u{10ffff}\u{0}";
    for encoding in Encoding::ALL.into_iter().filter(|other| *other != Encoding::Windows1252) {
        assert_eq!(encoding.decode(&encoding.encode(wide).unwrap()).unwrap(), wide);
    }
}

#[test]
fn what_decodes_is_encoded_to_the_same_bytes() {
    let pieces: [&[u8]; 14] = [
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\0",
        b"a",
        b"\r\n",
        b"\n",
        b"\xe9",
        b"\xd8",
        b"\x00\xd8\x01\xdc",
        "é".as_bytes(),
        "😀".as_bytes(),
        b"\x81",
        b"\xe6\xbc",
    ];
    let (mut noise, mut decoded) = (noise(7), [0; Encoding::ALL.len()]);
    let mut next = |below: usize| usize::try_from(noise.next().unwrap()).unwrap() % below;
    for _ in 0..20_000 {
        let bytes: Vec<u8> =
            (0..next(8)).flat_map(|_| pieces[next(pieces.len())]).copied().collect();
        for (at, encoding) in Encoding::ALL.into_iter().enumerate() {
            let bytes = [encoding.mark(), &bytes].concat();
            if let Ok(text) = encoding.decode(&bytes) {
                decoded[at] += 1;
                assert_eq!(encoding.encode(&text).unwrap(), bytes, "{encoding:?} {bytes:x?}");
            }
        }
        if let Ok(encoding) = Encoding::detect(&bytes)
            && let Ok(text) = encoding.decode(&bytes)
        {
            assert_eq!(encoding.encode(&text).unwrap(), bytes, "{encoding:?} {bytes:x?}");
        }
    }
    assert!(decoded.iter().all(|count| *count > 1000), "{decoded:?}");
}

#[test]
fn every_byte_is_a_character_of_windows_1252_and_no_other_is() {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let text = Encoding::Windows1252.decode(&every).unwrap();
    assert_eq!(Encoding::Windows1252.encode(&text).unwrap(), every);
    let written = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
    let written = written.filter(|char| bytes::windows_1252(*char).is_some()).count();
    assert_eq!(written, 256);
    for text in ["漢", "\u{80}", "\u{feff}"] {
        let fault = Encoding::Windows1252.encode(&format!("é{text}")).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Invalid);
        assert!(fault.public().contains("character 2 of the text"), "{fault}");
        assert!(!fault.public().contains(text), "an escape is shown: {fault}");
    }
}

#[test]
fn broken_utf_16_is_refused_with_its_place_and_shown_with_marks() {
    for (bytes, at) in [
        (&b"\xff\xfea\0b"[..], 4),
        (b"\xff\xfea\0\0\xd8b\0", 4),
        (b"\xff\xfe\0\xdc", 2),
        (b"\xff\xfe\0\xd8", 2),
        // The mark is missing.
        (b"a\0", 0),
    ] {
        let fault = Encoding::Utf16Le.decode(bytes).unwrap_err();
        assert!(fault.public().contains(&format!("byte at {at} ")), "{bytes:x?}: {fault}");
    }
    assert_eq!(Encoding::Utf16Le.show(b"a\0\0\xd8b\0c"), ("a\u{fffd}b\u{fffd}".to_owned(), true));
    assert_eq!(Encoding::Utf16Be.show(b"\xd8\x01\xdc\x00"), ("\u{10400}".to_owned(), false));
}

#[test]
fn line_ends_of_utf_16_are_whole_units() {
    // U+0A0A and U+0A00 hold the byte of a newline and are none.
    let text = "\u{a0a}\n\u{a00}\u{a}\u{a0a}\n";
    for encoding in [Encoding::Utf16Le, Encoding::Utf16Be] {
        let bytes = encoding.encode(text).unwrap();
        let ends: Vec<usize> = encoding.line_ends(&bytes[2..]).collect();
        assert_eq!(ends, [4, 8, 12], "{encoding:?}");
        assert_eq!(encoding.count_line_ends(&bytes[2..]), 3);
        assert_eq!(encoding.line_ends(&bytes[2..]).next_back(), Some(12));
    }
}
