"""A Hadoop file system with the rules of an object store, compiled where there is a javac."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyspark
import pytest

SOURCE = Path(__file__).parent / "object_store/ObjectStoreFileSystem.java"
BUCKET = "objects://bucket"


def compiled(folder: Path) -> Path:
    """The folder of its classes; a test that asks for it skips without a javac."""
    compiler = shutil.which("javac")
    if compiler is None:
        pytest.skip("javac is not installed: it compiles the object store of the tests")
    jars = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-*.jar")
    command = [compiler, "-d", str(folder), "-cp", ":".join(map(str, jars)), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def hadoop_settings(store: Path, *, conditional: bool = True) -> dict[str, str]:
    """Hadoop's settings for `BUCKET`, whose objects are in the folder ``store``."""
    return {
        "fs.objects.impl": "ObjectStoreFileSystem",
        "fs.objects.root": str(store),
        "fs.objects.conditional": str(conditional).lower(),
    }
