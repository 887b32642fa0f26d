"""Training where folders do not exist and renames are copies: an object store's rules."""

from __future__ import annotations

import signal
import subprocess
import sys
from urllib.parse import unquote

import object_stores
import pytest
from killed_runs import REPOSITORY, Job, factors


@pytest.fixture
def submit_arguments(tmp_path):
    """What starts Spark with the object store."""

    def of(*, conditional=True):
        classes = object_stores.compiled(tmp_path)
        settings = object_stores.hadoop_settings(tmp_path / "store", conditional=conditional)
        conf = " ".join(f"--conf spark.hadoop.{name}={value}" for name, value in settings.items())
        return f"--driver-class-path {classes} {conf} pyspark-shell"

    return of


def as_folders(store, folder):
    """The objects below a bucket as files in folders."""
    for path in store.iterdir():
        target = folder / unquote(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


@pytest.mark.slow
def test_a_killed_run_goes_on_and_its_model_is_used(tmp_path, plays, undisturbed, submit_arguments):
    root = f"{object_stores.BUCKET}/model"
    job = Job(tmp_path, plays, f"output.path={root}", "run.id=a", "checkpoint.every=0")
    environment = {"PYSPARK_SUBMIT_ARGS": submit_arguments()}
    killed = job.run(fault="before_checkpoint_index:kill", **environment)
    assert killed.returncode == -signal.SIGKILL, killed.log
    ended = job.run(**environment)
    assert ended.returncode == 0, ended.log
    as_folders(tmp_path / "store", tmp_path / "copy")
    assert factors(tmp_path / "copy/model", "a") == factors(undisturbed.root, "a")
    names = {path.relative_to(tmp_path / "copy/model").parts[0] for path in (tmp_path / "copy/model").rglob("*")}
    assert names == {"CURRENT", "history", "leases", "runs", "versions"}
    recommended = subprocess.run(
        [sys.executable, str(REPOSITORY / "jobs/recommend.py"), f"--set=model.path={root}", "--set=recommend.k=3",
         "--set=recommend.exclude_seen=false", f"--set=output.path={object_stores.BUCKET}/recommended"],
        env=job.environment(**environment), capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert recommended.returncode == 0, recommended.stderr
    as_folders(tmp_path / "store", tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy/recommended").iterdir()} > {"_SUCCESS"}
    assert not (tmp_path / "copy/recommended/_wals_spark").exists()


@pytest.mark.exhaustive
def test_a_store_that_cannot_give_a_lease_is_refused(tmp_path, plays, submit_arguments):
    job = Job(tmp_path, plays, f"output.path={object_stores.BUCKET}/model", "run.id=a")
    environment = {"PYSPARK_SUBMIT_ARGS": submit_arguments(conditional=False)}
    refused = job.run(**environment)
    assert refused.returncode == 2, refused.log
    assert "cannot keep two runs apart" in refused.log
    ended = job.run("lease.required=false", **environment)
    assert ended.returncode == 0, ended.log
