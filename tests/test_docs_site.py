"""The documentation builds without a warning, every link leads somewhere, and nothing is asked of another host."""

from __future__ import annotations

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from tools.docs.examples import PAGES, ROOT

pytest.importorskip("zensical", reason="the site needs the extra docs")


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name == "href" and value and tag == "a":
                self.links.append(value)
            elif value and ((name == "src") or (name == "href" and tag == "link")):
                self.loads.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(folder / "zensical.toml")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "No issues found" in built.stdout + built.stderr
    return folder / "out" / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_built_and_named_in_the_navigation(site, pages):
    home = site / "index.html"
    linked = {(home.parent / urldefrag(link).url).resolve() for link in pages[home].links if "://" not in link}
    for source in PAGES:
        built = site / source.relative_to(ROOT / "docs").with_suffix(".html")
        assert built in pages
        assert built in linked or built == home, f"{source} is in no navigation"


def test_every_link_leads_to_a_page_and_a_place_in_it(pages):
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            if path.name == "404.html" or link.startswith(("http:", "https:", "javascript:")):
                continue
            url, place = urldefrag(link)
            target = (path.parent / unquote(url)).resolve() if url else path
            target = target / "index.html" if target.is_dir() else target
            assert target in pages, f"{path.name}: {link}"
            assert not place or unquote(place) in pages[target].ids, f"{path.name}: no place {link}"
            checked += 1
    assert checked > 1_000


def test_nothing_is_loaded_from_another_host(site, pages):
    loads = [load for path, page in pages.items() if path.name != "404.html" for load in page.loads]
    assert loads
    assert [load for load in loads if "//" in load and not load.startswith("data:")] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "@import" not in styles


def test_formulas_need_no_script(site, pages):
    decay = (site / "explanation" / "decay.html").read_text(encoding="utf-8")
    assert 'class="formula"' in decay
    assert "$$" not in decay
    assert {"math", "mfrac", "msup"} <= pages[site / "explanation" / "decay.html"].tags
