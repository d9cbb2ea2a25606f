"Every link within the book leads somewhere. `make test-slow` builds the book, then runs this."
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT, all_notebooks, notebook_id

HTML = ROOT/"_docs"/"_build"/"html"
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    "What a page links to, what it loads, and the anchors that links to it may name."

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loaded, self.linked_in_tables = [], [], []
        self.anchors, self.depth = {"", "top"}, 0  # and how many tables are open
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = {key: value for key, value in attributes if value}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        links = [values[key] for key in ("href", "src") if key in values]
        self.links += links
        stylesheet = tag == "link" and values.get("rel") == "stylesheet"
        if "src" in values or stylesheet: self.loaded += links
        if tag == "table": self.depth += 1
        if self.depth: self.linked_in_tables += links

    def handle_endtag(self, tag):
        if tag == "table": self.depth -= 1


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    "Every page of the book, read once."
    assert HTML.is_dir(), "there is no book yet: run `make test-slow`, or `make docs` first"
    return {path: Page(path) for path in HTML.rglob("*.html")
            if "_static" not in path.relative_to(HTML).parts}


def broken_links(pages: dict[Path, Page]) -> list[str]:
    "The links within the book that lead nowhere, with the pages they are on."
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc: continue
            target = (path.parent/unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].anchors if target in pages else None
            if not target.exists() or known is not None and unquote(parts.fragment) not in known:
                broken.append(f"{path.relative_to(HTML)}: {link}")
    return broken


def test_every_notebook_is_a_page(pages):
    missing = {HTML/f"{notebook_id(path)}.html" for path in all_notebooks()} - pages.keys()
    assert not missing, f"not made: {', '.join(path.stem for path in missing)}; run `make docs`"


def test_errors_are_a_page(pages):
    assert "rate-nb-training" in pages[HTML/"troubleshooting.html"].anchors


def test_links_lead_somewhere(pages):
    broken = broken_links(pages)
    assert not broken, "\n".join(broken)


def test_checker_finds_broken_links(tmp_path):
    (tmp_path/"to.html").write_text('<h1 id="here">')
    (tmp_path/"from.html").write_text('<img src="none.png"><a href="to.html#here">'
                                      '<a href="to.html#there"><a href="#nowhere">'
                                      '<a href="https://example.org">')
    pages = {path: Page(path) for path in tmp_path.glob("*.html")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{__name__}.HTML", tmp_path)
        found = broken_links(pages)
    assert found == ["from.html: none.png", "from.html: to.html#there", "from.html: #nowhere"]


def test_front_page_maps_the_notebooks():
    names = {f"{notebook_id(path)}.html" for path in all_notebooks()}
    missing = names - {"index.html"} - set(Page(HTML/"index.html").linked_in_tables)
    assert not missing, f"not linked in the front page's map: {', '.join(missing)}"


def test_nothing_is_loaded_from_the_network(pages):
    remote = {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}
    assert not remote, f"a page without network would lack {', '.join(sorted(remote))}"
