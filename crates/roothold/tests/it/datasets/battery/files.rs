//! Cases about what files hold.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::Bench;

const MIB: usize = 1024 * 1024;

pub(super) fn archives_are_refused(bench: &Bench) {
    let mut zip = b"PK\x03\x04\x14\x00\x00\x00\x08\x00".to_vec();
    zip.extend(vec![0x55; 4096]);
    for name in ["bomb.zip", "bomb.csv", "bomb.jsonl", "bomb.parquet"] {
        bench.file(name, &zip);
        bench.refused_everywhere(&format!("$ROOT/data/{name}"), &["unsupported", "invalid"]);
    }
    // Once packed, and by its name something else.
    let packed = zstd::stream::encode_all(&zip[..], 1).unwrap();
    bench.file("packed.csv.zst", packed);
    bench.refused_everywhere("$ROOT/data/packed.csv.zst", &["unsupported"]);
}

pub(super) fn bombs_are_limits(bench: &Bench) {
    // 10 GiB of zeros, in as many members as it takes.
    let member = gzip(&vec![b'0'; 16 * MIB]);
    bench.file("zeros.csv.gz", member.repeat(640));
    bench.refused_everywhere("$ROOT/data/zeros.csv.gz", &["limit"]);
    // 80 MiB of sound records, in streams one after the other: a page of them is a few KiB.
    let streams = |pack: fn(&[u8]) -> Vec<u8>| {
        let page = [b"a\n".to_vec(), b"0\n".repeat(MIB / 2)].concat();
        pack(&page).repeat(80)
    };
    for (name, bytes) in [
        ("lines.csv.gz", streams(gzip)),
        ("lines.csv.zst", streams(|page| zstd::stream::encode_all(page, 1).unwrap())),
        ("lines.csv.bz2", streams(bzip2)),
        ("lines.csv.xz", streams(xz)),
    ] {
        bench.file(name, bytes);
        let (kind, text) = bench
            .ask(
                "query_dataset",
                &json!({
                    "data_source": bench.at(&format!("$ROOT/data/{name}")),
                    "sql": "SELECT count(*) FROM data",
                    "options": {"types": {"*": "text"}},
                }),
            )
            .expect_err(name);
        assert_eq!(kind, "limit", "{name}: {text}");
    }
    let small = gzip(b"a\n1\n");
    bench.file("garbage.csv.gz", [small, b"garbage behind it".to_vec()].concat());
    bench.refused_everywhere("$ROOT/data/garbage.csv.gz", &["invalid"]);
    bench.file("window.csv.zst", b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00");
    bench.refused_everywhere("$ROOT/data/window.csv.zst", &["invalid", "limit"]);
    bench.file("a.csv.lz4", b"\x04\x22\x4d\x18xxxx");
    bench.refused_everywhere("$ROOT/data/a.csv.lz4", &["unsupported"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bzip2.write_all(bytes).unwrap();
    bzip2.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).unwrap();
    xz.finish().unwrap()
}

pub(super) fn odd_text_is_an_error_with_its_line(bench: &Bench) {
    let wide: Vec<String> = (0..1_000_000).map(|at| format!("c{at}")).collect();
    bench.file("wide.csv", wide.join(",") + "\n");
    bench.refused_everywhere("$ROOT/data/wide.csv", &["limit"]);
    bench.file("long.csv", [b"a\n1\n".to_vec(), vec![b'x'; 64 * MIB]].concat());
    let (kind, text) = bench.query("$ROOT/data/long.csv", "SELECT max(a) FROM data").unwrap_err();
    assert!(kind == "limit" && text.contains("line 3"), "{text}");
    bench.file("nul.csv", b"a,b\n1,\0\n");
    bench.refused_everywhere("$ROOT/data/nul.csv", &["unsupported"]);
    let tail = b"1,x\n".repeat(5000);
    bench.file(
        "mixed.csv",
        [b"a,b\n1,\xc3\xa9\n".to_vec(), tail.clone(), b"2,\xe9\n".to_vec()].concat(),
    );
    let (kind, text) = bench.query("$ROOT/data/mixed.csv", "SELECT max(b) FROM data").unwrap_err();
    assert!(kind == "invalid" && text.contains("5003"), "{text}");
    bench.file("ragged.csv", [b"a,b\n".to_vec(), tail, b"1\n".to_vec()].concat());
    let (kind, text) = bench.query("$ROOT/data/ragged.csv", "SELECT max(b) FROM data").unwrap_err();
    assert!(kind == "invalid" && text.contains("5002"), "{text}");
    let utf16: Vec<u8> = std::iter::once(0xfeff_u16)
        .chain("a,b\n1,\u{e9}\n".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, bytes, rows) in [
        ("utf16.csv", utf16, json!([["\u{e9}"]])),
        ("bom.csv", b"\xef\xbb\xbfa,b\n1,x\n".to_vec(), json!([["x"]])),
        ("crlf.csv", b"a,b\r\n1,x\r\n".to_vec(), json!([["x"]])),
    ] {
        bench.file(name, bytes);
        let answer = bench.query(&format!("$ROOT/data/{name}"), "SELECT b FROM data").unwrap();
        assert_eq!(answer["rows"], rows, "{name}");
    }
    bench.file("cr.csv", b"a,b\r1,x\r2,y\r");
    match bench.query("$ROOT/data/cr.csv", "SELECT count(*) FROM data") {
        Ok(answer) => assert_eq!(answer["rows"], json!([[2]])),
        Err((kind, text)) => assert!(kind == "invalid" || kind == "unsupported", "{text}"),
    }
}

/// A sound Parquet file, written by the server itself.
fn parquet(bench: &Bench) -> Vec<u8> {
    let path = bench.at("$ROOT/data/sound.parquet");
    let lines: String = (0..500).map(|at| format!("{at},name {},{at}.5\n", at % 7)).collect();
    bench.file("to.csv", format!("id,name,v\n{lines}"));
    let arguments = json!({
        "data_source": bench.at("$ROOT/data/to.csv"),
        "sql": "SELECT * FROM data",
        "output": path,
    });
    bench.ask("query_dataset", &arguments).unwrap();
    std::fs::read(&path).unwrap()
}

pub(super) fn broken_parquet_is_an_error(bench: &Bench) {
    let sound = parquet(bench);
    let footer = usize::try_from(u32::from_le_bytes(
        sound[sound.len() - 8..sound.len() - 4].try_into().unwrap(),
    ))
    .unwrap();
    let begin = sound.len() - 8 - footer;
    let mut broken: Vec<Vec<u8>> = Vec::new();
    for length in [0_u32, 1, u32::MAX, i32::MAX as u32, u32::try_from(sound.len()).unwrap()] {
        let mut file = sound.clone();
        let at = file.len() - 8;
        file[at..at + 4].copy_from_slice(&length.to_le_bytes());
        broken.push(file);
    }
    broken.push(b"PAR1".to_vec());
    broken.push(b"PAR1PAR1".to_vec());
    broken.push(sound[..sound.len() / 2].to_vec());
    broken.push(b"PAR1\x02\x00\x00\x00PAR1".to_vec());
    // The same bytes are changed in every run.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % below
    };
    for at in 0..120 {
        let mut file = sound.clone();
        for _ in 0..=at % 3 {
            let place = if at % 2 == 0 { begin + random(footer) } else { 4 + random(begin - 4) };
            file[place] = [0x00, 0xff, 0x80, 0x41, 0x7f][random(5)];
        }
        broken.push(file);
    }
    let mut refused = 0;
    for (at, file) in broken.iter().enumerate() {
        bench.file("broken.parquet", file);
        let answer = bench.query(
            "$ROOT/data/broken.parquet",
            "SELECT count(id), count(name), sum(v), max(name), min(id) FROM data",
        );
        if let Err((kind, text)) = answer {
            let kinds = ["invalid", "unsupported", "limit"];
            assert!(kinds.contains(&kind.as_str()), "{at}: {kind} {text}");
            refused += 1;
        } else {
            assert!(at >= 9, "{at} is read");
        }
    }
    assert!(refused > 40, "{refused} of {}", broken.len());
}

pub(super) fn unknown_parquet_is_refused(bench: &Bench) {
    bench.file("locked.parquet", b"PARE\x00\x00\x00\x00PARE");
    bench.refused_everywhere("$ROOT/data/locked.parquet", &["unsupported"]);
    let mut sound = parquet(bench);
    let end = sound.len();
    sound[end - 4..].copy_from_slice(b"PARE");
    bench.file("footer.parquet", &sound);
    bench.refused_everywhere("$ROOT/data/footer.parquet", &["unsupported", "invalid"]);
}

pub(super) fn arrow_is_refused(bench: &Bench) {
    for (name, bytes) in [
        ("a.arrow", b"ARROW1\0\0\x10\0\0\0\0\0\0\0".to_vec()),
        ("a.csv.arrow", b"\xff\xff\xff\xff\x10\0\0\0rest".to_vec()),
        ("arrow.parquet", b"ARROW1\0\0\x10\0\0\0ARROW1".to_vec()),
    ] {
        bench.file(name, bytes);
        bench.refused_everywhere(&format!("$ROOT/data/{name}"), &["unsupported"]);
    }
}

pub(super) fn special_files_are_refused(bench: &Bench) {
    let data = bench.dirs.work().join("data");
    std::fs::File::create(data.join("sparse.csv")).unwrap().set_len(1 << 40).unwrap();
    bench.refused_everywhere("$ROOT/data/sparse.csv", &["unsupported", "limit"]);
    mknodat(CWD, data.join("fifo.csv"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    bench.refused_everywhere("$ROOT/data/fifo.csv", &["denied"]);
    std::os::unix::fs::symlink("/dev/zero", data.join("zero.csv")).unwrap();
    bench.refused_everywhere("$ROOT/data/zero.csv", &["denied"]);
    bench.refused_everywhere("$ROOT/data", &["unsupported"]);
    // A glob passes by what is no file.
    bench.refused_everywhere("$ROOT/data/{fifo,zero}.csv", &["not_found"]);
}

pub(super) fn a_file_that_shrinks_is_no_signal(bench: &Bench) {
    let lines = b"1234567,abcdefghij\n".repeat(400_000);
    for round in 0..6 {
        bench.file("moving.csv", [b"a,b\n".to_vec(), lines.clone()].concat());
        let path = bench.dirs.work().join("data/moving.csv");
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = std::fs::OpenOptions::new().write(true).mode(0o600).open(&path).unwrap();
                for left in (0..8).rev() {
                    std::thread::sleep(std::time::Duration::from_millis(10 * (round + 1)));
                    file.set_len(left * 500_000).unwrap();
                }
            });
            bench.query("$ROOT/data/moving.csv", "SELECT count(*), max(b) FROM data")
        });
        if let Err((kind, text)) = answer {
            assert!(
                ["conflict", "invalid", "unsupported"].contains(&kind.as_str()),
                "{kind} {text}"
            );
        }
    }
}

pub(super) fn tars_are_refused(bench: &Bench) {
    for name in ["../../etc/passwd", "/etc/passwd", "link.csv", "device"] {
        let mut tar = vec![0_u8; 2048];
        tar[..name.len()].copy_from_slice(name.as_bytes());
        tar[156] = if name == "device" { b'3' } else { b'2' };
        tar[257..262].copy_from_slice(b"ustar");
        bench.file("evil.tar", &tar);
        bench.refused_everywhere("$ROOT/data/evil.tar", &["unsupported"]);
        bench.file("evil.csv", &tar);
        bench.refused_everywhere("$ROOT/data/evil.csv", &["unsupported"]);
        let packed = zstd::stream::encode_all(&tar[..], 1).unwrap();
        bench.file("evil.tar.zst", packed);
        bench.refused_everywhere("$ROOT/data/evil.tar.zst", &["unsupported"]);
    }
}
