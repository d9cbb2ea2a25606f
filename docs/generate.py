"""Writes what follows from other files: the Colab cell of every notebook (from settings.ini), and README.md (from nbs/index.ipynb).

The public address of the repository stands in settings.ini alone; after a change there, run this script (`make readme`)."""
import os
import re
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

COLAB_CELL = """#| hide
import sys
if "google.colab" in sys.modules:  # on Colab the library has to be installed first
    %pip install -q "{name} @ git+{git_url}@{branch}\""""


def read_settings(root: Path) -> dict:
    "The settings of the project, with references such as %(user)s filled in."
    parser = ConfigParser(delimiters=["="])
    parser.read(root/"settings.ini", encoding="utf-8")
    return dict(parser["DEFAULT"])


def notebooks(root: Path) -> list[Path]:
    "All notebooks of the course, without the index."
    return [path for path in sorted((root/"nbs").rglob("*.ipynb"))
            if path.name != "index.ipynb" and not any(part[0] in "._" for part in path.relative_to(root).parts)]


def write_colab_cell(path: Path, source: str) -> None:
    "Makes the second cell of a notebook the one that installs the library on Colab; leaves a notebook alone that has it."
    notebook = nbformat.read(path, as_version=4)
    if notebook.cells[1].source == source: return
    cells = [cell for cell in notebook.cells if cell.id != "colab"]
    colab = nbformat.v4.new_code_cell(source, id="colab")
    notebook.cells = [cells[0], colab, *cells[1:]]
    nbformat.write(notebook, path)


def execute(path: Path) -> None:
    "Runs a notebook in its folder, and keeps nothing but sources, tags and outputs."
    notebook = nbformat.read(path, as_version=4)
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm's, where ipywidgets is not installed
    NotebookClient(notebook, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": path.parent}}).execute()
    notebook.metadata = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code": cell.execution_count = None
        for output in cell.get("outputs", []):
            if output.output_type == "execute_result": output.execution_count = None
    nbformat.write(notebook, path)


def readme(root: Path) -> str:
    "The index notebook as Markdown, with links that start at the repository's root."
    config = Config({"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"remove-input"}}})
    notebook = nbformat.read(root/"nbs"/"index.ipynb", as_version=4)
    notebook.metadata.language_info = {"name": "python"}
    text, _ = MarkdownExporter(config=config).from_notebook_node(notebook)

    def from_root(link):
        target = link.group(2)
        return link.group(0) if re.match(r"\w+:|#", target) else f"{link.group(1)}{os.path.normpath(os.path.join('nbs', target))})"
    text = re.sub(r"(\]\()([^)\s]+)\)", from_root, text)
    return "<!-- made from nbs/index.ipynb by `make readme`: change that notebook -->\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    settings = read_settings(here)
    source = COLAB_CELL.format(name=settings["lib_name"], git_url=settings["git_url"], branch=settings["branch"])
    for path in notebooks(here): write_colab_cell(path, source)
    execute(here/"nbs"/"index.ipynb")
    (here/"README.md").write_text(readme(here), encoding="utf-8")
