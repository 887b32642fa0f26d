"""The fenced blocks of README, CONTRIBUTING and docs/, for the tests that run and check them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block; ``line`` is the number of its first line in the page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Command(NamedTuple):
    """A line of a sh block as words; environment variables in front of it are left out."""

    where: str
    words: list[str]


def read(page: str) -> str:
    """The text of a page, named from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[Block]:
    """The blocks of a page in one language, in their order."""
    text = read(page)
    return [
        Block(page, text.count("\n", 0, fence.start(2)) + 1, language, fence[2])
        for fence in _FENCE.finditer(text)
        if fence[1] == language
    ]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def commands(page: str) -> list[Command]:
    """The commands of a page's sh blocks; a backslash continues a line, ``&&`` begins another command."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                if words:
                    found.append(Command(str(block), words))
    return found
