"""One directory tree with what makes file servers differ: names, line ends, sizes and links."""

import os
import struct
import zlib
from pathlib import Path

# 2026-01-02 03:04:05 UTC; reading does not move an access time that is newer than the change.
CHANGED = 1_767_323_045
READ = CHANGED + 86_400 * 200

TEXTS = {
    "README.md": "# Tree\n\nA tree for tests.\n",
    "Upper.TXT": "upper case name\n",
    "a.txt": "one\ntwo\nthree\nfour\nfive\n",
    "b.txt": "b\n",
    "empty.txt": "",
    "newline.txt": "\n",
    "newlines.txt": "\n\n\n",
    "no-newline.txt": "first\nsecond\nthird",
    "crlf.txt": "first\r\nsecond\r\nthird\r\n",
    "long-lines.txt": ("x" * 3000 + "\n") * 5,
    "large.txt": "".join(f"line {n:05} of a file that is nearly cut\n" for n in range(1300)),
    "bom.txt": "\ufeffmarked\n",
    "ünïcödé.txt": "größe: Ω ≈ 7 · 日本語\n",
    "emoji 🎉.md": "🎉🎊\nparty\n",
    "with space/in name.txt": "spaces\n",
    "with space/100% #1?.txt": "signs\n",
    "name-that-is-longer-than-thirty-characters.txt": "long name\n",
    ".hidden": "hidden\n",
    ".config/settings.json": '{"a": 1}\n',
    "nested/one.txt": "1\n",
    "nested/a/two.txt": "2\n",
    "nested/a/b/three.md": "3\n",
    "nested/a/b/c/d/four.txt": "4\n",
    "日本/東京.txt": "東京\n",
    "many/.keep": "",
    'quote\'s "dir"/file.txt': "quoted\n",
}

# Texts that the reference decodes as the UTF-8 that they are not: (content, name of the encoding).
ENCODED = {
    "utf-16le.txt": ("größe €\r\n漢字\n", "utf-16le"),
    "utf-16be.txt": ("größe €\r\n漢字\n", "utf-16be"),
    "latin.txt": ("größe, “100 €”\nGrüße\n", "windows-1252"),
}
MARKS = {"utf-16le": b"\xff\xfe", "utf-16be": b"\xfe\xff"}

LINKS = {"link-to-file.txt": "a.txt", "link-to-dir": "nested/a", "nested/up.txt": "../b.txt"}

SECRETS = ["secret/.env", "secret/id_rsa", "secret/server.key", "secret/notes.txt"]

MEDIA = {
    "pixel.png",
    "photo.jpg",
    "vector.svg",
    "sound.wav",
    "song.mp3",
    "data.bin",
    "no-extension",
    "größe/50% #1.bin",
}


def png():
    """Returns a picture of one grey pixel."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0\x7f"))
        + chunk(b"IEND", b"")
    )


def plant(root):
    """Makes the tree below `root`, which must not exist yet."""
    root = Path(root)
    for name, text in TEXTS.items():
        put(root / name, text.encode())
    for name, (text, encoding) in ENCODED.items():
        put(root / name, MARKS.get(encoding, b"") + text.encode(encoding))
    for number in range(40):
        put(root / "many" / f"file-{number}.txt", b"." * number)
    for name in SECRETS:
        put(root / name, b"not for agents\n")
    put(root / "vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>\n")
    put(root / "pixel.png", png())
    put(root / "photo.jpg", bytes(range(256)))
    put(root / "sound.wav", b"RIFF\x24\0\0\0WAVEfmt ")
    put(root / "song.mp3", b"ID3\x04\0\0\0\0\0\0")
    put(root / "data.bin", bytes(range(255, -1, -1)) * 20)
    put(root / "größe/50% #1.bin", b"\xff\xfe")
    put(root / "no-extension", b"\0\1\2\3")
    put(root / "huge.bin", b"\0" * 1_500_000)
    (root / "empty").mkdir()
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    os.chmod(root / "b.txt", 0o600)
    for path in [root, *root.rglob("*")]:
        os.utime(path, (READ, CHANGED), follow_symlinks=False)
    return root


def widen(directory):
    """Makes a directory whose listing does not fit into one answer."""
    for number in range(2500):
        put(directory / f"{number:04}-a-name-that-takes-its-room-in-a-listing.txt", b"")


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
