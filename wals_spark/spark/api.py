"""What a notebook calls: `fit` trains on a DataFrame; a `Model` recommends, is evaluated, folds in, is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pyspark.sql import DataFrame, SparkSession

from wals_spark.errors import ConfigError
from wals_spark.evaluation.results import Evaluation
from wals_spark.ranking.modes import MODES, Entity, ModeName
from wals_spark.run.events import read_jsonl
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.predict import Pairs, Unknown
from wals_spark.settings.recommend import Recommend, RecommendSettings
from wals_spark.settings.train import Config
from wals_spark.spark.evaluate import Tables, evaluate_version
from wals_spark.spark.fold_in import FoldInTarget, fold_in_config, fold_in_version
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.lifetime import keeping
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import copy_version
from wals_spark.spark.predict import predict
from wals_spark.spark.preparation import is_plain, prepared_interactions
from wals_spark.spark.reading import column_of_ids, ids_of
from wals_spark.spark.recommend import Request, known_interactions, recommend
from wals_spark.spark.scratch import Scratch
from wals_spark.spark.session import session_of
from wals_spark.spark.storage import EVENTS, Storage
from wals_spark.spark.train import train_version

_DEFAULT_K = Recommend().k


def fit(
    interactions: DataFrame,
    config: Config | Mapping[str, Any] | None = None,
    *,
    held_out: DataFrame | None = None,
    warm_start: Model | None = None,
) -> Model:
    """Train a model on a table of interactions.

    Parameters
    ----------
    interactions
        One row per interaction: the columns that ``input.user``, ``input.item`` and ``input.rating`` name.
    config
        All settings, or those that differ from the defaults, such as ``{"train.rank": 32}``. With ``output.path`` the
        model is a version below that folder, and the served one unless ``output.publish`` is false. Without, it is in
        a temporary folder, which is deleted with the model (`Model.publish` keeps it).
    held_out
        Interactions to evaluate by after each iteration (``train.evaluate_every``), in the same columns; with
        ``train.keep`` = best, the model is that of the best iteration.
    warm_start
        A model whose ids start from their factors in it, if rank, biases and objective are the model's.

    Raises
    ------
    ConfigError, InputError, TrainingError
        If a setting or the interactions cannot be used, or training fails.
    """
    settings = config if isinstance(config, Config) else Config.of(config)
    spark = interactions.sparkSession
    with session_of(spark):
        scratch = None if settings.output.path else Scratch(spark)
        if scratch is not None and held_out is None and warm_start is None and is_plain(settings):
            with prepared_interactions(interactions, settings) as prepared:
                return Model(prepared.train(settings, scratch), scratch)
        storage = Storage(spark, settings.output.path) if scratch is None else scratch.storage
        model = None if warm_start is None else warm_start._stored
        stored = train_version(interactions, settings, storage, held_out, warm_start=model, exclusive=scratch is None)
        return Model(stored, scratch)


class Model:
    """A trained model: a version on storage, with what can be done with it.

    `fit` and `Model.open` make one. Tables of interactions have the columns that the model was trained on. A temporary
    folder is deleted with the last reference to the model, and to tables that read from it.
    """

    def __init__(self, stored: ModelVersion, scratch: Scratch | None = None) -> None:
        self._stored = stored
        self._scratch = scratch  # its folder lives as long as this object
        self._sent = SentTables()

    @classmethod
    def open(cls, spark: SparkSession, root: str, version: str = "") -> Model:
        """Open a version of the model below ``root``; none named: the served one.

        Raises
        ------
        InputError
            If there is no such version, or it is not complete.
        """
        return cls(open_version(spark, root, version))

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return (
            f"Model(version={self.version!r}, rank={self.rank}, users={counts['users']:,}, items={counts['items']:,}, "
            f"path={self.path!r})"
        )

    @property
    def version(self) -> str:
        """The name of the version."""
        return self._stored.version

    @property
    def path(self) -> str:
        """The folder of the version, as a URL."""
        return self._stored.storage.path(self._stored.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest says: counts, loss, settings, how a score is computed, and more."""
        return self._stored.manifest

    @property
    def config(self) -> Config:
        """The settings that the model was trained with."""
        return self._stored.config

    @property
    def rank(self) -> int:
        """The number of factors."""
        return int(self.manifest["rank"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """One record per half-iteration, with its loss; none after a fold-in."""
        storage, folder = self._stored.storage, self._stored.folder
        return read_jsonl(storage.read_text(folder, EVENTS)) if storage.exists(folder, EVENTS) else []

    @property
    def user_factors(self) -> DataFrame:
        """Columns ``id`` and ``features``; with biases, the manifest says which feature is the bias."""
        return self._keeping(self._stored.user_factors)

    @property
    def item_factors(self) -> DataFrame:
        """Columns ``id`` and ``features``; with biases, the manifest says which feature is the bias."""
        return self._keeping(self._stored.item_factors)

    def recommend(
        self,
        k: int = _DEFAULT_K,
        *,
        queries: DataFrame | None = None,
        exclude: DataFrame | None = None,
        candidates: DataFrame | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> DataFrame:
        """The ``k`` best items of each user, as rows of user, rank (from 1), item and score.

        Parameters
        ----------
        queries, candidates
            Tables of ids: of users to recommend to, and of items that may be recommended; None: all of the model.
        exclude
            Interactions whose pairs are not recommended, usually those of training.
        options
            Settings of ``[recommend]``: ``mode`` (``users``: users for items; ``similar-items``, ``similar-users``),
            ``cold_start``, ``because``.

        Raises
        ------
        ConfigError, InputError
            If options contradict each other, or there are fewer than ``k`` candidates.
        """
        values = {"k": k, "exclude_seen": exclude is not None, **(options or {})}
        settings: Recommend = RecommendSettings.of({"recommend": values}).recommend
        mode = MODES[settings.mode]
        request = Request(
            settings,
            queries=self._ids(queries, mode.query, "queries"),
            allowed=self._ids(candidates, mode.result, "candidates"),
            interactions=self._known(exclude, settings),
        )
        with session_of(self._stored.spark):
            return self._keeping(recommend(self._stored, request, self._sent))

    def similar(
        self, k: int = _DEFAULT_K, *, mode: ModeName = "similar-items", queries: DataFrame | None = None
    ) -> DataFrame:
        """The ``k`` most similar items (or users) of each, by the cosine of their factors."""
        return self.recommend(k, queries=queries, options={"mode": mode})

    def predict(self, pairs: DataFrame, *, unknown: Unknown = "nan") -> DataFrame:
        """The pairs with a column ``prediction``: of a model of ratings, the rating; of others, the score.

        Parameters
        ----------
        pairs
            The columns of users and items that the model was trained on, and any others.
        unknown
            A pair whose user or item the model does not have gets NaN (``nan``), or is left out (``drop``).

        Raises
        ------
        InputError
            If a column of ids is missing, or of another type than the model's.
        """
        names = Pairs(user=self.config.input.user, item=self.config.input.item)
        with session_of(self._stored.spark):
            return self._keeping(predict(self._stored.tables, pairs, names, unknown=unknown))

    def evaluate(
        self,
        test: DataFrame,
        training: DataFrame | None = None,
        candidates: DataFrame | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        against: Model | None = None,
    ) -> Evaluation:
        """Evaluate the model by the ranks of users' held-out items, with ``training`` beside popularity.

        Parameters
        ----------
        test
            Held-out interactions.
        training
            Interactions that the model was trained on: their items are not ranked, and popularity is counted in them.
        candidates
            Items per user to rank the held-out ones among, instead of the whole catalogue.
        options
            Settings of ``[evaluate]``, such as ``{"k": [20], "metrics": ["ndcg", "recall"]}``.
        against
            Another model to compare with, on the users that both have: each metric has the difference and its interval.

        Raises
        ------
        ConfigError, InputError
            If options or tables cannot be used, or no user is left to be evaluated.
        """
        source = {name: value for name, value in msgspec.to_builtins(self.config.input).items() if name != "path"}
        # A disliked item of the test is not one to find.
        nonpositive = "bad" if source["nonpositive"] == "bad" else "unobserved"
        values = {"input": source, "test": {"nonpositive": nonpositive}, "evaluate": dict(options or {})}
        settings = EvaluateSettings.of(values)
        with session_of(self._stored.spark):
            other = None if against is None else against._stored
            return evaluate_version(self._stored, Tables(test, training, candidates), settings, other)

    def fold_in(self, interactions: DataFrame, *, keep_users: bool = False) -> Model:
        """Solve the users of new interactions against the items of this model; a model with both.

        With ``keep_users``, users without new interactions keep their rows.

        Raises
        ------
        InputError
            If the interactions cannot be used, or have no item of the model.
        """
        spark = self._stored.spark
        settings = FoldInSettings.of({"fold_in": {"keep_users": keep_users}}).shown()
        with session_of(spark):
            scratch = Scratch(spark)
            config = fold_in_config(self._stored, self.config.input)
            target = FoldInTarget(scratch.storage, exclusive=False)
            return Model(fold_in_version(self._stored, interactions, config, target, settings=settings), scratch)

    def publish(self, root: str, *, version: str = "", serve: bool = True) -> Model:
        """Copy the model to ``<root>/versions/<version>``; with ``serve``, it becomes the served version.

        ``version`` is this model's own by default.

        Raises
        ------
        ConfigError
            If there is a version of this name.
        """
        ours, name = self._stored, version or self.version
        copy_version(ours.storage, ours.folder, Storage(ours.spark, root), name, to_serve=serve)
        return Model(open_version(ours.spark, root, name))

    def _keeping(self, table: DataFrame) -> DataFrame:
        """The table, which reads from what this object owns, and may outlive it."""
        return keeping(table, self._scratch, self._sent)

    def _known(self, interactions: DataFrame | None, settings: Recommend) -> DataFrame | None:
        """The interactions that a recommendation needs, with ids as the model's."""
        if interactions is None and (settings.because or settings.cold_start == "popular"):
            raise ConfigError("recommend.because and cold_start = popular need interactions: pass them as exclude")
        if interactions is None or MODES[settings.mode].cosine:
            return None
        return known_interactions(self._stored, interactions, self.config.input, settings)

    def _ids(self, table: DataFrame | None, entity: Entity, name: str) -> DataFrame | None:
        """The ids of a table that has one column, or one called id or as in training."""
        if table is None:
            return None
        factors = self._stored.user_factors if entity == "user" else self._stored.item_factors
        return ids_of(table, column_of_ids(table, getattr(self.config.input, entity), name), factors, setting=name)
