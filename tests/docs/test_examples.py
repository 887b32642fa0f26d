"""The Python of README and docs/ runs, page by page, and so do the jobs that README shows."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from itertools import pairwise

import pytest
from doc_blocks import PAGE_NAMES, ROOT, blocks, commands, disagreement, read
from run_jobs import run_job

EXAMPLES = [page for page in PAGE_NAMES if blocks(page, "python")]
WITH_OWN_SESSION = [page for page in EXAMPLES if "open_session" in read(page)]


def run(page: str, **names: object) -> None:
    """Run the Python of a page in one namespace; a text block after a block of Python is what that prints.

    A traceback names the page and the line.
    """
    namespace: dict[str, object] = {"__name__": page, **names}
    for block, after in pairwise([*blocks(page, "python", "text"), None]):
        if block is not None and block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(ROOT / page), "exec")
            with redirect_stdout(io.StringIO()) as output:
                exec(code, namespace)
            if after is not None and after.language == "text":
                assert disagreement(after.text, output.getvalue()) == "", (after, output.getvalue())


@pytest.mark.parametrize("page", WITH_OWN_SESSION)
def test_a_page_that_opens_a_session_runs(page, in_sample):
    run(page)


@pytest.mark.parametrize("page", [page for page in EXAMPLES if page not in WITH_OWN_SESSION])
def test_a_page_for_a_session_of_your_own_runs(page, served, session):
    run(page, spark=session)


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_rows_of_the_sample_are_shown_as_they_are(page, sample):
    lines = (sample / "plays.csv").read_text(encoding="utf-8").splitlines()
    for block in blocks(page, "csv"):
        shown = block.text.splitlines()
        assert shown[:-1] == lines[: len(shown) - 1]
        assert shown[-1] == "..."


def test_the_jobs_of_the_readme_and_of_serving_run(sample):
    jobs = [command.words[1:] for page in ("README.md", "docs/serving.md") for command in commands(page)]
    jobs = [words for words in jobs if words and words[0].startswith("jobs/")]
    names = [words[0].removeprefix("jobs/").removesuffix(".py") for words in jobs]
    assert names == ["split", "train", "evaluate", "recommend", "fold_in", "export"]
    for name, (_, *options) in zip(names, jobs, strict=True):
        values = list(zip(options[::2], options[1::2], strict=True))
        settings = [value for option, value in values if option == "--set"]
        config = "".join(str(ROOT / value) for option, value in values if option == "--config")
        done = run_job(sample, name, *settings, config=config)
        assert done.returncode == 0, done.stderr
    assert (sample / "best/_SUCCESS").exists()
    assert (sample / "items/index.faiss").exists()
