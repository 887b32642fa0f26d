from __future__ import annotations

import pytest

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import load_settings
from wals_spark.settings.split import SplitSettings

NEEDED = ("input.path=i", "output.path=o")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["split.by=last"], "split.by = last needs input.timestamp"),
        (["split.by=random", "split.n=3"], "split.n: no meaning with split.by = random, which has share, keep, seed"),
        (["split.by=time", "input.timestamp=at", "split.moment=soon"], "split.moment = 'soon': a time like 2026-01-31"),
        (["split.by=time", "input.timestamp=at", "split.moment=2026-01-31", "split.share=0.1"], "give one of them"),
        (["split.share=1"], "split.share: expected `float` < 1"),
        (["input.timestamp=at", "output.path="], "output.path is not set"),
    ],
)
def test_a_split_that_means_nothing_is_refused(given, message):
    with pytest.raises(ConfigError) as refused:
        load_settings(SplitSettings, None, [*NEEDED, *given])
    assert message in str(refused.value)


def test_a_moment_is_in_utc_unless_it_says_otherwise():
    given = [*NEEDED, "split.by=time", "input.timestamp=at"]
    moments = [
        load_settings(SplitSettings, None, [*given, f"split.moment={m}"]).split.moment_seconds
        for m in ("1970-01-02", "1970-01-02T01:00:00+01:00")
    ]
    assert moments == [86400.0, 86400.0]
