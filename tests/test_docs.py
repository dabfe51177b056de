"""The documentation: its examples run, the files it names exist, and its links resolve."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.selectors import registry as selector_registry
from ltrp_bench.tasks import registry as task_registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("selectors/weights/*.md"),
        *ROOT.glob("tasks/weights/*.md"),
    ]
)
GUIDES = sorted(ROOT.glob("docs/extending/*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
FILE_NAME = re.compile(r"# ([\w-]+\.(?:py|toml))$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
Follow = Callable[[str], None]
PATH = re.compile(r"`((?:docs|harness|results|selectors|tasks|tests|tools|benchmarks|\.github)/[\w./-]+\.\w+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """Name of the file to save it as, from a comment in the first line."""
        found = FILE_NAME.match(self.text.splitlines()[0])
        return found and found[1]


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(text)]


def section(text: str, title: str) -> str:
    """The part of a page under a heading, up to the next one of the same level."""
    start = text.index(f"\n## {title}\n")
    end = text.find("\n## ", start + 1)
    return text[start : end if end > 0 else len(text)]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Follow]:
    """Does what a page says in an empty folder: saves its files, runs its Python and its commands, in order.

    Commands run in this process, where what they import is there already; `pip install --editable .` registers the
    entry points of the page's `pyproject.toml`.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def do(text: str) -> None:
        done = 0
        for block in blocks(text):
            if block.file_name:
                Path(block.file_name).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                exec(compile(block.text, "example", "exec"), {"__name__": "__main__"})
                done += 1
            elif block.language == "bash":
                for command in commands(block.text):
                    code = execute(command)
                    assert code == 0, f"{' '.join(command)}\n{''.join(capfd.readouterr())}"
                    done += 1
        assert done, "the page has nothing to run"

    yield do
    for name in set(sys.modules) - before:
        if (Path(getattr(sys.modules[name], "__file__", None) or "/")).is_relative_to(tmp_path):
            del sys.modules[name]
    forget_entry_points()


def commands(text: str) -> list[list[str]]:
    """The command lines of a shell block, split into words."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def execute(command: list[str]) -> int:
    """Run a command in the current folder; returns its exit code."""
    if command[0] == "export":  # of PYTHONPATH: the folder is on this process's path already
        return 0
    if command[0] == "ltrp-bench":
        return run_command(command[1:])
    if command == ["pip", "install", "--editable", "."]:
        install(Path("pyproject.toml"))
        return 0
    # `python` is the one that runs the tests, whether or not its environment is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(command, check=False, env={**os.environ, "PATH": path}).returncode


def install(project: Path) -> None:
    """Make the entry points of a project's file known, as an installer would."""
    entry_points = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
    info = Path("example-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    groups = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    forget_entry_points()


def forget_entry_points() -> None:
    """Let the registries look for installed names again."""
    selector_registry._installed.cache_clear()
    task_registry._installed.cache_clear()


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.stem)
def test_a_guide_works_when_followed(page: Path, follow: Follow) -> None:
    follow(page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_tutorial_works_when_followed(follow: Follow) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    start = text.index("<!-- tests/test_docs.py follows the tutorial from here. -->")
    follow(text[start:].replace("--limit 100", "--limit 16"))
    made = ("selections.png", "pairs.csv", "table.tex", "report.html", "study.zip")
    assert not [name for name in made if not Path(name).stat().st_size]
    figure = re.search(r"includegraphics\S*\{(\S+)\}", text)
    assert figure and Path(figure[1]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for target in LINK.findall(BLOCK.sub("", text)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else (page.parent / file).resolve()
        if not found.exists() or (anchor and anchor not in anchors(found)):
            missing.append(target)
    assert not missing


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_files_it_names_exist(page: Path) -> None:
    named = PATH.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_pages_name_every_selector_and_task() -> None:
    text = (ROOT / "docs" / "selectors.md").read_text(encoding="utf-8")
    assert not [name for name in selector_registry.selector_names() if f"`{name}`" not in text]
    rows = [line for line in (ROOT / "docs" / "tasks.md").read_text().splitlines() if line.startswith("| [")]
    for name in task_registry.task_names():
        data, _, family = name.rpartition("-")
        (row,) = (row for row in rows if f"-{family}`" in row)
        assert f"`{name}`" in row or f"`{data}-`" in row, name


def test_the_readmes_blocks_fit_into_100_columns() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [line for block in blocks(text) for line in block.text.splitlines() if len(line) > 100]


def test_the_messages_of_the_faq_are_those_of_the_program() -> None:
    templates = [
        text for folder in ("harness", "selectors", "tasks", "results") for text in message_texts(ROOT / folder)
    ]
    headings = re.findall(r"^### (`.+)$", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), re.M)
    assert len(headings) > 20
    for heading in headings:
        for quoted in re.findall(r"`([^`]+)`", heading):
            parts = [re.escape(part.strip()) for part in quoted.split("…")]
            pattern = re.compile(".*".join(parts), re.S)
            assert any(pattern.search(text) for text in templates), quoted


def test_the_table_of_the_python_page_is_printed_whole(
    follow: Follow, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    follow(text[: text.index("```\n", text.index("```python")) + 4].replace("limit=100", "limit=4"))
    (heading,) = (line for line in capfd.readouterr().out.splitlines() if "keep_ratio" in line)
    assert heading.split() == ["selector", "keep_ratio", "all", "seen", "unseen", "gap", "rank"]


def message_texts(folder: Path) -> Iterator[str]:
    """Texts of a folder's modules; an f-string's values are written as …, backticks are left out."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values).replace(
                    "`", ""
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value.replace("`", "")
