"""File systems in memory, which can be full."""

from __future__ import annotations

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def memory(folder, kibibytes):
    """A file system in memory of so many KiB at a folder; a test that asks for it skips where that is forbidden."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mount is forbidden here: the test needs a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
