"""A run that has died goes on: from its last whole checkpoint, with the blocks it has built, to the same model."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from killed_runs import HALF_ITERATIONS, SETTINGS, factors, write_plays

from wals_spark.errors import ConfigError, InputError
from wals_spark.run.faults import FAULT
from wals_spark.settings.train import Config
from wals_spark.spark.storage import Storage
from wals_spark.spark.train import run_train, train_version

RUN = {"run.id": "a", "checkpoint.every": 0}
SOLVED = re.compile(r"half-iteration +(\d+)/\d+  \w+  +loss")


class Trainer:
    """Trains run ``a`` below a root, in this process, on plays that lie beside it."""

    def __init__(self, spark, folder, caplog, monkeypatch, **settings):
        self.spark, self.folder, self.caplog, self.monkeypatch = spark, folder, caplog, monkeypatch
        self.root = folder / "model"
        self.plays = write_plays(folder / "plays.parquet")
        self.settings = {**dict(setting.split("=") for setting in SETTINGS), **RUN, **settings}
        caplog.set_level("INFO", "wals_spark")

    def config(self, **settings):
        paths = {"input.path": str(self.plays), "output.path": str(self.root)}
        return Config.of({**paths, **self.settings, **settings})

    def train(self, **settings):
        """The half-iterations that it solves."""
        self.caplog.clear()
        run_train(self.spark, self.config(**settings))
        return [int(number) for number in SOLVED.findall(self.caplog.text)]

    def train_until(self, point, train=None, **settings):
        with self.monkeypatch.context() as patch:
            patch.setenv(FAULT, f"{point}:raise")
            with pytest.raises(RuntimeError, match=point):
                (train or self.train)(**settings)

    def checkpoints(self):
        return sorted(path.name for path in (self.root / "runs/a/checkpoints").iterdir())

    def record(self):
        return json.loads((self.root / "runs/a/run.json").read_text())


@pytest.fixture
def trainer(spark, tmp_path, caplog, monkeypatch):
    return Trainer(spark, tmp_path, caplog, monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(_session, tmp_path_factory):
    """The factors of a run that nothing has disturbed, by further settings."""
    made = {}

    def of(**settings):
        key = json.dumps(settings)
        if key not in made:
            folder = tmp_path_factory.mktemp("undisturbed")
            plays = write_plays(folder / "plays.parquet")
            given = {**dict(setting.split("=") for setting in SETTINGS), "run.id": "a", "checkpoint.every": "never"}
            paths = {"input.path": str(plays), "output.path": str(folder / "model")}
            run_train(_session, Config.of({**given, **paths, **settings}))
            made[key] = factors(folder / "model", "a")
        return made[key]

    return of


OTHER_TRAININGS = {
    "exact": {"train.solver": "cholesky"},
    "users first": {"train.first_side": "users"},
    "held out": {"held_out.share": 0.1, "train.keep": "best", "train.first_side": "users"},
    "converging": {"train.tol": 0.05},
    "heavy rows": {"train.heavy_row_threshold": 50},
}


@pytest.mark.parametrize(
    "number", [4, *(pytest.param(number, marks=pytest.mark.exhaustive) for number in (1, HALF_ITERATIONS - 1))]
)
def test_going_on_after_a_half_iteration_gives_the_same_bits(trainer, undisturbed, number):
    trainer.train_until(f"half_iteration_{number + 1}")
    kept = [f"{half:06d}" for half in range(max(1, number - 1), number + 1)]
    assert trainer.checkpoints() == kept
    assert trainer.record()["state"] == "failed"
    assert trainer.record()["exit_code"] == 1
    assert trainer.train() == [*range(number + 1, HALF_ITERATIONS + 1)]
    assert factors(trainer.root, "a") == undisturbed()
    assert [path.name for path in (trainer.root / "runs/a").iterdir()] == ["run.json"]
    assert trainer.record()["attempts"] == 2
    events = (trainer.root / "versions/a/events.jsonl").read_text().splitlines()
    assert [json.loads(event)["half_iteration"] for event in events] == [*range(1, HALF_ITERATIONS + 1)]


@pytest.mark.parametrize(
    "training",
    [
        pytest.param(training, marks=pytest.mark.slow if training == "held out" else pytest.mark.exhaustive)
        for training in OTHER_TRAININGS
    ],
)
def test_every_training_goes_on_to_the_same_bits(spark, tmp_path, caplog, monkeypatch, undisturbed, training):
    settings = OTHER_TRAININGS[training]
    trainer = Trainer(spark, tmp_path, caplog, monkeypatch, **settings)
    trainer.train_until("half_iteration_5")
    assert trainer.train()[0] == 5
    assert factors(trainer.root, "a") == undisturbed(**settings)


def flip(folder):
    file = next((folder / "kind=items").glob("part-*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_index(folder):
    index = folder / "index.json"
    index.write_text(index.read_text()[:-40])


def change_index(folder):
    index = folder / "index.json"
    index.write_text(index.read_text().replace('"step": ', '"step": 1'))


DAMAGES = {
    "a flipped byte": flip,
    "a missing file": lambda folder: next((folder / "kind=users").glob("part-*")).unlink(),
    "no index": lambda folder: (folder / "index.json").unlink(),
    "a cut index": cut_index,
    "a changed index": change_index,
}


@pytest.mark.parametrize(
    "damage",
    [
        marked if marked == "a flipped byte" else pytest.param(marked, marks=pytest.mark.exhaustive)
        for marked in DAMAGES
    ],
)
def test_a_damaged_checkpoint_is_passed_over(trainer, undisturbed, damage):
    trainer.train_until("half_iteration_6")
    DAMAGES[damage](trainer.root / "runs/a/checkpoints/000005")
    assert trainer.train() == [5, 6, 7, 8]
    assert ("passed over a checkpoint" in trainer.caplog.text) == (damage != "no index")
    assert factors(trainer.root, "a") == undisturbed()


@pytest.mark.exhaustive
def test_without_a_whole_checkpoint_training_starts_again(trainer, undisturbed):
    trainer.train_until("half_iteration_6")
    for folder in (trainer.root / "runs/a/checkpoints").iterdir():
        flip(folder)
    assert trainer.train() == [*range(1, HALF_ITERATIONS + 1)]
    assert factors(trainer.root, "a") == undisturbed()


@pytest.mark.slow
def test_the_source_is_not_read_again(trainer, undisturbed):
    trainer.train_until("half_iteration_3")
    write_plays(trainer.plays, seed=7)
    assert trainer.train() == [3, 4, 5, 6, 7, 8]
    assert "read 6,000 rows" not in trainer.caplog.text
    assert factors(trainer.root, "a") == undisturbed()


@pytest.mark.exhaustive
@pytest.mark.parametrize("damage", ["a flipped byte", "a missing file"])
def test_damaged_blocks_are_built_again(trainer, undisturbed, damage):
    trainer.train_until("half_iteration_3")
    file = max((trainer.root / "runs/a/blocks/users/kind=in").glob("part-*"), key=lambda path: path.stat().st_size)
    if damage == "a missing file":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert trainer.train() == [*range(1, HALF_ITERATIONS + 1)]
    assert "blocks are built again" in trainer.caplog.text
    assert factors(trainer.root, "a") == undisturbed()


def test_other_settings_are_refused_by_name(trainer):
    trainer.train_until("after_blocks")
    with pytest.raises(ConfigError, match=r"train\.rank = 7 \(it was 6\).*checkpoint\.resume = never"):
        trainer.train(**{"train.rank": 7})
    with pytest.raises(ConfigError, match=r"input\.path = .*other"):
        trainer.train(**{"input.path": "other"})
    path = trainer.root / "runs/a/run.json"
    path.write_text(path.read_text().replace('"wals_spark": "', '"wals_spark": "9.'))
    with pytest.raises(ConfigError, match=r"wals_spark 9\.\S+ and not"):
        trainer.train()
    path.write_text("{")
    with pytest.raises(InputError, match="is no record of a run"):
        trainer.train()


@pytest.mark.slow
def test_resume_is_a_choice(trainer, undisturbed):
    with pytest.raises(ConfigError, match=r"checkpoint\.resume = must: there is no run a"):
        trainer.train(**{"checkpoint.resume": "must"})
    trainer.train_until("after_check")
    with pytest.raises(ConfigError, match="died before its blocks were built"):
        trainer.train(**{"checkpoint.resume": "must"})
    trainer.train_until("half_iteration_3", **{"checkpoint.resume": "never"})
    assert trainer.train(**{"checkpoint.resume": "never", "train.seed": 1}) == [*range(1, HALF_ITERATIONS + 1)]
    assert factors(trainer.root, "a") != undisturbed()


@pytest.mark.slow
def test_what_is_done_is_not_done_again(trainer):
    trainer.train(**{"output.version": "v"})
    trainer.plays.unlink()
    assert trainer.train(**{"output.version": "v"}) == []
    assert "run a is done: model v is complete" in trainer.caplog.text
    with pytest.raises(ConfigError, match=r"output\.version = v: .* is a complete model and stays"):
        trainer.train(**{"output.version": "v", "run.id": "b"})


@pytest.mark.slow
def test_another_run_removes_the_remains(trainer, tmp_path):
    trainer.train_until("half_iteration_3")
    foreign = trainer.root / "versions/foreign/notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("not of wals_spark")
    for name in ("CURRENT", "runs/b/run.json"):
        path = trainer.root / name
        path.parent.mkdir(exist_ok=True)
        path.with_name(f".{path.name}.{'0' * 32}.new").write_text("half of a n")
    trainer.train(**{"run.id": "b"})
    assert sorted(path.name for path in (trainer.root / "runs").rglob("*")) == ["b", "run.json"]
    assert sorted(path.name for path in (trainer.root / "versions").iterdir()) == ["b", "foreign"]
    assert sorted(path.name for path in trainer.root.iterdir()) == ["CURRENT", "history", "leases", "runs", "versions"]
    assert "removed what runs that died have left" in trainer.caplog.text


@pytest.mark.exhaustive
def test_checkpoints_may_be_elsewhere(trainer, tmp_path, undisturbed):
    settings = {"checkpoint.path": str(tmp_path / "elsewhere")}
    trainer.train_until("half_iteration_3", **settings)
    assert sorted(path.name for path in (trainer.root / "runs/a").iterdir()) == ["run.json"]
    others = tmp_path / "elsewhere/runs/of-another-root"
    others.mkdir(parents=True)
    (others / "_wals_spark").write_text("file:/another/root")
    assert trainer.train(**settings)[0] == 3
    assert factors(trainer.root, "a") == undisturbed()
    assert [path.name for path in (tmp_path / "elsewhere/runs").iterdir()] == ["of-another-root"]


@pytest.mark.slow
def test_a_run_of_a_dataframe_goes_on_with_that_one(trainer, spark):
    config = Config.of({**trainer.settings, "output.path": str(trainer.root)})
    storage = Storage(spark, str(trainer.root))

    def train_on(plays):
        return train_version(spark.read.parquet(str(plays)), config, storage)

    trainer.train_until("half_iteration_3", lambda: train_on(trainer.plays))
    other = write_plays(trainer.folder / "other.parquet", seed=7)
    with pytest.raises(ConfigError, match="run a was started with another DataFrame"):
        train_on(other)
    trainer.caplog.clear()
    assert train_on(trainer.plays).version == "a"
    assert SOLVED.findall(trainer.caplog.text)[0] == "3"


@pytest.mark.exhaustive
def test_a_version_that_is_not_yet_served_becomes_it(trainer):
    trainer.train_until("after_manifest")
    assert not (trainer.root / "CURRENT").exists()
    assert trainer.train() == []
    assert (trainer.root / "CURRENT").read_text() == "a\n"


@pytest.mark.slow
def test_a_later_version_stays_the_served_one(trainer):
    trainer.train_until("after_manifest")
    document = trainer.root / "versions/a/manifest.json"
    created = json.loads(document.read_text())["created"]
    shutil.copytree(document.parent, trainer.root / "versions/later")
    later = trainer.root / "versions/later/manifest.json"
    later.write_text(later.read_text().replace(created, "2999-01-01T00:00:00+00:00"))
    (trainer.root / "CURRENT").write_text("later\n")
    assert trainer.train() == []
    assert (trainer.root / "CURRENT").read_text() == "later\n"
