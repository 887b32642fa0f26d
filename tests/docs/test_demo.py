"""README shows what scripts/demo prints."""

from __future__ import annotations

import subprocess

import pytest
from doc_blocks import ROOT, blocks, disagreement


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows():
    run = subprocess.run(
        [ROOT / "scripts/demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    (shown,) = blocks("README.md", "console")
    assert disagreement(shown.text, run.stdout) == ""
