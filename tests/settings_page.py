"""Writes docs/settings.md from what ``--help`` of every job prints: run this file after a change of settings."""

from __future__ import annotations

import re
from pathlib import Path

from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.export import ExportSettings
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.forget import ForgetSettings
from wals_spark.settings.help import describe_settings
from wals_spark.settings.loader import Settings
from wals_spark.settings.predict import PredictSettings
from wals_spark.settings.publish import PublishSettings
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.settings.split import SplitSettings
from wals_spark.settings.status import StatusSettings
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings

PAGE = Path(__file__).resolve().parents[1] / "docs/settings.md"
JOBS: dict[str, type[Settings]] = {
    "train": Config,
    "split": SplitSettings,
    "evaluate": EvaluateSettings,
    "tune": TuneSettings,
    "recommend": RecommendSettings,
    "fold_in": FoldInSettings,
    "export": ExportSettings,
    "predict": PredictSettings,
    "retrain": RetrainSettings,
    "publish": PublishSettings,
    "forget": ForgetSettings,
    "status": StatusSettings,
}

_HEAD = """\
# Settings

Every setting of every job, as `--help` prints it; `tests/settings_page.py` writes this page. A setting is given in a
TOML file (`--config`), on the command line (`--set train.rank=32`), or from Python
(`wals_spark.fit(interactions, {"train.rank": 32})`); defaults are written so that `--set` takes them. An unknown
setting is refused. Exit codes of all jobs: 0 done · 1 unexpected (a retry may help) · 2 configuration refused · 3 input
or model refused · 4 model refused by the gate · 5 held by another run · 143 interrupted ([operations](operations.md)).
"""


def settings_page() -> str:
    """The page: a part per job, a table per section; a section that a job before has is named alone."""
    lines, seen = [_HEAD], dict[str, str]()
    for job, kind in JOBS.items():
        lines.append(f"\n## jobs/{job}.py\n")
        for title, meaning, rows in sections(kind):
            same_rows = "\n".join(rows).replace(f"`{title}.", "`")
            first = seen.setdefault(same_rows, f"`[{title}]` of jobs/{job}.py")
            if first == f"`[{title}]` of jobs/{job}.py":
                lines.append(f"`[{title}]` {meaning}\n\n| setting | default | |\n|---|---|---|")
                lines += [*rows, ""]
            else:
                lines.append(f"`[{title}]` {meaning} Its settings are those of {first}.\n")
    return "\n".join(lines).rstrip() + "\n"


def sections(kind: type[Settings]) -> list[tuple[str, str, list[str]]]:
    """Of each section its name, its meaning, and a table row per setting."""
    found = []
    for part in re.split(r"^(?=\[)", describe_settings(kind), flags=re.MULTILINE)[1:]:
        title, meaning = re.match(r"\[([\w.]+)\] (.*)", part).groups()
        settings = re.findall(r"^  (\S+) = (.*)\n +(.*)$", part, flags=re.MULTILINE)
        found.append((title, meaning, [f"| `{name}` | `{value}` | {cell(text)} |" for name, value, text in settings]))
    return found


def cell(text: str) -> str:
    """Text that a table and Markdown leave as it is."""
    return re.sub(r"([|*]|<(?=\w))", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
