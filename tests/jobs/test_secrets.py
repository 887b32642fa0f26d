"""Secrets stay where they were given: no file that jobs write, no log line and no error has one, nor Spark's UI."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("optuna", reason="the extra tune")

SECRET = "tr0ub4dor&3"
NAMES = (
    "password", "url", "api_key", "apiKey", "token", "sas", "pem_private_key", "sfPassword", "secret", "credentials",
    "account.key", "fs.s3a.secret.key", "auth", "passphrase", "query", "dbtable", "user", "privateKey", "connection",
)  # fmt: skip
HEADER = "options.header=true"


def planted(section, path, file_format="csv"):
    """A table, with a secret in each option; one of them as part of a URL, and one from the environment."""
    options = [f"{section}.options.{name}={SECRET}-{number}" for number, name in enumerate(NAMES)]
    url = f"{section}.options.jdbcUrl=jdbc:postgresql://me:{SECRET}@host/db?password={SECRET}"
    stored = f"{section}.options.from_environment=env:PLANTED"
    return [f"{section}.path={path}", f"{section}.format={file_format}", f"{section}.{HEADER}", *options, url, stored]


@pytest.fixture
def plays(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED", f"{SECRET}-environment")
    random = np.random.default_rng(0)
    pairs = sorted({(int(u), int(i)) for u, i in zip(*random.integers(0, (20, 12), (200, 2)).T, strict=True)})
    lines = ["user,item,rating", *(f"u{u},i{i},{1 + u % 5}" for u, i in pairs)]
    (tmp_path / "plays.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow  # six jobs, and three that are refused
def test_no_job_writes_or_prints_a_secret(run_job, plays, tmp_path):
    small = ("train.rank=2", "train.max_iter=1", "train.implicit=false")
    rows = planted("input", "plays.csv")
    parts = [*planted("input", "parts/train", "parquet"), *planted("test", "parts/test", "parquet")]
    printed = []
    for code, job, *settings in [
        (0, "split", *rows, "split.by=random", "output.path=parts"),
        (0, "train", *planted("input", "parts/train", "parquet"), *small, "output.path=model"),
        (0, "evaluate", *parts, "model.path=model", "evaluate.metrics=rmse,recall", "evaluate.k=3"),
        (0, "tune", *parts, *small, "tune.trials=1", "tune.metric=recall@3", "output.path=tuned",
         "tune.space.train.reg_param.low=1", "tune.space.train.reg_param.high=2"),
        (0, "recommend", *rows, "model.path=model", "recommend.k=2", "output.path=best"),
        (0, "predict", *planted("pairs", "plays.csv"), "model.path=model", "output.path=predicted"),
        (3, "train", *planted("input", f"s3a://me:{SECRET}@bucket/x?token={SECRET}"), "output.path=none"),
        (3, "train", *rows, "input.rating=stars", "output.path=none"),
        (2, "train", *rows, f"input.options.mode={SECRET}", f"input.options.{SECRET}", "output.path=none"),
    ]:  # fmt: skip
        done = run_job(job, *settings)
        assert done.returncode == code, done.stderr
        printed.append(done.stdout + done.stderr)
    assert not [text for text in printed[:-1] if SECRET in text]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "plays.csv"]
    assert {"manifest.json", "report.html", "metrics.json", "leaderboard.json"} <= {path.name for path in written}
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    manifest = next(tmp_path.glob("model/versions/*/manifest.json")).read_text()
    assert '"password": "(hidden)"' in manifest
    assert '"from_environment": "env:PLANTED"' in manifest
