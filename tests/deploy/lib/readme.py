"""What deploy/README.md tells people to type, so that tests can type it."""

import re
import textwrap

from lib.setup import REPOSITORY


def blocks(heading):
    """Returns the indented blocks of the section under a heading, without their indentation.

    Raises RuntimeError where there is no such section.
    """
    text = (REPOSITORY / "deploy/README.md").read_text()
    for section in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if title == heading:
            found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", body, flags=re.MULTILINE)
            return [textwrap.dedent(block).strip("\n") + "\n" for block in found]
    raise RuntimeError(f"deploy/README.md has no section {heading!r}")
