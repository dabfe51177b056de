"""Sweeps that ship with the package, by name: `--config paper/imagenet`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ltrp_bench.harness.sweeps.document import STANDARD_INPUT, Document, read_document
from ltrp_bench.selectors.errors import UsageError, unknown_name

FOLDER: Final = Path(__file__).parent / "builtin"


def suite_names() -> list[str]:
    """Names of the suites, in alphabetical order."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def suite_title(name: str) -> str:
    """The first line of a suite's comment."""
    with (FOLDER / f"{name}.yaml").open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def find_document(given: str) -> Document:
    """The file, standard input ("-") or suite of a name; files come first.

    Raises:
        UsageError: neither a file nor a suite, or no YAML.
    """
    if given == STANDARD_INPUT or Path(given).exists():
        return read_document(given)
    if given in suite_names():
        return read_document(FOLDER / f"{given}.yaml", given)
    if Path(given).suffix in (".yaml", ".yml", ".json"):
        raise UsageError(f"--config {given}: no such file")
    raise unknown_name("file or suite", given, suite_names())
