"""Every job refuses a model that is not what was made, and names the file."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from wals_spark.errors import InputError
from wals_spark.serving.fold_in import FoldIn
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.export import ExportSettings
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.settings.train import Config
from wals_spark.spark.evaluate import run_evaluate
from wals_spark.spark.export import run_export
from wals_spark.spark.fold_in import run_fold_in
from wals_spark.spark.model.open import open_version
from wals_spark.spark.recommend import run_recommend
from wals_spark.spark.storage import Storage
from wals_spark.spark.train import train_version

SMALL = {"train.rank": 2, "train.max_iter": 1, "train.user_blocks": 2, "train.item_blocks": 2, "output.version": "v"}


@pytest.fixture(scope="module")
def trained(_session, tmp_path_factory):
    """A model with item weights, and the interactions that it was trained on."""
    root = tmp_path_factory.mktemp("trained")
    pairs = [(f"u{n % 13}", f"i{n * n % 11}", 1.0 + n % 3) for n in range(120)]
    plays = _session.createDataFrame(pairs, "user string, item string, rating double")
    plays.write.parquet(str(root / "plays"))
    config = Config.of({**SMALL, "train.preset": "google-wals", "confidence.item_weight": "inverse"})
    train_version(plays, config, Storage(_session, str(root / "model")))
    return root


@pytest.fixture
def root(trained, tmp_path):
    """A copy to damage."""
    return copied(trained, tmp_path / "copy")


def copied(trained, target):
    """A copy as an object store has it, without the checksums that Hadoop keeps beside local files."""
    shutil.copytree(trained, target, ignore=shutil.ignore_patterns("*.crc"))
    return target


def jobs(spark, root):
    """Every job that reads a model, by name."""
    model, plays = {"model.path": str(root / "model")}, str(root / "plays")
    output = {"output.path": str(root / "written")}
    return {
        "recommend": partial(
            run_recommend, spark, RecommendSettings.of({**model, **output, "recommend.exclude_seen": False})
        ),
        "evaluate": partial(run_evaluate, spark, EvaluateSettings.of({**model, "test.path": plays, "evaluate.k": [3]})),
        "fold_in": partial(
            run_fold_in, spark, FoldInSettings.of({**model, "input.path": plays, "output.version": "w"})
        ),
        "export": partial(run_export, spark, ExportSettings.of({**model, **output})),
        "FoldIn.open": partial(FoldIn.open, root / "model/versions/v"),
    }


def files_of(version):
    names = ("user_factors", "item_factors", "item_weights", "gramians.json", "events.jsonl")
    listed = [path for name in names for path in sorted(version.glob(f"{name}*/part-*")) + sorted(version.glob(name))]
    return [path for path in listed if path.is_file()]


def flip(path, share):
    content = bytearray(path.read_bytes())
    content[min(len(content) - 1, int(share * len(content)))] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "removed": lambda path: path.unlink(),
    "doubled": lambda path: shutil.copy(path, path.with_name(f"part-9{path.name}")),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "emptied": lambda path: path.write_bytes(b""),
    **{f"flipped at {share}": partial(flip, share=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)},
}


def refusals(spark, root, names):
    """What each job says; a job that ends without an error fails the test."""
    for name, job in jobs(spark, root).items():
        if name in names:
            with pytest.raises(InputError) as refused:
                job()
            assert not (root / "written").exists()
            yield str(refused.value)


def test_a_part_that_is_gone_or_too_much_is_refused_by_all(spark, root):
    version = root / "model/versions/v"
    part = next(path for path in files_of(version) if path.parent.name == "item_factors")
    kept = part.read_bytes()
    for damage, fault in (
        ("removed", "is missing"),
        ("cut", "where the manifest says"),
        ("flipped at 0.5", "is not what was written"),
    ):
        DAMAGES[damage](part)
        for message in refusals(spark, root, jobs(spark, root)):
            assert f"item_factors/{part.name}' {fault}" in message.replace(f"has {len(kept) - 7} bytes, ", "")
        part.write_bytes(kept)
    DAMAGES["doubled"](part)
    for message in refusals(spark, root, jobs(spark, root)):
        assert f"item_factors/part-9{part.name}' is not a file of this version" in message


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_to_any_file_is_refused(spark, trained, tmp_path, damage):
    names = [path.relative_to(trained / "model/versions/v") for path in files_of(trained / "model/versions/v")]
    assert len(names) > 5
    for n, name in enumerate(names):
        root = copied(trained, tmp_path / str(n))
        path = root / "model/versions/v" / name
        if damage == "doubled" and len(name.parts) == 1:
            continue  # gramians.json beside gramians.json is no part of anything
        DAMAGES[damage](path)
        with pytest.raises(InputError, match=name.parts[0]):
            open_version(spark, str(root / "model"))  # as every job does first
        if name.parts[0] in ("item_factors", "item_weights", "gramians.json"):  # what it reads
            with pytest.raises(InputError, match=name.parts[0]):
                FoldIn.open(root / "model/versions/v")


def test_any_key_of_a_manifest_gone_or_wrong_is_refused(spark, root):
    path = root / "model/versions/v/manifest.json"
    document = json.loads(path.read_text())
    for key in document:
        for damaged in ({k: v for k, v in document.items() if k != key}, {**document, key: [[]]}, {**document, key: 7}):
            path.write_text(json.dumps(damaged))
            with pytest.raises(InputError, match=r"manifest\.json"):
                open_version(spark, str(root / "model"))
            with pytest.raises(InputError, match=r"manifest\.json"):
                FoldIn.open(path.parent)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "7", "[" * 5000, '{"format": "wals_spark model", "format_version": 3}']
)
def test_a_manifest_that_is_none_is_refused(spark, root, text):
    (root / "model/versions/v/manifest.json").write_text(text)
    for message in refusals(spark, root, ("recommend", "FoldIn.open")):
        assert "manifest.json" in message


@pytest.mark.parametrize("served", ["../../elsewhere", "v/../v", "", "nl\nv", "w"])
def test_what_is_served_is_a_name_of_a_version(spark, root, served):
    (root / "model/CURRENT").write_text(served)
    with pytest.raises(InputError, match=r"is no name of a version|holds no manifest"):
        open_version(spark, str(root / "model"))


def test_a_model_of_format_1_still_opens(spark, root):
    path = root / "model/versions/v/manifest.json"
    document = json.loads(path.read_text())
    old = {key: value for key, value in document.items() if key not in ("files", "sha256")}
    path.write_text(json.dumps({**old, "format_version": 1}))
    assert open_version(spark, str(root / "model")).version == "v"
    assert len(FoldIn.open(path.parent).ids) == document["counts"]["items"]


@pytest.mark.parametrize("path", ["hdfs://namenode.invalid:8020/m", "a:b", "nosuch://b/m", "/no/such/folder"])
def test_a_model_that_cannot_be_reached_is_refused(spark, path):
    with pytest.raises(InputError, match=r"model\.path = "):
        open_version(spark, path)
