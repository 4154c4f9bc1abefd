"""The tools that write, asked of both servers, each over a copy of one tree of its own: the
answers must be the same, and afterwards the trees."""

import json
import os
from pathlib import Path

from . import expected
from .process import Stdio
from .setup import NODE, REFERENCE, binary, environment

FILES = {
    "a.txt": "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\ntwelve\n",
    "b.txt": "b\n",
    "no-newline.txt": "first\nsecond",
    "code.py": "class A:\n    def f(self):\n        if x:\n            return 1\n        return 2\n",
    "tabs.c": "int f() {\n\tif (x) {\n\t\treturn 1;\n\t}\n}\n",
    "ticks.md": "```\ncode\n```\n",
    "empty.txt": "",
    "ünïcödé.txt": "größe: Ω ≈ 7\n日本語\n",
    "run.sh": "#!/bin/sh\necho old\n",
    "dir/inner.txt": "inner\n",
    "dir/deep/x.txt": "x\n",
    "long.txt": "".join(f"line {n}\n" for n in range(200)),
}

MOVED_PY = b"        if x:\n            return 1\n"
MOVED_C = b"\tif (x) {\n\t\treturn 1;\n\t}\n"

WRITES = [
    ("write_file", {"path": "new.txt", "content": "new\n"}),
    ("write_file", {"path": "b.txt", "content": "other"}),
    ("write_file", {"path": "b.txt", "content": ""}),
    ("write_file", {"path": "dir/größe 🎉.txt", "content": "Ω\r\nmixed\n\x00"}),
    ("write_file", {"path": "run.sh", "content": "#!/bin/sh\necho new\n"}),
    ("write_file", {"path": "dir", "content": "x"}),
    ("write_file", {"path": "b.txt/x", "content": "x"}),
    ("create_directory", {"path": "made"}),
    ("create_directory", {"path": "made"}),
    ("create_directory", {"path": "made/b/c/d"}),
    ("create_directory", {"path": "dir/"}),
    ("create_directory", {"path": "b.txt"}),
    ("move_file", {"source": "new.txt", "destination": "made/moved.txt"}),
    ("move_file", {"source": "dir", "destination": "made/dir"}),
    ("move_file", {"source": "made/dir", "destination": "dir"}),
    ("move_file", {"source": "a.txt", "destination": "b.txt"}),
    ("move_file", {"source": "a.txt", "destination": "made"}),
    ("move_file", {"source": "missing.txt", "destination": "x.txt"}),
    ("move_file", {"source": "a.txt", "destination": "missing/x.txt"}),
]


def edit(path, *edits, **more):
    """Returns the arguments of a call of edit_file."""
    pairs = [{"oldText": old, "newText": new} for old, new in edits]
    return ("edit_file", {"path": path, "edits": pairs, **more})


EDITS = [
    edit("a.txt", ("two", "2")),
    edit("a.txt", ("three\nfour", "3\n4\n4.5")),
    edit("a.txt", ("one", "eins"), ("twelve\n", "zwölf\n")),
    edit("a.txt", ("eins\n2", "1\nzwei"), ("zwei\n3", "2\n3")),
    edit("a.txt", ("five\n", "")),
    edit("a.txt", ("nowhere in the file", "x")),
    edit("a.txt", ("six", "6"), ("nowhere in the file", "x")),
    edit("a.txt", ("seven", "7"), dryRun=True),
    edit("a.txt", ("seven", "$& $1 $$ \\1")),
    edit("no-newline.txt", ("second", "2nd")),
    edit("no-newline.txt", ("2nd", "2nd\nthird\n")),
    edit("empty.txt", ("x", "y")),
    edit("ünïcödé.txt", ("Ω", "ω"), ("日本", "東京")),
    edit("ticks.md", ("code", "```` and more")),
    edit("run.sh", ("echo", "printf")),
    edit("long.txt", ("line 10\n", "ten\n"), ("line 18\n", "eighteen\n"), ("line 190\n", "")),
    edit("code.py", ("def f(self):", "def g(self):\n    pass")),
    # Apart from white space.
    edit("code.py", ("class A:  ", "class B:")),
    edit("code.py", ("        return 2\t", "        return 3")),
    edit("missing.txt", ("a", "b")),
    edit("dir", ("a", "b")),
]


class WritePair:
    """The two servers, each with its own copy."""

    def __init__(self, checks, scratch):
        self.checks = checks
        scratch = Path(scratch).resolve() / "writes"
        self.roots = {name: plant(scratch / name / "tree") for name in ("reference", "roothold")}
        env = environment(scratch)
        commands = {
            "reference": [NODE, REFERENCE, self.roots["reference"]],
            "roothold": [binary("ROOTHOLD_BIN"), "stdio", "--write", self.roots["roothold"]],
        }
        self.servers = {
            name: Stdio(command, env, scratch / f"{name}.log") for name, command in commands.items()
        }

    def ask(self, name, tool, arguments):
        """Returns an answer of one server, with its own root taken out of the text."""
        root = str(self.roots[name])
        placed = {
            key: f"{root}/{value}" if key in ("path", "source", "destination") else value
            for key, value in arguments.items()
        }
        answer = self.servers[name].call(tool, placed)
        return answer, answer["content"][0]["text"].replace(root, "")

    def same(self, tool, arguments):
        """Checks that both say and do the same."""
        what = f"{tool} {json.dumps(arguments, ensure_ascii=False)[:100]}"
        with self.checks.guard(what):
            reference, wanted = self.ask("reference", tool, arguments)
            roothold, found = self.ask("roothold", tool, arguments)
            refused = reference.get("isError", False)
            self.checks.equal(f"{what}: refused alike", roothold.get("isError", False), refused)
            if not refused:
                expected.shape(tool, roothold)
                self.checks.equal(what, found, wanted)
            trees = {name: contents(root) for name, root in self.roots.items()}
            self.checks.equal(f"{what}: the same is there", trees["roothold"], trees["reference"])

    def close(self):
        self.checks.equal("roothold ends with its input", self.servers["roothold"].close(), 0)
        self.servers["reference"].close()


def plant(root):
    """Writes the files, and returns where."""
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    os.chmod(root / "run.sh", 0o755)
    return root


def contents(root):
    """Returns everything below a directory: kind, permission bits and bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        mode = path.stat().st_mode & 0o777
        found[name] = (mode, None if path.is_dir() else path.read_bytes())
    return found


def writes(checks, scratch):
    """Everything that writes."""
    pair = WritePair(checks, scratch)
    for tool, arguments in WRITES + EDITS:
        pair.same(tool, arguments)
    intended(pair)
    pair.close()


def moved_lines(pair, both):
    """Lines that match apart from white space: all that are new are moved, or nothing is changed."""
    checks = pair.checks
    for path, old, new, reference, roothold in [
        (
            "moved.py",
            "if x:\n    return 1",
            "if y:\n    return 3\n    # more",
            b"        if y:\n        return 3\n    # more\n",
            b"        if y:\n            return 3\n            # more\n",
        ),
        (
            "moved.c",
            "if (x) {\n  return 1;\n}",
            "if (y) {\n  return 2;\n  // more\n} // end",
            b"\tif (y) {\n\treturn 2;\n  // more\n} // end\n",
            b"\tif (y) {\n\t\treturn 2;\n\t\t// more\n\t} // end\n",
        ),
    ]:
        content = {"moved.py": MOVED_PY, "moved.c": MOVED_C}[path]
        for root in pair.roots.values():
            (root / path).write_bytes(content)
        checks.equal(f"both edit {path}", both(*edit(path, (old, new))), [False, False])
        found = {name: (root / path).read_bytes() for name, root in pair.roots.items()}
        checks.equal(f"the reference moves the first line of {path}", found["reference"], reference)
        checks.equal(f"roothold moves all lines of {path}", found["roothold"], roothold)
    refused = both(*edit("moved.py", ("      if y:\n      return 3", "if z:\nreturn 4")))
    checks.equal("roothold refuses what cannot be told", refused[1], True)


def intended(pair):
    """The rows of docs/differences.md about writing."""
    checks = pair.checks

    def both(tool, arguments):
        return [pair.ask(name, tool, arguments)[0].get("isError", False) for name in pair.servers]

    for path, content in {"crlf.txt": b"a\r\nb\r\n", "twice.txt": b"x\nx\n"}.items():
        for root in pair.roots.values():
            (root / path).write_bytes(content)
    refused = both(*edit("crlf.txt", ("b", "c")))
    checks.equal("both edit a file with CRLF", refused, [False, False])
    found = {name: (root / "crlf.txt").read_bytes() for name, root in pair.roots.items()}
    checks.equal("the reference makes it LF", found["reference"], b"a\nc\n")
    checks.equal("roothold keeps CRLF", found["roothold"], b"a\r\nc\r\n")
    moved_lines(pair, both)
    refused = both(*edit("twice.txt", ("x", "y")))
    checks.equal("roothold refuses what is there twice", refused, [False, True])
    refused = both("write_file", {"path": "not/there/yet.txt", "content": "x"})
    checks.equal("roothold makes missing directories", refused, [True, False])
    refused = both(*edit("twice.txt"))
    checks.equal("roothold refuses no edits", refused, [False, True])
    refused = both("write_file", {"path": ".env", "content": "x"})
    checks.equal("roothold writes no secrets", refused, [False, True])
    answer = pair.servers["roothold"].call(
        "delete_file", {"path": f"{pair.roots['roothold']}/crlf.txt"}
    )
    checks.true("roothold deletes", not answer.get("isError"), str(answer))
