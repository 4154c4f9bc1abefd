#!/usr/bin/env python3
"""Asks the reference filesystem server and `roothold stdio` the same, and compares the answers.

Only the differences that docs/differences.md lists are taken away before the comparison.
"""

import tempfile
from pathlib import Path

from lib import expected
from lib.checks import Checks
from lib.process import Stdio
from lib.setup import NODE, REFERENCE, binary, environment
from lib.tree import ENCODED, LINKS, MEDIA, SECRETS, TEXTS, plant, widen
from lib.writes import writes

DIRECTORIES = [
    "",
    "empty",
    "nested",
    "nested/a",
    "nested/a/b/c",
    "with space",
    "日本",
    "many",
    ".config",
    "größe",
    'quote\'s "dir"',
    "nested/",
    "nested/../nested/a",
]
# Listing these shows the secrets that Roothold hides.
SHOWS_SECRETS = {""}

SEARCHES = [
    ("*", []),
    ("**", []),
    ("**/*", []),
    ("*.txt", []),
    ("**/*.txt", []),
    ("**/*.md", []),
    ("nested/**", []),
    ("nested/*", []),
    ("**/a/**", []),
    ("**/file-1?.txt", []),
    ("a.txt", []),
    ("**/*ü*", []),
    ("**/[ab].txt", []),
    ("**/*.{md,json}", []),
    ("nothing-like-this", []),
    ("**/*.txt", ["nested/**"]),
    ("**/*.txt", ["**/file-*"]),
    ("**", ["many", "many/**"]),
    ("**/.*", []),
    ("**/東*", []),
]

# Files behind links, and what they lead to.
LINKED_TEXTS = {
    "link-to-file.txt": "a.txt",
    "nested/up.txt": "b.txt",
    "link-to-dir/two.txt": "nested/a/two.txt",
}

TREE_EXCLUDES = [
    [],
    ["nested"],
    ["*.txt"],
    ["**/*.txt"],
    ["a"],
    ["many/**", ".config"],
    ["nested/a"],
]

RANGES = [{}] + [{way: n} for way in ("head", "tail") for n in (1, 2, 3, 5, 6, 1000)]


class Pair:
    """The two servers, asked one after the other."""

    def __init__(self, checks, root, scratch):
        env = environment(scratch)
        self.checks = checks
        self.root = root
        self.reference = Stdio([NODE, REFERENCE, root], env, Path(scratch) / "reference.log")
        command = [binary("ROOTHOLD_BIN"), "stdio", root]
        self.roothold = Stdio(command, env, Path(scratch) / "roothold.log")

    def path(self, name):
        return f"{self.root}/{name}" if name else str(self.root)

    def same(self, tool, arguments, normal=lambda block: block, ask_reference=None):
        """Checks that both give the same answer once `normal` took the listed differences away."""
        what = f"{tool} {expected.brief(arguments, self.root)}"
        with self.checks.guard(what):
            reference = self.reference.call(tool, ask_reference or arguments)
            roothold = self.roothold.call(tool, arguments)
            wanted_error = reference.get("isError", False)
            if wanted_error or roothold.get("isError", False):
                self.checks.equal(
                    f"{what}: refused alike", roothold.get("isError", False), wanted_error
                )
                return
            expected.shape(tool, roothold)
            self.checks.equal(what, normal(roothold["content"][0]), normal(reference["content"][0]))

    def close(self):
        self.checks.equal("roothold ends with its input", self.roothold.close(), 0)
        self.reference.close()


def text(block):
    return block["text"]


def listings(pair):
    pair.same("list_allowed_directories", {}, text)
    for name in DIRECTORIES:
        path = {"path": pair.path(name)}
        pair.same("list_directory", path, expected.lines)
        pair.same("list_directory_with_sizes", path, expected.sized_lines)
        for order in ("name", "size"):
            pair.same("list_directory_with_sizes", {**path, "sortBy": order}, expected.sized_lines)
        if name not in SHOWS_SECRETS:
            pair.same("directory_tree", path, expected.tree)
    for excludes in TREE_EXCLUDES:
        arguments = {"path": pair.path(""), "excludePatterns": [*excludes, "secret"]}
        pair.same("directory_tree", arguments, expected.tree)


def searches(pair):
    for pattern, excludes in SEARCHES:
        # Below `secret` lie names that only the reference shows.
        excludes = [*excludes, "secret/**"]
        arguments = {"path": pair.path(""), "pattern": pattern, "excludePatterns": excludes}
        pair.same("search_files", arguments, expected.lines)
    for name in ("nested", "many", "with space", "empty"):
        pair.same("search_files", {"path": pair.path(name), "pattern": "**/*.txt"}, expected.lines)


def reads(pair):
    for name in [*TEXTS, *LINKED_TEXTS]:
        content = TEXTS[LINKED_TEXTS.get(name, name)]
        for part in RANGES:
            arguments = {"path": pair.path(name), **part}
            if "tail" in part:
                other = expected.tail_arguments(arguments, content)
                pair.same("read_text_file", arguments, expected.tail_text(content), other)
            else:
                pair.same("read_text_file", arguments, expected.unmarked)
        pair.same("read_file", {"path": pair.path(name)}, expected.unmarked)
        pair.same("get_file_info", {"path": pair.path(name)}, expected.facts)
    # To JSON Schema 1.0 is an integer, and some clients write it so.
    pair.same("read_text_file", {"path": pair.path("a.txt"), "head": 2.0}, text)
    for name in MEDIA:
        pair.same("read_media_file", {"path": pair.path(name)})
    for name in ("", "empty", "nested", "pixel.png", "huge.bin"):
        pair.same("get_file_info", {"path": pair.path(name)}, expected.facts)
    for names in (
        ["a.txt"],
        ["a.txt", "b.txt", "empty.txt"],
        ["no-newline.txt", "emoji 🎉.md"],
        ["a.txt", "missing.txt", "b.txt"],
        ["missing.txt"],
        ["nested", "a.txt"],
    ):
        arguments = {"paths": [pair.path(name) for name in names]}
        pair.same("read_multiple_files", arguments, expected.files)


def refusals(pair):
    for tool in (
        "read_text_file",
        "read_media_file",
        "get_file_info",
        "list_directory",
        "list_directory_with_sizes",
        "directory_tree",
    ):
        for name in ("missing", "missing/deeper"):
            pair.same(tool, {"path": pair.path(name)})
        for path in ("/etc/passwd", f"{pair.root}/../outside", f"{pair.root}-other", "/"):
            pair.same(tool, {"path": path})
    pair.same("read_text_file", {"path": pair.path("nested")})
    pair.same("list_directory", {"path": pair.path("a.txt")})
    pair.same("read_text_file", {"path": pair.path("a.txt"), "head": 1, "tail": 1})


def intended(pair):
    """The rows of docs/differences.md that can be shown from outside."""
    checks = pair.checks
    listing = {"path": pair.path("secret")}
    hidden = [name.split("/")[1] for name in SECRETS]
    reference = expected.lines(pair.reference.call("list_directory", listing)["content"][0])
    checks.equal("the reference shows secrets", reference, sorted(f"[FILE] {n}" for n in hidden))
    roothold = expected.lines(pair.roothold.call("list_directory", listing)["content"][0])
    checks.equal("roothold hides secrets", roothold, ["[FILE] notes.txt"])
    for name in SECRETS[:3]:
        answer = pair.roothold.call("read_text_file", {"path": pair.path(name)})
        checks.true(f"roothold does not read {name}", answer.get("isError"), str(answer))

    listing = pair.roothold.call("list_directory", {"path": pair.path("")})["content"][0]["text"]
    names = [line.split(" ", 1)[1] for line in listing.splitlines()]
    checks.equal("entries come in the order of their bytes", names, sorted(names, key=str.encode))

    arguments = {"path": pair.path("a.txt"), "lines": 3}
    answer = pair.reference.call("read_text_file", arguments)
    checks.true("the reference ignores an unknown argument", not answer.get("isError"), str(answer))
    refused = expected.refused(pair.roothold, "read_text_file", arguments)
    checks.true("roothold refuses an unknown argument", refused)
    refused = expected.refused(pair.roothold, "read_text_file", {"path": "~/a.txt"})
    checks.true("roothold does not expand ~", refused)
    zero = {"path": pair.path("a.txt"), "head": 0}
    answer = pair.reference.call("read_text_file", zero)
    checks.true("the reference takes head 0 for none", not answer.get("isError"), str(answer))
    checks.true("roothold refuses head 0", expected.refused(pair.roothold, "read_text_file", zero))
    encodings(pair)
    spelling(pair)
    links(pair)
    relative(pair)
    cut(pair)
    wide(pair)


def encodings(pair):
    """Texts in other encodings are read, and the answer says which."""
    for name, (content, encoding) in ENCODED.items():
        arguments = {"path": pair.path(name)}
        shown = pair.reference.call("read_text_file", arguments)["content"][0]["text"]
        pair.checks.true(f"the reference does not decode {name}", "\ufffd" in shown, shown)
        answer = pair.roothold.call("read_text_file", arguments)
        pair.checks.equal(f"roothold decodes {name}", answer["content"][0]["text"], content)
        said = expected.second_block(answer).get("encoding")
        pair.checks.equal(f"roothold says how {name} is encoded", said, encoding)
        tail = pair.roothold.call("read_text_file", {**arguments, "tail": 1})
        last = content.splitlines(keepends=True)[-1]
        pair.checks.equal(f"the tail of {name}", tail["content"][0]["text"], last)
    marked = pair.roothold.call("read_text_file", {"path": pair.path("bom.txt")})
    said = expected.second_block(marked).get("encoding")
    pair.checks.equal("roothold says that a mark is there", said, "utf-8-bom")


def spelling(pair):
    """A name in another Unicode spelling than the disk's is another name."""
    (Path(pair.root) / "cafe\u0301.txt").write_text("decomposed\n")
    composed = {"path": pair.path("caf\u00e9.txt")}
    answer = pair.reference.call("read_text_file", composed)
    pair.checks.true("the reference tries other spellings", not answer.get("isError"), str(answer))
    refused = expected.refused(pair.roothold, "read_text_file", composed)
    pair.checks.true("roothold takes names as they are", refused)
    pair.same("read_text_file", {"path": pair.path("cafe\u0301.txt")}, text)


def links(pair):
    """The sum of sizes counts files, and what a link leads to is not looked at."""
    answer = pair.roothold.call("list_directory_with_sizes", {"path": pair.path("")})
    files = [path for path in Path(pair.root).iterdir() if path.is_file() and not path.is_symlink()]
    found = answer["structuredContent"]
    pair.checks.equal(
        "the sum is that of the files", found["total_bytes"], sum(f.stat().st_size for f in files)
    )
    kinds = {entry["name"]: entry["type"] for entry in found["entries"]}
    for name in LINKS:
        if "/" not in name:
            pair.checks.equal(f"{name} is told to be a link", kinds.get(name), "symlink")


def relative(pair):
    """A relative path is taken below the only root, and refused where there are several."""
    for tool in ("read_text_file", "get_file_info"):
        normal = expected.facts if tool == "get_file_info" else text
        pair.same(tool, {"path": "nested/one.txt"}, normal)
    pair.same("list_directory", {"path": "."}, expected.lines)
    nested, many = pair.path("nested"), pair.path("many")
    command = [binary("ROOTHOLD_BIN"), "stdio", nested, many]
    scratch = Path(pair.root).parent
    several = Stdio(command, environment(scratch / "several"), scratch / "several.log")
    listed = several.call("list_allowed_directories", {})["content"][0]["text"]
    pair.checks.equal("several roots keep their order", listed.split("\n")[1:], [nested, many])
    answer = several.call("read_text_file", {"path": "one.txt"})
    pair.checks.true(
        "a relative path is refused with several roots", answer.get("isError"), str(answer)
    )
    hint = answer["content"][0]["text"]
    pair.checks.true("the hint names the roots", nested in hint and many in hint, hint)
    answer = several.call("read_text_file", {"path": f"{nested}/one.txt"})
    pair.checks.equal("an absolute path is read", answer["content"][0]["text"], "1\n")
    several.close()


def cut(pair):
    """A text over 64 KiB is cut at a line, and the pages together are the file."""
    whole = "".join(f"{n:06} a line of a file that must be cut\n" for n in range(6000))
    file = Path(pair.root) / "cut.txt"
    file.write_text(whole)
    pages = [
        answer["content"][0]["text"]
        for answer in paged(pair, "read_text_file", {"path": str(file)})
    ]
    pair.checks.true("a long text comes in several pages", len(pages) > 1)
    pair.checks.true("each page ends with a line", all(page.endswith("\n") for page in pages))
    pair.checks.true("the pages together are the file", "".join(pages) == whole, "they differ")


def wide(pair):
    """A long listing comes in pages, which together are what the reference gives at once."""
    directory = Path(pair.root) / "wide"
    widen(directory)
    for tool, arguments in (
        ("list_directory", {"path": str(directory)}),
        ("search_files", {"path": str(directory), "pattern": "**/*.txt"}),
    ):
        pages = paged(pair, tool, arguments)
        found = [line for answer in pages for line in expected.lines(answer["content"][0])]
        wanted = expected.lines(pair.reference.call(tool, arguments)["content"][0])
        pair.checks.true(f"{tool} comes in several pages", len(pages) > 1)
        pair.checks.true(f"{tool}: the pages together are complete", found == wanted, "they differ")


def paged(pair, tool, arguments):
    """Returns every page of an answer; each must keep to the limit."""
    answers, cursor = [], None
    while len(answers) < 40:
        more = {"cursor": cursor} if cursor else {}
        answer = pair.roothold.call(tool, {**arguments, **more})
        size = sum(len(block["text"].encode()) for block in answer["content"][:1])
        pair.checks.true(
            f"{tool}: page {len(answers)} is at most 64 KiB", 0 < size <= 65536, str(answer)[:300]
        )
        answers.append(answer)
        structured = answer.get("structuredContent")
        facts = expected.second_block(answer) if structured is None else structured
        cursor = facts.get("next_cursor")
        if not cursor:
            return answers
    raise AssertionError(f"{tool} never ends")


def main():
    checks = Checks("differential")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("both servers run"),
    ):
        root = plant(Path(scratch).resolve() / "tree")
        pair = Pair(checks, str(root), scratch)
        for part in (listings, searches, reads, refusals, intended):
            with checks.guard(part.__name__):
                part(pair)
        pair.close()
        with checks.guard("writes"):
            writes(checks, scratch)
    checks.finish()


if __name__ == "__main__":
    main()
