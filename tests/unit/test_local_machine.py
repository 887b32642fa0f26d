from __future__ import annotations

import pytest

from wals_spark.spark.local_machine import local_conf, memory_bytes, set_by_user

GIB = 2**30


def files(root, contents):
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch, tmp_path):
    for name in ("PYSPARK_SUBMIT_ARGS", "SPARK_DRIVER_MEMORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))


@pytest.mark.parametrize(
    "contents",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"},
        {  # a limit of a group above, and a higher one of its own
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/pods/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/pods/one/memory.max": f"{2 * GIB}\n",
        },
        {"proc/self/cgroup": "4:cpu,memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{GIB}\n"},
        {  # in a container of version 1 the path is the host's
            "proc/self/cgroup": "11:memory:/docker/0123\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
        },
    ],
    ids=["v2", "v2-above", "v1", "v1-container"],
)
def test_memory_is_that_of_the_container(tmp_path, contents):
    assert memory_bytes(files(tmp_path, contents)) == GIB


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
        {"proc/self/cgroup": "1:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
    ],
    ids=["no groups", "v2 without limit", "v1 without limit"],
)
def test_memory_without_a_limit_is_that_of_the_machine(tmp_path, contents):
    assert memory_bytes(files(tmp_path, contents)) == memory_bytes(tmp_path / "nothing")


def test_memory_of_the_driver_is_what_the_user_set(monkeypatch, tmp_path):
    assert local_conf()["spark.driver.memory"].endswith("m")
    files(tmp_path, {"spark-defaults.conf": "# spark.driver.host x\n\n  spark.driver.memory  3g\nspark.ui.port=1\n"})
    assert set_by_user() >= {"spark.driver.memory", "spark.ui.port"}
    assert "spark.driver.memory" not in local_conf()
    assert "spark.driver.host" in local_conf()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PYSPARK_SUBMIT_ARGS", "--driver-memory 3g pyspark-shell"),
        ("PYSPARK_SUBMIT_ARGS", "--name 'a b' --conf spark.driver.memory=3g pyspark-shell"),
        ("PYSPARK_SUBMIT_ARGS", "-c spark.driver.memory=3g pyspark-shell"),
        ("SPARK_DRIVER_MEMORY", "3g"),
    ],
)
def test_memory_set_in_the_environment_stands(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert "spark.driver.memory" not in local_conf()


def test_memory_set_in_a_named_file_stands(monkeypatch, tmp_path):
    files(tmp_path, {"own.conf": "spark.driver.memory: 3g\n"})
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"--properties-file {tmp_path}/own.conf pyspark-shell")
    assert "spark.driver.memory" not in local_conf()
