from __future__ import annotations

import pytest

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import load_settings
from wals_spark.settings.recommend import RecommendSettings

PATHS = ["model.path=m", "output.path=o"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["output.path=o"], r"model\.path is not set"),
        (["model.path=m"], r"output\.path is not set"),
        (PATHS, r"input\.path is not set: .* or set recommend\.exclude_seen = false"),
        ([*PATHS, "recommend.k=0"], r"recommend\.k: expected `int` >= 1"),
        ([*PATHS, "recommend.mode=itmes"], "one of items, users, similar-items, similar-users"),
        (
            [*PATHS, "input.path=i", "recommend.cold_start=popular"],
            r"recommend\.cold_start = popular needs queries\.path",
        ),
        (
            [*PATHS, "input.path=i", "queries.path=w", "recommend.cold_start=popular", "recommend.mode=users"],
            r"recommend\.cold_start = popular is for recommend\.mode = items, not users",
        ),
        ([*PATHS, "input.path=i", "input.item=user"], "input: one column is named twice"),
    ],
)
def test_what_has_no_meaning_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(RecommendSettings, None, settings)


def test_interactions_are_needed_where_they_are_used():
    def needs(*settings):
        return load_settings(RecommendSettings, None, [*PATHS, *settings]).needs_interactions

    assert not needs("recommend.mode=similar-items")
    assert not needs("recommend.exclude_seen=false")
    assert needs("input.path=i")
    assert needs("recommend.exclude_seen=false", "recommend.cold_start=popular", "queries.path=w", "input.path=i")
