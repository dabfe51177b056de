"""The documentation site builds without a warning, has every page, and shows what GitHub shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mkdocs", reason="needs the extra `docs`")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; its environment has no proxy that leads anywhere, so that a download would fail."""
    out = tmp_path_factory.mktemp("docs") / "site"
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **dead})
    assert result.returncode == 0, result.stderr[-4000:]
    return out


def html(site: Path, page: Path) -> str:
    """The article of a page of docs/."""
    name = page.relative_to(ROOT / "docs").with_suffix("")
    file = site / name / "index.html" if name.name != "index" else site / name.parent / "index.html"
    text = file.read_text(encoding="utf-8")
    return text[text.index("<article") : text.index("</article>")]


def counted(text: str) -> Counter[str]:
    return Counter(re.findall(r"<(li|table|tr|pre|h2|h3|img)[ >]", text))


@pytest.mark.parametrize(
    "page",
    [p for p in sorted(ROOT.glob("docs/**/*.md")) if p.parent.name != "api"],
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_a_page_has_the_lists_tables_and_blocks_that_it_has_on_github(site: Path, page: Path) -> None:
    on_github = counted(MarkdownIt("commonmark").enable("table").render(page.read_text(encoding="utf-8")))
    assert counted(html(site, page)) == on_github


def test_the_readme_is_the_first_page_and_its_links_stay_on_the_site(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="images/overview.png"' in text and (site / "images" / "overview.png").is_file()
    assert 'href="architecture/"' in text and 'href="contributing/"' in text
    assert "docs/architecture.md" not in text


def test_the_api_reference_is_made_of_docstrings(site: Path) -> None:
    text = html(site, ROOT / "docs" / "api" / "selectors.md")
    assert 'id="ltrp_bench.selectors.base.Selector"' in text
    assert "nested over keep ratios" in text  # of top_k's docstring
