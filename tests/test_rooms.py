"""The architecture, held against the sources: rooms, wings, no circle, no private name across wings, nothing large."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "results", "selectors", "tasks")
PACKAGE = ROOT / "ltrp_bench"
"""Public Python API: names only, whose code is in the rooms."""
MAX_MODULES = 20
MAX_PARAMETERS = 12
MAX_LINES = 350
BINDINGS = ROOT / "tasks/models/openmmlab/mmcv_ops.py"
"""Stand-ins for mmcv's compiled operators: mmcv's own Python code fixes their signatures."""

# room -> what it may import of the other rooms (docs/architecture.md)
ALLOWED = {
    "selectors": (),
    "results": ("selectors.errors",),
    "tasks": (
        "selectors.topk",
        "selectors.vit",
        "selectors.checkpoints",
        "selectors.errors",
        "selectors.normalization",
        "selectors.option_checks",
        "selectors.zoo",
        "results.schema",
        "results.summaries",
    ),
    "harness": ("selectors", "tasks", "results"),
}

# wing -> the wings of its own room that it may import; files beside the wings are not restricted
WINGS = {
    "results.schema": (),
    "results.summaries": ("schema",),
    "results.store": ("schema", "summaries"),
    "results.statistics": ("schema", "summaries", "store"),
    "results.leaderboard": ("schema", "summaries", "store", "statistics"),
    "results.comparison": ("schema", "summaries", "store", "statistics", "leaderboard"),
    "results.report": ("schema", "summaries", "store", "statistics", "leaderboard"),
    "tasks.metrics": ("data", "splits"),
    "tasks.data": ("splits", "models"),
    "tasks.splits": ("data",),
    "tasks.models": ("metrics",),
    "harness.evaluation": (),
    "harness.engines": ("evaluation",),
    "harness.training": ("evaluation",),
    "harness.audit": ("evaluation",),
    "harness.visualization": ("evaluation",),
    "harness.sweeps": ("evaluation", "engines"),
    "harness.progress": (),
    "harness.api": ("evaluation", "visualization", "engines", "sweeps", "progress"),
    "harness.cli": ("evaluation", "training", "audit", "visualization", "engines", "sweeps", "progress"),
}


@dataclass(frozen=True)
class Import:
    """One imported name: the module it lies in, and the name (empty where the module itself is imported)."""

    module: str
    name: str


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below `ltrp_bench`."""
    files = (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Imports of the package in a module, at its top or inside a function."""
    found = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ltrp_bench"):
            base = (node.module or "").removeprefix("ltrp_bench").lstrip(".")
            for alias in node.names:
                inside = f"{base}.{alias.name}".lstrip(".")
                found.append(Import(inside, "") if inside in modules() else Import(base, alias.name))
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.startswith("ltrp_bench."))
            found += [Import(name.removeprefix("ltrp_bench."), "") for name in names]
    return tuple(found)


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the repository: the rooms', the API's, the tests', and those of benchmarks and tools."""
    folders = (*ROOMS, PACKAGE.name, "tests", "benchmarks", "tools")
    return tuple(file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def wing(module: str) -> str | None:
    """The wing of a module, "results.schema"; None for a file of the room itself."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 else None


def test_every_import_names_a_module() -> None:
    absent = [
        f"{module} imports {one}" for module in modules() for one in imports(module) if one.module not in modules()
    ]
    assert absent == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards_only(room: str) -> None:
    own = [module for module in modules() if within(module, (room,))]
    assert own
    wrong = [f"{m} imports {i.module}" for m in own for i in imports(m) if not within(i.module, (room, *ALLOWED[room]))]
    assert wrong == []


@pytest.mark.parametrize("name", WINGS)
def test_wings_import_the_wings_below_only(name: str) -> None:
    room = name.split(".")[0]
    allowed = (name, *(f"{room}.{other}" for other in WINGS[name]))
    own = [module for module in modules() if wing(module) == name]
    assert own, "a wing without modules"
    wrong = [
        f"{module} imports {one.module}"
        for module in own
        for one in imports(module)
        if (other := wing(one.module)) is not None and other.startswith(f"{room}.") and not within(other, allowed)
    ]
    assert wrong == []


def test_every_wing_of_these_rooms_has_its_rule() -> None:
    found = {wing(module) for module in modules() if not within(module, ("selectors",))} - {None}
    assert found == set(WINGS)


def test_the_architecture_page_has_a_row_for_each_wing_that_names_its_folders() -> None:
    rows = re.findall(r"^\| (`\w+/.+?) \| (.+) \|$", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.M)
    described = {name: text for names, text in rows for name in re.findall(r"`([\w/]+\w)`", names)}
    # A folder that was removed may have left its __pycache__ behind.
    wings = {path.parent for room in ROOMS for path in (ROOT / room).glob("*/[!_]*") if path.parent.name[0] != "_"}
    assert set(described) == {wing.relative_to(ROOT).as_posix() for wing in wings}
    unnamed = [
        folder.relative_to(ROOT).as_posix()
        for wing in wings
        for folder in wing.iterdir()
        if folder.is_dir()
        and any(folder.glob("[!_]*"))
        and f"`{folder.name}`" not in described[wing.relative_to(ROOT).as_posix()]
    ]
    assert unnamed == []


def test_no_private_name_crosses_a_wing() -> None:
    wrong = [
        f"{module} imports {one.name} of {one.module}"
        for module in modules()
        for one in imports(module)
        if one.name.startswith("_") and not one.name.startswith("__") and one.module != module
    ]
    assert wrong == []


def circles() -> Iterator[list[str]]:
    """Circles of imports between files, imports inside functions included."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(module: str) -> Iterator[list[str]]:
        state[module] = 1
        path.append(module)
        for target in sorted({one.module for one in imports(module)}):
            if state.get(target) == 1:
                yield [*path[path.index(target) :], target]
            elif target not in state and target in modules():
                yield from visit(target)
        path.pop()
        state[module] = 2

    for module in modules():
        if module not in state:
            yield from visit(module)


def test_no_circle_of_imports() -> None:
    assert [" -> ".join(circle) for circle in circles()] == []


def test_no_folder_is_crowded() -> None:
    counts: dict[str, int] = {}
    for module in modules():
        folder = module.rpartition(".")[0]
        counts[folder] = counts.get(folder, 0) + 1
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_no_file_is_long() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert len(lines) > len(modules())
    assert {str(file): count for file, count in lines.items() if count > MAX_LINES} == {}


def test_no_function_takes_a_crowd_of_parameters() -> None:
    crowded = [
        f"{file}:{node.lineno} {node.name}"
        for file in sources()
        if file != BINDINGS
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and len(node.args.args) + len(node.args.kwonlyargs) + len(node.args.posonlyargs) > MAX_PARAMETERS
    ]
    assert crowded == []


def test_pyproject_lists_every_folder() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(setuptools["package-dir"]) == ["ltrp_bench", *(f"ltrp_bench.{room}" for room in ROOMS)]
    tracked = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {"ltrp_bench." + ".".join(Path(file).parent.parts) for file in tracked.splitlines()}
    assert sorted(setuptools["packages"]) == ["ltrp_bench", *sorted(folders)]


def test_the_package_itself_holds_lazy_names_only() -> None:
    assert sorted(file.name for file in PACKAGE.iterdir() if file.is_file()) == ["__init__.py", "py.typed"]
    syntax = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    late = {inner for node in syntax.body if isinstance(node, (ast.If, ast.FunctionDef)) for inner in ast.walk(node)}
    at_once = [node for node in ast.walk(syntax) if isinstance(node, (ast.Import, ast.ImportFrom)) and node not in late]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in at_once}
    assert names <= {"__future__", "importlib", "pathlib", "typing"}
    classes = [node for node in ast.walk(syntax) if isinstance(node, ast.ClassDef)]
    assert classes == []


def test_no_room_has_an_init_file_and_the_standard_library_is_not_shadowed() -> None:
    assert [str(file) for room in ROOMS for file in (ROOT / room).rglob("__init__.py")] == []
    code = "import selectors, subprocess; selectors.DefaultSelector().close(); print(selectors.__file__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ROOT not in Path(run.stdout.strip()).parents
