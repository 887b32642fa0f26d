"""What README, CONTRIBUTING, CHANGELOG and docs/ say of files, settings, commands and decisions is so."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from doc_blocks import PAGE_NAMES, PAGES, ROOT, Command, blocks, commands, disagreement, prose, read
from settings_page import JOBS, PAGE, settings_page

from wals_spark.settings.command_line import parse_settings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings

SHELL = {
    "pip", "cp", "head", "python3", "apt-get", "environment/bin/pip", "environment/bin/venv-pack", "spark-submit",
    ".venv/bin/python", ".venv/bin/pip",
}  # fmt: skip
OLD_NAMES = r"spread_above|\[whom\]|whom\.\w|recommend\.(what|unknown)\b"
SETTINGS = {
    (section.name, setting.name)
    for kind in JOBS.values()
    for section in msgspec.structs.fields(kind)
    for setting in msgspec.structs.fields(section.type)
}
DECISIONS = sorted((ROOT / "docs/adr").glob("0*.md"))


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_links_of_a_page_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)\s#]*)(?:#([\w-]+))?\)", prose(page))
    here = (ROOT / page).parent
    relative = [(here / target, anchor) for target, anchor in links if target and not re.match(r"[a-z]+:", target)]
    assert [str(target) for target, _ in relative if not target.exists()] == []
    assert [f"{target}#{anchor}" for target, anchor in relative if anchor and anchor not in anchors(target)] == []


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_files_named_in_a_page_exist(page):
    """Paths from the root, and modules from wals_spark/."""
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|toml))`", read(page))
    folders = (ROOT, ROOT / "wals_spark", ROOT / "wals_spark/spark")
    missing = [name for name in named if "/" in name and not any((folder / name).exists() for folder in folders)]
    assert missing == []


@pytest.mark.parametrize("page", [name for name in PAGE_NAMES if name != "CHANGELOG.md"])
def test_a_page_has_only_present_names_of_settings(page):
    assert re.findall(OLD_NAMES, read(page)) == []


@pytest.mark.parametrize("page", [name for name in PAGE_NAMES if name != "CHANGELOG.md"])
def test_settings_named_in_a_page_exist(page):
    named = set(re.findall(r"`([a-z_]+)\.(?!json)([a-z_]+)\b[^`]*`", read(page)))
    sections = {section for section, _ in SETTINGS}
    modules = {(path.parent.name, path.stem) for path in ROOT.glob("wals_spark/*/*.py")}
    assert {pair for pair in named - SETTINGS - modules if pair[0] in sections} == set()


def test_the_settings_page_is_what_help_prints():
    assert read("docs/settings.md") == settings_page(), f"run tests/settings_page.py, which writes {PAGE.name}"


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_commands_are_in_sh_blocks(page):
    """Where the tests find them."""
    pattern = r"^(?:    |\t)(?:\.venv/|scripts/|spark-submit|pip install).*"
    assert re.findall(pattern, prose(page), flags=re.MULTILINE) == []


def all_commands() -> list[Command]:
    return [command for page in PAGE_NAMES for command in commands(page)]


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: " ".join(command.words)[:50])
def test_a_command_names_programs_and_options_that_exist(command, tmp_path):
    program = command.words[0]
    if program.startswith("scripts/"):
        assert_script_takes(program, command.words[1:])
    else:
        assert program in SHELL, f"{command.where}: {program} is new: is it there on a user's machine?"
    for position, word in enumerate(command.words):
        if job := re.fullmatch(r"jobs/(\w+)\.py", word):
            assert (ROOT / word).exists()
            page = command.where.partition(":")[0]
            load_job_settings(job[1], command.words[position + 1 :], page, tmp_path)
        elif re.fullmatch(r"(scripts|tests)/[\w/]+\.py", word):
            assert_script_takes(word, command.words[position + 1 :])


def assert_script_takes(script: str, words: list[str]) -> None:
    """The script is there, and its text, or that of the Python it runs, has each option, and each of the systems."""
    text = (ROOT / script).read_text(encoding="utf-8")
    python = [ROOT / name for name in re.findall(r"scripts/\w+\.py", text)]
    sources = [text, *(path.read_text(encoding="utf-8") for path in python)]
    sources += [path.read_text(encoding="utf-8") for path in (ROOT / "scripts/benchmarks").glob("*.py")]
    if "pytest" in text:  # which takes all else
        return
    named = [word.partition("=")[0] for word in words if word.startswith("-")]
    for option, value in pairwise(words):
        named += value.split(",") if option == "--systems" else []
    assert [name for name in named if not any(name in source for source in sources)] == []


def load_job_settings(job: str, words: list[str], page: str, folder: Path) -> None:
    """What the job itself does with its command line, before it starts Spark."""
    arguments = [*words]
    for position, word in enumerate(words):
        if position and words[position - 1] == "--config" and not (ROOT / word).exists():  # the page itself shows it
            arguments[position] = str(folder / word)
            (folder / word).write_text(blocks(page, "toml")[0].text, encoding="utf-8")
        elif position and words[position - 1] == "--config":
            arguments[position] = str(ROOT / word)
    parse_settings(JOBS[job], "", arguments)


CONFIGURATIONS = [
    *((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("conf/*.toml"))),
    *((str(block), block.text) for page in PAGE_NAMES for block in blocks(page, "toml")),
]


@pytest.mark.parametrize(("where", "text"), CONFIGURATIONS, ids=[where for where, _ in CONFIGURATIONS])
def test_a_configuration_loads(where, text, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    load_settings(RetrainSettings if "[gate" in text else TuneSettings if "[tune" in text else Config, path)


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_extras_named_in_a_page_exist(page):
    extras = re.findall(r'^        "(\w+)": \[', (ROOT / "setup.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"wals_spark\[(\w+)\]", read(page))) <= set(extras)


def test_the_way_of_a_rating_has_at_most_fourteen_files():
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", read("docs/architecture.md"), flags=re.MULTILINE)
    assert 0 < len(files) <= 14


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_names_said_to_be_in_a_file_are_there(page):
    named = re.findall(r"`(\w+)` in\s`([\w/]+\.py)`", read(page))
    files = {file: (ROOT / "wals_spark" / file).read_text(encoding="utf-8") for _, file in named}
    assert [(name, file) for name, file in named if not re.search(rf"\b{name}\b", files[file])] == []


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s#:]+)", page.read_text(encoding="utf-8"))
    }
    assert {page for page in PAGES if page.name != "README.md"} <= linked


def status_of(decision: Path) -> str:
    return re.search(r"^Status: (.*?)\n\n", decision.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]


def relations(status: str, verb: str) -> set[int]:
    """The numbers of the decisions that a status relates to by a verb."""
    clauses = [clause for clause in re.split(r";\s", status) if re.match(verb, clause)]
    return {int(number) for clause in clauses for number in re.findall(r"\[(\d+)\]\(", clause)}


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_indexed_with_title_and_status(decision):
    number, title = re.match(r"# (\d+)\. (.*)", decision.read_text(encoding="utf-8")).groups()
    assert f"| {number} | [{title}]({decision.name}) | " in read("docs/adr/README.md")
    assert re.match("accepted|superseded by", status_of(decision))


def test_decisions_that_amend_each_other_both_say_so():
    status = {int(path.name[:4]): status_of(path) for path in DECISIONS}
    for verb, back in (("amends", "amended by"), ("supersedes", "superseded")):
        forward = {(one, other) for one in status for other in relations(status[one], verb)}
        backward = {(other, one) for one in status for other in relations(status[one], back)}
        assert forward == backward
    for number, text in status.items():
        row = next(row for row in read("docs/adr/README.md").splitlines() if row.startswith(f"| {number} |"))
        named = {int(n) for n in re.findall(r"\b\d+\b", row.rpartition("](")[2].partition(")")[2])}
        assert named == relations(text, "amended by") | relations(text, "superseded")


def test_shown_output_may_differ_in_what_a_run_changes():
    printed = "06:27:36 INFO step 1  loss 1,000.04  0.31 s\nmore\nat versions/20261122T041858Z\n"
    assert disagreement("step 1 loss 1,000.00 12.00 s\n...\nat versions/20300101T000000Z", printed) == ""


@pytest.mark.parametrize("shown", ["loss 1,010.0", "gain 1,000.0", "loss 1,000.0\nmore", "loss 1,000.0\n...\nless"])
def test_shown_output_must_agree_in_words_and_numbers(shown):
    assert disagreement(shown, "loss 1,000.0\n") != ""
