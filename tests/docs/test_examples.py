"""The Python of README and docs/ runs, page by page, and so do the jobs that README shows."""

from __future__ import annotations

import logging
import runpy
import sys

import pytest
from doc_blocks import PAGE_NAMES, ROOT, Block, blocks, commands, read

EXAMPLES = [page for page in PAGE_NAMES if blocks(page, "python")]
WITH_OWN_SESSION = [page for page in EXAMPLES if "open_session" in read(page)]


def run(block: Block, namespace: dict[str, object]) -> None:
    """Run a block; a traceback names the page and the line."""
    padded = "\n" * (block.line - 1) + block.text
    exec(compile(padded, str(ROOT / block.page), "exec"), namespace)


@pytest.mark.parametrize("page", WITH_OWN_SESSION)
def test_a_page_that_opens_a_session_runs(page, in_sample):
    namespace: dict[str, object] = {"__name__": page}
    for block in blocks(page, "python"):
        run(block, namespace)


@pytest.mark.parametrize("page", [page for page in EXAMPLES if page not in WITH_OWN_SESSION])
def test_a_page_for_a_session_of_your_own_runs(page, served, session):
    namespace: dict[str, object] = {"__name__": page, "spark": session}
    for block in blocks(page, "python"):
        run(block, namespace)


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_rows_of_the_sample_are_shown_as_they_are(page, sample):
    lines = (sample / "plays.csv").read_text(encoding="utf-8").splitlines()
    for block in blocks(page, "csv"):
        shown = block.text.splitlines()
        assert shown[:-1] == lines[: len(shown) - 1]
        assert shown[-1] == "..."


def test_the_jobs_of_the_readme_run_one_after_the_other(in_sample, monkeypatch, capsys):
    jobs = [command.words[1:] for command in commands("README.md") if command.words[0] == ".venv/bin/python"]
    assert [job[0] for job in jobs] == [f"jobs/{name}.py" for name in ("split", "train", "evaluate", "recommend")]
    for job, *options in jobs:
        monkeypatch.setattr(sys, "argv", [str(ROOT / job), *(at_root(option) for option in options)])
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        runpy.run_path(str(ROOT / job), run_name="__main__")
    assert "recall@10" in capsys.readouterr().out
    assert (in_sample / "best/_SUCCESS").exists()


def at_root(option: str) -> str:
    """Configurations are in the repository, all other paths in the sample's folder."""
    return str(ROOT / option) if option.startswith("conf/") else option
