"""The fenced blocks of README, CONTRIBUTING and docs/, for the tests that run and check them."""

from __future__ import annotations

import math
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


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in their order."""
    text = read(page)
    return [
        Block(page, text.count("\n", 0, fence.start(2)) + 1, fence[1], fence[2])
        for fence in _FENCE.finditer(text)
        if fence[1] in languages
    ]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def commands(page: str) -> list[Command]:
    """The commands of a page's sh blocks, and scripts with options in its sentences.

    A backslash continues a line, ``&&`` begins another command.
    """
    inline = re.findall(r"`((?:scripts/[^\s`]+|\.venv/bin/python) [^`]+)`", prose(page))
    found = [Command(page, shlex.split(text)) for text in inline]
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.sub(r"(^|\s)#.*", "", line).split("&&"):
                words = shlex.split(part)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                if words:
                    found.append(Command(str(block), words))
    return found


def disagreement(shown: str, printed: str) -> str:
    """The first part of what a page shows that a program did not print; empty if it printed all.

    Lines of ``...`` stand for any lines. Spaces, times and names of versions do not matter, nor do numbers up to the
    rounding of another number of blocks.
    """
    lines = [line for line in map(_comparable, printed.splitlines()) if line]
    at = 0
    for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE):
        expected = [line for line in map(_comparable, part.splitlines()) if line]
        places = range(at, len(lines) - len(expected) + 1)
        at = next((place for place in places if all(map(_agree, expected, lines[place:]))), -1) + len(expected)
        if at < len(expected):
            return f"{part}is not in\n{printed}"
    return ""


_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def _comparable(line: str) -> str:
    line = re.sub(r"^\d\d:\d\d:\d\d INFO ", "", line)
    line = re.sub(r"\d+\.\d\d s$", "TIME", re.sub(r"\d{8}T\d{6}Z", "VERSION", line))
    return re.sub(r" ?([|+]) ?", r"\1", re.sub(r"[\s-]+", " ", line)).strip()  # a table's columns may be wider


def _agree(shown: str, printed: str) -> bool:
    if _NUMBER.sub("#", shown) != _NUMBER.sub("#", printed):
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    numbers = [(float(one.replace(",", "")), float(other.replace(",", ""))) for one, other in pairs]
    return all(math.isclose(one, other, rel_tol=1e-3, abs_tol=2e-3) for one, other in numbers)
