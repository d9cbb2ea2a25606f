"""Builds the course as a book of web pages in _docs: `make docs`. Nothing is executed; the committed outputs are shown.

Below each exported cell stands nbdev's documentation of the public names in it."""
import ast
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import nbformat
import yaml
from generate import notebooks, read_settings
from nbdev.showdoc import show_doc

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT/"_proc"


def documentation(source: str, module) -> str:
    "API tables of the public functions and classes that an exported cell defines."
    names = [node.name for node in ast.parse(source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"]
    tables = [show_doc(getattr(module, name), title_level=3)._repr_markdown_() for name in names if getattr(module, name, None) is not None]
    return re.sub(r"\{target=[^}]*\}|\A-+\n+", "", "\n\n".join(tables))


def page(path: Path) -> nbformat.NotebookNode:
    "A notebook as the book shows it: no directives, no hidden cells, documentation below exported cells."
    notebook, module, cells = nbformat.read(path, as_version=4), None, []
    for cell in notebook.cells:
        if named := re.match(r"#\| default_exp (\S+)", cell.source): module = import_module(f"rate_nb.{named.group(1)}")
        if cell.source.startswith(("#| default_exp", "#| hide")): continue
        exported = cell.source.startswith("#| export")
        if cell.cell_type == "code": cell.source = re.sub(r"^#\| .*\n?", "", cell.source, flags=re.MULTILINE)
        cells.append(cell)
        if exported and (text := documentation(cell.source, module)): cells.append(nbformat.v4.new_markdown_cell(text))
    notebook.cells = cells
    return notebook


def contents() -> dict:
    "The table of contents: the map that the index notebook made."
    index = nbformat.read(ROOT/"nbs"/"index.ipynb", as_version=4)
    maps = [output["data"]["text/markdown"] for cell in index.cells for output in cell.get("outputs", []) if "text/markdown" in output.get("data", {})]
    parts = re.findall(r"\*\*(.+?)\*\*\n(.*?)(?=\n\*\*|\Z)", maps[0], re.DOTALL)
    return {"format": "jb-book", "root": "index",
            "parts": [{"caption": caption, "chapters": [{"file": file} for file in re.findall(r"\]\(([^):]+)\.ipynb\)", text)]} for caption, text in parts]}


SETTINGS = {"title": "rate_nb", "author": "", "logo": "", "execute": {"execute_notebooks": "off"}, "only_build_toc_files": True,
            "parse": {"myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"]}}

if __name__ == "__main__":
    shutil.rmtree(BOOK, ignore_errors=True)
    for path in [ROOT/"nbs"/"index.ipynb", *notebooks(ROOT)]:
        target = BOOK/path.relative_to(ROOT/"nbs")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page(path), target)
    index, address = BOOK/"index.ipynb", "{git_url}/blob/{branch}/".format(**read_settings(ROOT))
    text = index.read_text(encoding="utf-8").replace("](../results/", "](results/").replace("](../", f"]({address}")
    index.write_text(text, encoding="utf-8")
    for picture in (ROOT/"results").rglob("*.png"):
        target = BOOK/picture.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    (BOOK/"_toc.yml").write_text(yaml.safe_dump(contents(), sort_keys=False))
    (BOOK/"_config.yml").write_text(yaml.safe_dump(SETTINGS))
    subprocess.run([Path(sys.executable).with_name("jupyter-book"), "build", str(BOOK), "--path-output", str(ROOT/"_docs"), "--quiet"], check=True)
    print("The book: _docs/_build/html/index.html")
