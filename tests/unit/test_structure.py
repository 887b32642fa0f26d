"""The limits of sizes and names that keep the tree readable, and docs/architecture.md beside the tree itself."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, JOBS, TESTS = ROOT / "wals_spark", ROOT / "jobs", ROOT / "tests"
MAX_FUNCTION_LINES, MAX_ARGUMENTS, MAX_TEST_NAME = 40, 7, 60
MAX_FILE_LINES, MAX_JOB_LINES = 300, 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files() -> list[Path]:
    """All of the repository's Python but the kernels, which Numba wants in one piece."""
    paths = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"), *JOBS.glob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    return sorted(path for path in paths if path.name != "numba_kernels.py")


@cache
def functions() -> list[tuple[str, Function]]:
    """Every function, methods and nested ones too, and where it is."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node)
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function)
    ]


def n_arguments(function: Function) -> int:
    """Positional, keyword-only, starred; self included."""
    a = function.args
    return len([*a.posonlyargs, *a.args, *a.kwonlyargs]) + (a.vararg is not None) + (a.kwarg is not None)


def assert_within(limit: int, sizes: dict[str, int]) -> None:
    """Fail with one line for each size above the limit, the largest first."""
    above = sorted(((size, where) for where, size in sizes.items() if size > limit), reverse=True)
    assert not above, f"above {limit}:\n" + "\n".join(f"{size:5}  {where}" for size, where in above)


def rooms_in_the_tree() -> dict[str, set[str]]:
    """Each folder of the package with the names of its modules."""
    folders = [PACKAGE, *(path.parent for path in PACKAGE.rglob("*/__init__.py"))]
    return {
        f"{folder.relative_to(ROOT)}/": {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
        for folder in folders
    }


def rooms_in_the_docs() -> dict[str, set[str]]:
    """The rows of a table that begin with a room's path: the names in backticks of the last cell are its modules."""
    rooms: dict[str, set[str]] = {}
    for line in (ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines():
        if row := re.fullmatch(r"\| `(wals_spark/[\w/]*)`.*\|.*\|([^|]*)\|", line):
            room, modules = row.groups()
            assert room not in rooms, f"{room} has two rows"
            rooms[room] = set(re.findall(r"`([^`]+)`", modules))
    return rooms


def test_no_function_is_longer_than_forty_lines():
    assert_within(MAX_FUNCTION_LINES, {where: node.end_lineno - node.lineno + 1 for where, node in functions()})


def test_no_function_takes_more_than_seven_arguments():
    # The signatures of the estimator are MLlib's, which its users rely on.
    of_mllib = {"__init__", "setParams"}
    sizes = {where: n_arguments(node) for where, node in functions() if not (is_face(where) and node.name in of_mllib)}
    assert_within(MAX_ARGUMENTS, sizes)


def is_face(where: str) -> bool:
    """Whether a function is of MLlib's face."""
    return where.startswith("wals_spark/ml/estimator.py")


def test_no_file_is_longer_than_300_lines_and_no_job_than_50():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert_within(MAX_FILE_LINES, {str(path.relative_to(ROOT)): n for path, n in lengths.items()})
    assert_within(MAX_JOB_LINES, {path.name: n for path, n in lengths.items() if path.parent == JOBS})


def test_no_test_has_a_name_longer_than_sixty_characters():
    tests = {where: node.name for where, node in functions() if node.name.startswith("test_")}
    assert_within(MAX_TEST_NAME, {where: len(name) for where, name in tests.items()})


def test_every_room_has_an_init_file():
    without = [p.parent for p in PACKAGE.rglob("*.py") if not (p.parent / "__init__.py").exists()]
    assert without == []


def test_the_architecture_names_every_room_and_module():
    tree, docs = rooms_in_the_tree(), rooms_in_the_docs()
    missing = {room: modules - docs.get(room, set()) for room, modules in tree.items()}
    unknown = {room: modules - tree.get(room, set()) for room, modules in docs.items()}
    assert set(docs) == set(tree)
    assert {room: modules for room, modules in missing.items() if modules} == {}
    assert {room: modules for room, modules in unknown.items() if modules} == {}
