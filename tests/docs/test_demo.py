"""README shows what scripts/demo prints."""

from __future__ import annotations

import re
import subprocess

import pytest
from doc_blocks import ROOT, blocks

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def comparable(line: str) -> str:
    """A line without times of day, durations, version names, and spaces at its end; spaces in it as one."""
    line = re.sub(r"^\d\d:\d\d:\d\d INFO ", "", line)
    line = re.sub(r"\d+\.\d\d s$", "TIME", re.sub(r"\d{8}T\d{6}Z", "VERSION", line))
    return " ".join(line.split())


def agree(shown: str, printed: str) -> bool:
    """The same words, and the same numbers up to the rounding of another number of blocks."""
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    numbers = [[float(number.replace(",", "")) for number in NUMBER.findall(line)] for line in (shown, printed)]
    return all(a == pytest.approx(b, rel=1e-4, abs=2e-3) for a, b in zip(*numbers, strict=True))


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows():
    run = subprocess.run(
        [ROOT / "scripts/demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    printed = [line for line in map(comparable, run.stdout.splitlines()) if line]
    (block,) = blocks("README.md", "text")
    at = 0
    for part in block.text.split("...\n"):  # which stands for any lines
        shown = [line for line in map(comparable, part.splitlines()) if line]
        at = next((n for n in range(at, len(printed)) if agree(shown[0], printed[n])), len(printed))
        found = printed[at : at + len(shown)]
        pairs = list(zip(shown, found, strict=False))
        assert len(pairs) == len(shown), f"not in the output: {shown}\n{run.stdout}"
        assert [pair for pair in pairs if not agree(*pair)] == []
