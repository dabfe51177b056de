"""Hooks of the documentation site (mkdocs.yml): pages outside docs/, links, sources of the API.

README.md is the first page of the site. Links are written for GitHub; here they are turned
into links between pages of the site, or into links to the repository where its address is known.
"""

from __future__ import annotations

import atexit
import posixpath
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("harness", "selectors", "tasks", "results")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"(^```.*?^```)", re.M | re.S)

MIRRORED = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"cards/{card.name}": card.relative_to(ROOT).as_posix()
        for room in ("selectors", "tasks")
        for card in sorted((ROOT / room / "weights").glob("*.md"))
    },
}
PAGES = {source: uri for uri, source in MIRRORED.items()}


@event_priority(100)  # before mkdocstrings reads its options
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show the package to mkdocstrings as it is installed: the rooms are folders of `ltrp_bench`."""
    folder = Path(tempfile.mkdtemp(prefix="ltrp-bench-docs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = folder / "ltrp_bench"
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.csv", "*.parquet")
    shutil.copytree(ROOT / "ltrp_bench", package, ignore=ignore)
    for room in ROOMS:
        shutil.copytree(ROOT / room, package / room, ignore=ignore)
    for init in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (init / "__init__.py").touch()
    plugin: Any = config.plugins["mkdocstrings"]
    plugin.config.handlers["python"]["paths"] = [str(folder)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for uri, source in MIRRORED.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a page point to pages of the site."""
    uri = page.file.src_uri
    source = MIRRORED.get(uri, f"docs/{uri}")
    return "".join(
        part if part.startswith("```") else LINK.sub(lambda link: _link(link, source, uri, config), part)
        for part in FENCED.split(markdown)
    )


def _link(link: re.Match[str], source: str, uri: str, config: MkDocsConfig) -> str:
    image, text, target = link.groups()
    file, _, anchor = target.partition("#")
    if not file or re.match(r"[a-z]+:", target):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
    if path in PAGES:
        found = PAGES[path]
    elif path.startswith("docs/"):
        found = path.removeprefix("docs/")
    elif config.repo_url:
        return f"{image}[{text}]({config.repo_url.rstrip('/')}/blob/main/{path})"
    else:
        return text
    relative = posixpath.relpath(found, posixpath.dirname(uri) or ".")
    return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"
