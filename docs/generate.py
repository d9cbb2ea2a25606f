"""Writes what follows from other files: the Colab cell of every notebook (from settings.ini and the
notebook's name and imports), and README.md (from nbs/index.ipynb).

The public address of the repository, the extras and the system libraries that an extra needs stand
in settings.ini alone; after a change there, run this script (`make readme`)."""
import os
import re
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
WORDS, LINES = 200, 40  # that are read in a minute: of prose, and of code
COLAB_CELL = """#| hide
import sys
if "google.colab" in sys.modules:  # on Colab the library has to be installed first
    %pip install -q "{requirement}\""""
COLAB_LIBRARIES = """
    !apt-get install -qq {libraries} > /dev/null"""


def read_settings(root: Path) -> dict:
    "The settings of the project, with references such as %(user)s filled in."
    parser = ConfigParser(delimiters=["="])
    parser.read(root/"settings.ini", encoding="utf-8")
    return dict(parser["DEFAULT"])


def notebooks(root: Path) -> list[Path]:
    "All notebooks of the course, without the index."
    return [
        path
        for path in sorted((root / "nbs").rglob("*.ipynb"))
        if path.name != "index.ipynb"
        and not any(part[0] in "._" for part in path.relative_to(root).parts)
    ]


def reading_minutes(path: Path) -> float:
    "How long a notebook takes to read."
    cells = nbformat.read(path, as_version=4).cells
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    lines = sum(len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code")
    return words/WORDS + lines/LINES


def packages(requirements: str) -> set[str]:
    "The names by which required packages are imported, where both are named alike."
    names = [re.match(r"[\w.-]+", requirement).group() for requirement in requirements.split()]
    return {name.lower().replace("-", "_") for name in names}


def packages_of_extras(settings: dict) -> dict[str, set[str]]:
    "Of every extra, the packages that it brings and the library alone does not."
    always = packages(settings["requirements"])
    return {key.removeprefix("extra_"): packages(value) - always
            for key, value in settings.items() if key.startswith("extra_")}


def extras_of(path: Path, root: Path) -> list[str]:
    "The extras that a notebook needs: by its name, by the tasks it makes, by what it imports."
    offered = packages_of_extras(read_settings(root))
    name = re.sub(r"\W", "_", str(path.relative_to(root/"nbs").with_suffix("")))
    needed = [extra for extra in offered if f"_{extra}_" in f"_{name}_"]
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                     if cell.cell_type == "code")
    tasks = re.findall(r"""(?:\btask=|make_task\(|kept_task\()["'](\w+)["'/]""", code)
    needed += [extra for extra in dict.fromkeys(tasks) if extra in offered and extra not in needed]
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE))
    for package in sorted(imported):
        offering = [extra for extra in offered if package in offered[extra]]
        if offering and not set(offering) & set(needed): needed.append(offering[0])
    return needed


def colab_cell(path: Path, root: Path) -> str:
    "The cell that installs on Colab what a notebook needs: the library, extras, system libraries."
    settings, extras = read_settings(root), extras_of(path, root)
    names = ",".join(extras).replace("_", "-")
    package = settings["lib_name"] + (f"[{names}]" if names else "")
    requirement = f"{package} @ git+{settings['git_url']}@{settings['branch']}"
    libraries = " ".join(settings[key] for extra in extras if (key := f"apt_{extra}") in settings)
    source = COLAB_CELL.format(requirement=requirement)
    return source + (COLAB_LIBRARIES.format(libraries=libraries) if libraries else "")


def write_colab_cell(path: Path, source: str) -> None:
    "Has the second cell of a notebook install the library on Colab; writes only if it changes."
    notebook = nbformat.read(path, as_version=4)
    if notebook.cells[1].source == source: return
    cells = [cell for cell in notebook.cells if cell.id != "colab"]
    colab = nbformat.v4.new_code_cell(source, id="colab")
    notebook.cells = [cells[0], colab, *cells[1:]]
    nbformat.write(notebook, path)


def write_colab_cells(root: Path) -> None:
    "The Colab cell of every notebook."
    for path in notebooks(root): write_colab_cell(path, colab_cell(path, root))


def execute(path: Path) -> None:
    "Runs a notebook in its folder, and keeps nothing but sources, tags and outputs."
    notebook = nbformat.read(path, as_version=4)
    # tqdm's, where ipywidgets is not installed
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    place = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, kernel_name="python3", coalesce_streams=True,
                   resources=place).execute()
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel}
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code": cell.execution_count = None
        for output in cell.get("outputs", []):
            if output.output_type == "execute_result": output.execution_count = None
    nbformat.write(notebook, path)


def readme(root: Path) -> str:
    "The index notebook's first part as Markdown, with links that start at the repository's root."
    hidden = {"enabled": True, "remove_input_tags": {"remove-input"},
              "remove_cell_tags": {"index-only"}}
    config = Config({"TagRemovePreprocessor": hidden})
    notebook = nbformat.read(root/"nbs"/"index.ipynb", as_version=4)
    notebook.metadata.language_info = {"name": "python"}
    text, _ = MarkdownExporter(config=config).from_notebook_node(notebook)

    def from_root(link):
        target = link.group(2)
        if re.match(r"\w+:|#", target): return link.group(0)
        return f"{link.group(1)}{os.path.normpath(os.path.join('nbs', target))})"

    text = re.sub(r"(\]\()([^)\s]+)\)", from_root, text)
    origin = "<!-- made from nbs/index.ipynb by `make readme`: change that notebook -->"
    return f"{origin}\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    write_colab_cells(ROOT)
    execute(ROOT/"nbs"/"index.ipynb")
    (ROOT/"README.md").write_text(readme(ROOT), encoding="utf-8")
