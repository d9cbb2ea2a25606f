"""Builds the course as a book of web pages in _docs: `make docs`.

Nothing is executed; the committed outputs are shown.

Below each exported cell stands nbdev's documentation of the public names in it."""
import ast
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.resources import files
from inspect import isfunction
from pathlib import Path
from unittest.mock import patch

import nbformat
import troubleshooting
import yaml
from generate import ROOT, notebooks, read_settings
from nbdev.showdoc import show_doc

BOOK, DOCS = ROOT/"_proc", ROOT/"_docs"


def public_names(source: str) -> list[str]:
    "The public functions and classes that an exported cell defines."
    return [node.name for node in ast.parse(source).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"]


def api_table(symbol) -> str:
    "nbdev's table of a name. A dataclass that lent its options has no source for it to look into."
    lent = vars(symbol) if isfunction(symbol) else {}
    with patch.dict(lent):
        lent.pop("__delwrap__", None)
        return show_doc(symbol, title_level=3)._repr_markdown_()


def documentation(source: str, module) -> str:
    "API tables of the public names that an exported cell defines."
    tables = [api_table(getattr(module, name)) for name in public_names(source)]
    return re.sub(r"\{target=[^}]*\}|\A-+\n+", "", "\n\n".join(tables))


def page(path: Path) -> nbformat.NotebookNode:
    "A notebook as the book shows it: nothing hidden, documentation below exported cells."
    notebook, module, cells = nbformat.read(path, as_version=4), None, []
    for cell in notebook.cells:
        if named := re.match(r"#\| default_exp (\S+)", cell.source):
            module = import_module(f"rate_nb.{named.group(1)}")
        if cell.source.startswith(("#| default_exp", "#| hide")): continue
        exported = cell.source.startswith("#| export")
        if cell.cell_type == "code":
            cell.source = re.sub(r"^#\| .*\n?", "", cell.source, flags=re.MULTILINE)
        cells.append(cell)
        if exported and (text := documentation(cell.source, module)):
            cells.append(nbformat.v4.new_markdown_cell(text))
    notebook.cells = cells
    return notebook


def contents() -> dict:
    "The table of contents: the map that the index notebook made, and what is made from the source."
    index = nbformat.read(ROOT/"nbs"/"index.ipynb", as_version=4)
    maps = [
        output["data"]["text/markdown"]
        for cell in index.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    parts = re.findall(r"\*\*(.+?)\*\*\n(.*?)(?=\n\*\*|\Z)", maps[0], re.DOTALL)
    return {
        "format": "jb-book",
        "root": "index",
        "parts": [
            {
                "caption": caption,
                "chapters": [{"file": file} for file in re.findall(r"\]\(([^):]+)\.ipynb\)", text)],
            }
            for caption, text in parts
        ] + [{"caption": "Help", "chapters": [{"file": "troubleshooting"}]}],
    }


SETTINGS = {
    "title": "rate_nb", "author": "", "logo": "", "only_build_toc_files": True,
    "execute": {"execute_notebooks": "off"},
    "parse": {"myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"]},
    "sphinx": {"config": {
        "nb_render_markdown_format": "myst",  # Markdown outputs have tables and live links too
        "mathjax_path": "mathjax/tex-chtml.js",  # in _static, so that formulas need no network
        "suppress_warnings": ["myst.header"]}},  # API headings have one level wherever they stand
}
MATHJAX = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts")  # what formulas need


def copy_to(source: Path, target: Path) -> None:
    "Copies a file or a folder, and makes the folders above the target."
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def write_sources() -> None:
    "What Jupyter Book reads: notebooks and errors as pages, pictures, contents and settings."
    shutil.rmtree(BOOK, ignore_errors=True)
    for path in [ROOT/"nbs"/"index.ipynb", *notebooks(ROOT)]:
        target = BOOK/path.relative_to(ROOT/"nbs")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page(path), target)
    index = BOOK/"index.ipynb"
    address = "{git_url}/blob/{branch}/".format(**read_settings(ROOT))
    text = index.read_text(encoding="utf-8")
    text = text.replace("](../results/", "](results/").replace("](../", f"]({address}")
    index.write_text(text, encoding="utf-8")
    errors = troubleshooting.page(ROOT/"rate_nb")
    (BOOK/"troubleshooting.md").write_text(errors, encoding="utf-8")
    for picture in (ROOT/"results").rglob("*.png"): copy_to(picture, BOOK/picture.relative_to(ROOT))
    (BOOK/"_toc.yml").write_text(yaml.safe_dump(contents(), sort_keys=False))
    (BOOK/"_config.yml").write_text(yaml.safe_dump(SETTINGS))


if __name__ == "__main__":
    write_sources()
    shutil.rmtree(DOCS, ignore_errors=True)  # or pages of notebooks that are gone would stay
    command = [Path(sys.executable).with_name("jupyter-book"), "build", BOOK, "--quiet"]
    subprocess.run([*command, "--path-output", DOCS], check=True)
    html, mathjax = DOCS/"_build"/"html", Path(str(files("mathjax")))/"static"/"mathjax"/"es5"
    for part in MATHJAX: copy_to(mathjax/part, html/"_static"/"mathjax"/part)
    print(f"The book: {html.relative_to(ROOT)}/index.html")
