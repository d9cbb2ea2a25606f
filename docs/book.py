"""Builds the course as a book of web pages in _docs: `make docs`.

Nothing is executed; the committed outputs are shown.

Below each exported cell stands nbdev's documentation of the public names in it."""
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import nbformat
import troubleshooting
import yaml
from api import Api
from generate import ROOT, notebooks, read_settings, reading_minutes

BOOK, DOCS = ROOT/"_proc", ROOT/"_docs"
NBS = ROOT/"nbs"
LEVELS = {"course": "introductory", "core": "advanced", "engine": "advanced"}  # else intermediate
HELP = ["all_results", "glossary", "names", "troubleshooting"]  # pages that are no notebooks


def read(path: Path) -> nbformat.NotebookNode:
    "A notebook."
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[str]:
    "The code cells of a notebook, without the one that is for Colab."
    return [cell.source for cell in read(path).cells
            if cell.cell_type == "code" and cell.get("id") != "colab"]


@lru_cache
def modules() -> dict[str, Path]:
    "Module -> the notebook that exports it."
    found = {}
    for path in notebooks(ROOT):
        for source in code_of(path):
            if named := re.match(r"#\| default_exp (\S+)", source):
                found[f"rate_nb.{named[1]}"] = path
    return found


@lru_cache
def api() -> Api:
    "All public names."
    return Api({module: [source for source in code_of(path) if source.startswith("#| export")]
                for module, path in modules().items()})


# ---- a page ----

def level(path: Path) -> str:
    "For whom a notebook is."
    return LEVELS.get(path.relative_to(NBS).parts[0], "intermediate")


def uses(path: Path) -> list[str]:
    "Links to the notebooks whose modules a notebook imports."
    named = re.findall(r"^(?:from|import) (rate_nb[\w.]*)", "\n".join(code_of(path)), re.MULTILINE)
    wanted = [modules()[name] for name in dict.fromkeys(named) if name in modules()]
    return [f"[{title(other)}]({relative(other, path)})" for other in wanted if other != path]


def title(path: Path) -> str:
    "The heading of a notebook."
    return read(path).cells[0].source.split("\n")[0].lstrip("# ")


def relative(target: Path, page: Path) -> str:
    "A link from one notebook to another."
    return "../"*(len(page.relative_to(NBS).parts) - 1) + target.relative_to(NBS).as_posix()


def facts(path: Path) -> str:
    "Level, time and prerequisites; lessons tell the last two themselves."
    told = f"**Level:** {level(path)}."
    if path.parent.name == "course": return told
    links = uses(path)
    told += f" **Time:** about {max(1, round(reading_minutes(path)))} minutes."
    return told + (f" **It uses:** {', '.join(links)}." if links else "")


def alternative(cells: list, place: int) -> str:
    "What a picture's reader gets who cannot see it: the heading above and the prose before."
    prose = "\n\n".join(cell.source for cell in cells[:place] if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    heading, paragraph = (re.sub(r"[*`#>$|\\]|\]\([^)]*\)|\[", "", text).strip()
                          for text in (headings[-1], prose.split("\n\n")[-1].replace("\n", " ")))
    return f"Figure: {heading}. {re.split(r'(?<=[.:]) ', paragraph)[0]}".replace('"', "'")


def book_links(text: str, path: Path) -> str:
    "A notebook's links as the book has them: headings in small letters, other files on the web."
    def target(found):
        name, anchor, link = found[1], found[2] or "", "]({}{})"
        file = (path.parent/name).resolve() if name else path
        if file.is_relative_to(NBS): return link.format(name, anchor.lower())
        address = "{git_url}/blob/{branch}/".format(**read_settings(ROOT))
        if file.suffix == ".png": address = "../"*(len(path.relative_to(NBS).parts) - 1)
        return link.format(address + file.relative_to(ROOT).as_posix(), anchor)
    return re.sub(r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)", target, text)


def page(path: Path) -> nbformat.NotebookNode:
    "A notebook as the book shows it: nothing hidden, documentation below exported cells."
    notebook, cells = read(path), []
    module = next((name for name, other in modules().items() if other == path), None)
    for place, cell in enumerate(notebook.cells):
        if cell.source.startswith(("#| default_exp", "#| hide")): continue
        exported = cell.source.startswith("#| export")
        if cell.cell_type == "code":
            cell.source = re.sub(r"^#\| .*\n?", "", cell.source, flags=re.MULTILINE)
            if any("image/png" in output.get("data", {}) for output in cell.outputs):
                text = alternative(notebook.cells, place)
                cell.metadata["mystnb"] = {"image": {"alt": text}}
        else: cell.source = api().linked(book_links(cell.source, path))
        cells.append(cell)
        if exported and (text := api().documentation(cell.source, module)):
            cells.append(nbformat.v4.new_markdown_cell(text))
    if path != NBS/"index.ipynb": cells.insert(1, nbformat.v4.new_markdown_cell(facts(path)))
    notebook.cells = cells
    return notebook


# ---- the whole ----

def contents() -> dict:
    "The table of contents: the map that the index notebook made, and what is made from the source."
    outputs = [output for cell in read(NBS/"index.ipynb").cells
               for output in cell.get("outputs", [])]
    texts = [output.get("data", {}).get("text/markdown", "") for output in outputs]
    (floors,) = [text for text in texts if text.startswith("**")]
    parts = re.findall(r"\*\*(.+?)\*\*\n(.*?)(?=\n\*\*|\Z)", floors, re.DOTALL)
    links = {caption: re.findall(r"\]\(([^):]+)\.ipynb\)", text) for caption, text in parts}
    links["Help"] = HELP
    return {"format": "jb-book", "root": "index", "parts": [
        {"caption": caption, "chapters": [{"file": file} for file in chapters]}
        for caption, chapters in links.items()]}


def settings() -> dict:
    "Jupyter Book's."
    ours = read_settings(ROOT)
    return {
        "title": "rate_nb", "author": "", "logo": "", "only_build_toc_files": True,
        "execute": {"execute_notebooks": "off"},
        "repository": {"url": ours["git_url"], "branch": ours["branch"], "path_to_book": "nbs"},
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        "html": {"use_repository_button": True, "favicon": "_static/icon.svg"},
        "parse": {"myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"]},
        "sphinx": {"config": {
            "language": "en", "myst_heading_anchors": 4,
            "html_context": {"default_mode": "auto"},
            "html_css_files": ["book.css"],
            "html_static_path": ["_static"],
            "nb_render_markdown_format": "myst",  # Markdown outputs have tables and live links too
            "mathjax_path": "mathjax/tex-chtml.js",  # in _static, so that formulas need no network
            # API headings' level is the same everywhere; defaults such as <factory> are no Python
            "suppress_warnings": ["myst.header", "misc.highlighting_failure"]}}}


BROWSER = """# All results

<p><a href="results.html">The results browser</a> is a page of its own: every trained model whose
row is kept, in a table to sort and filter; learning curves of those you choose; every figure.</p>
"""
MATHJAX = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts")  # what formulas need


def copy_to(source: Path, target: Path) -> None:
    "Copies a file or a folder, and makes the folders above the target."
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def write_sources() -> None:
    "What Jupyter Book reads: notebooks and errors as pages, pictures, contents and settings."
    shutil.rmtree(BOOK, ignore_errors=True)
    for path in [NBS/"index.ipynb", *notebooks(ROOT)]:
        target = BOOK/path.relative_to(NBS)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page(path), target)
    glossary = (ROOT/"docs"/"glossary.md").read_text(encoding="utf-8").replace("../nbs/", "")
    pages = {"troubleshooting": troubleshooting.page(ROOT/"rate_nb"), "names": api().index(),
             "glossary": glossary, "all_results": BROWSER}
    for name, text in pages.items(): (BOOK/f"{name}.md").write_text(text, encoding="utf-8")
    for picture in (ROOT/"results").rglob("*.png"): copy_to(picture, BOOK/picture.relative_to(ROOT))
    for name in ("book.css", "icon.svg"): copy_to(ROOT/"docs"/name, BOOK/"_static"/name)
    (BOOK/"_toc.yml").write_text(yaml.safe_dump(contents(), sort_keys=False))
    (BOOK/"_config.yml").write_text(yaml.safe_dump(settings()))


def add_files(html: Path) -> None:
    "What the built pages need beside them: MathJax, and the notebooks as they are to download."
    mathjax = Path(str(files("mathjax")))/"static"/"mathjax"/"es5"
    for part in MATHJAX: copy_to(mathjax/part, html/"_static"/"mathjax"/part)
    for path in [NBS/"index.ipynb", *notebooks(ROOT)]:
        copy_to(path, html/"_sources"/path.relative_to(NBS))
    for path in html.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^.*<(?:script|link)\b.*thebe.*\n", "", text)  # an error, twice a page
        text = text.replace("<table", '<table tabindex="0"')  # for those who scroll by keys
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    from browser import write_browser  # needs what only the extra docs brings

    write_sources()
    shutil.rmtree(DOCS, ignore_errors=True)  # or pages of notebooks that are gone would stay
    command = [Path(sys.executable).with_name("jupyter-book"), "build", BOOK, "--quiet"]
    subprocess.run([*command, "--path-output", DOCS, "--warningiserror", "--keep-going"],
                   check=True)
    html = DOCS/"_build"/"html"
    add_files(html)
    write_browser(ROOT/"results", html)
    print(f"The book: {html.relative_to(ROOT)}/index.html")
