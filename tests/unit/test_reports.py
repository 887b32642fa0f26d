from __future__ import annotations

import doctest
import re
from datetime import datetime, timezone
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objectives import objectives_of, resolved_of

from wals_spark.arrays.histogram import Histogram
from wals_spark.nights.data_figures import DataFigures
from wals_spark.nights.drift import Common, drift_of
from wals_spark.objective.objective import Loss
from wals_spark.reports import markup, scales
from wals_spark.reports.scales import Axis, Scale
from wals_spark.reports.training_report import training_report
from wals_spark.run.events import HalfIteration, as_jsonl, read_jsonl
from wals_spark.run.manifest import TrainingRun, training_manifest
from wals_spark.settings.train import load_config

HOSTILE = """</title><script>alert("1")</script>'&amp;"""
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A parsed page; fails on tags that do not nest, and on anything that loads a resource or runs a script."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.rows, self.texts, self.marks, self.headings = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        by_name = dict(attributes)
        assert tag not in {"script", "link", "iframe", "img", "object", "embed", "base", "form", "use"}
        assert not {"src", "href", "srcset", "data", "action", "xlink:href"} & set(by_name)
        assert not [name for name in by_name if name.startswith("on")]
        assert "url(" not in (by_name.get("style") or "")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((by_name.get("class") or "", []))
        if tag in {"td", "th"}:
            self.rows[-1][1].append("")
        if by_name.get("class") in {"point", "column"}:
            self.marks.append(by_name)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "h2" in self.open:
            self.headings.append(data)
        if "style" in self.open:
            assert not re.search(r"url\(|@import|@font-face|https?:", data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][1][-1] += data

    def row(self, name):
        return next((css_class, cells[1:]) for css_class, cells in self.rows if cells[0] == name)


EVENTS = [
    HalfIteration(n, 4, side, 3, 0.25 * n, Loss(100.0 / n, 20.0, 5.0 + n))
    for n, side in enumerate(("items", "users", "items", "users"), start=1)
]


def document():
    reader = ["input.options.header=true", "input.options.dbPassword=hunter2"]
    config = load_config(None, [f"input.path={HOSTILE}", "output.path=b", "train.rank=8", *reader])
    return training_manifest(
        TrainingRun(
            version="v1",
            created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
            config=resolved_of(config, users=3, items=2),
            automatic=["train.max_iter"],
            counts={"users": 3, "items": 2, "observations": 4, "duplicates_merged": 1, "rows_dropped": 0},
            objectives=objectives_of(config, users=3, items=2),
            last=EVENTS[-1],
            iterations=2,
            stopped_by="tol",
            spark_version="4.0",
            degrees={"users": Histogram.of_counts(np.array([1, 1, 2])), "items": Histogram.of_counts(np.array([1, 3]))},
            seconds={"build blocks": 1.5, "train": 4.5},
            objective_summary=[f"objective: {HOSTILE}"],
        )
    )


def events():
    return read_jsonl(as_jsonl(EVENTS))


METRICS = {
    "protocol": {"test": HOSTILE},
    "counts": {"users": 7000},
    "metrics": [
        {"name": "ndcg", "k": k, "better": "higher", "model": 0.2, "low": 0.15, "high": 0.25, "popularity": 0.1,
         "popularity_low": 0.08, "popularity_high": 0.12} for k in (5, 10)
    ] + [{"name": "mpr", "k": None, "better": "lower", "model": 0.3, "low": None, "high": None}],
}  # fmt: skip


@pytest.mark.parametrize("metrics", [None, METRICS])
def test_a_report_loads_nothing_and_escapes_hostile_text(metrics):
    page = Page(training_report(document(), events(), metrics))
    assert page.row("input.path") == ("highlighted", [HOSTILE, ""])
    assert f"objective: {HOSTILE}" in page.texts
    assert bool(metrics) == (f"test: {HOSTILE}; users: 7,000" in page.texts)


def test_a_report_shows_settings_losses_times_and_metrics():
    page = Page(training_report(document(), events(), METRICS))
    assert page.row("train.rank") == ("highlighted", ["8", "auto"])
    assert page.row("input.options") == ("highlighted", ["header = true, dbPassword = (not shown)", ""])
    assert page.row("train.max_iter") == ("", ["10", "auto"])
    assert page.row("3") == ("", ["items", "61.33", "33.33", "20.00", "8.00", "0.75"])
    assert page.row("train")[1][:2] == ["4.5 s", "75%"]
    assert page.row("NDCG@10")[1] == ["0.2000", "0.1500 – 0.2500", "0.1000", "0.0800 – 0.1200", "higher"]
    assert page.row("Mpr")[1] == ["0.3000", "", "", "", "lower"]
    assert "users, observations 1: 2" in page.texts
    assert "items, observations 2–3: 1" in page.texts
    assert "Training stopped because an iteration decreased the loss by less than train.tol." in page.texts
    assert "popularity, k 10: 0.1 (0.08 to 0.12)" in page.texts


def test_a_report_has_a_heading_per_section():
    assert Page(training_report(document(), events(), METRICS)).headings == [
        "Ranking metrics, compared with popularity",
        "Loss by half-iteration",
        "Time",
        "Observations per user and per item",
        "Objective",
        "Settings",
    ]


def test_a_night_shows_its_data_and_the_drift_of_its_vectors():
    rows = Common(*np.random.default_rng(0).normal(size=(2, 30, 4)).astype(np.float32))
    drift = drift_of(rows, rows, 4, {key: {"kept": 30, "new": 2, "gone": 1} for key in ("users", "items")}, HOSTILE)
    figures = DataFigures(
        rows=9000, users=700, items=60, dropped=1, merged_share=0.25, earliest=0.0, newest=86400.0, user_share=0.01,
        item_share=0.2, ratings={"median": 1.0, "p90": 2.0, "most": 3.0}, times={}, days={"2026-01-31": 4321},
    )  # fmt: skip
    page = Page(training_report({**document(), "drift": drift, "data": figures.as_record()}, events()))
    assert [heading for heading in page.headings if "Drift" in heading or "data" in heading]
    assert page.row("items")[1] == ["30", "2", "1"]
    assert page.row("2026-01-31")[1] == ["4,321"]
    assert page.row("rows of known users, of known items")[1] == ["not known, not known"]


def test_sections_without_data_are_left_out():
    old = {key: value for key, value in document().items() if key not in {"degrees", "seconds", "explanation"}}
    page = Page(training_report(old, events()))
    assert "Loss by half-iteration" in page.texts
    assert "Observations per user" not in page.texts
    folded_in = Page(training_report({**old, "folded_in_from": "v0"}, []))
    assert "Loss by half-iteration" not in folded_in.texts
    assert any("users folded in against the items of v0" in text for text in folded_in.texts)


def test_settings_of_older_models_are_shown_by_their_new_names():
    old = document()
    del old["settings"]["train"]["heavy_row_threshold"]
    old["settings"]["train"]["spread_above"] = 50_000
    assert Page(training_report(old, events())).row("train.heavy_row_threshold") == ("highlighted", ["50000", "0"])


def test_marks_lie_within_the_chart_for_flat_and_negative_loss():
    flat = [{**event, "loss": -5.0, "observed": -30.0} for event in events()]
    for of_run in (flat, flat[:1], events()):
        for mark in Page(training_report(document(), of_run)).marks:
            x, y = (float(mark.get(name) or mark.get(f"c{name}")) for name in "xy")
            assert 0 <= x <= 460
            assert 0 <= y <= 280


@given(
    st.lists(st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6) | st.just(0.0), min_size=1, max_size=6),
    st.sampled_from([Axis(""), Axis("", log=True), Axis("", minimum=0.0), Axis("", whole=True)]),
)
def test_a_scale_keeps_order_and_range_and_has_few_ticks(values, axis):
    scale = Scale.over(axis, values, 50.0, 450.0)
    drawable = sorted(value for value in values if value > 0 or not axis.log)
    coordinates = [scale.at(value) for value in drawable]
    assert coordinates == sorted(coordinates)
    assert all(50.0 - 1e-6 <= coordinate <= 450.0 + 1e-6 for coordinate in coordinates)
    ticks = scale.ticks()
    assert len(ticks) <= 17
    assert all(50.0 - 1e-6 <= scale.at(tick) <= 450.0 + 1e-6 for tick in ticks)


@pytest.mark.parametrize("module", [markup, scales])
def test_the_examples_of_reports_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
