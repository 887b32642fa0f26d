"""The package's own sources as one zip archive, as executors are sent it; same sources, same bytes."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path


def write_archive(target: Path) -> None:
    """Write the package that is running to ``target``, whole or not at all.

    Raises
    ------
    NotADirectoryError
        If the package was imported from an archive itself.
    """
    folder = Path(__file__).parent.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: this package was imported from an archive")
    unfinished = target.with_suffix(".unfinished")
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for path in folder.rglob("*") if path.suffix == ".py" or path.name == "py.typed")
    with zipfile.ZipFile(unfinished, "w") as archive:  # stored, not deflated: zlib's output differs between versions
        for path in sources:
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, and with it the permissions below
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    os.replace(unfinished, target)


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {Path(sys.argv[1]).stat().st_size:,} bytes")
