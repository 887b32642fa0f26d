"""Lists of sampled items in files of text, as those of neural collaborative filtering (He et al. 2017) are laid out."""

from __future__ import annotations

from msgspec.structs import replace
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.settings.evaluate import NCF, CandidatesInput
from wals_spark.spark.reading import MALFORMED, read

_LINE = r"^\((.+),[^,]+\)\t(.+)$"


def read_candidates(spark: SparkSession, settings: CandidatesInput) -> DataFrame:
    """The candidates: a row per pair of a user and an item, as settings name their columns.

    A line of the format ncf is ``(user,held-out item)``, a tab, and items with tabs between them. `MALFORMED` has the
    lines that are not so.

    Raises
    ------
    InputError
        As `read`.
    """
    if settings.format != NCF:
        return read(spark, settings, section="candidates")
    lines = read(spark, replace(settings, format="text"), section="candidates")
    line, is_list = F.col("value"), F.col("value").rlike(_LINE)
    # In two steps: in one, Spark would match the pattern again for each of a line's items.
    lists = lines.select(
        F.when(is_list, F.regexp_extract(line, _LINE, 1)).alias("of_user"),
        F.when(is_list, F.split(F.regexp_extract(line, _LINE, 2), "\t")).alias("of_items"),
        F.when(~is_list, line).alias(MALFORMED),
    )
    return lists.select(
        F.col("of_user").alias(settings.user), F.explode_outer("of_items").alias(settings.item), F.col(MALFORMED)
    )
