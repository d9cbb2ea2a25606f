"What readers follow leads somewhere: links, names in prose, API tables, Colab cells, `make lab`."
import ast
import builtins
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, all_notebooks, notebook_id

sys.path.insert(0, str(ROOT/"docs"))
import api
import book
import generate

each_notebook = pytest.mark.parametrize("path", all_notebooks(), ids=notebook_id)
each_on_colab = pytest.mark.parametrize("path", generate.notebooks(ROOT), ids=notebook_id)


def cells(path: Path, kind: str) -> list:
    "The cells of a notebook of one kind, without the Colab cell."
    return [cell for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == kind and cell.get("id") != "colab"]


# ---- links ----

def markdown(path: Path) -> str:
    "All that a notebook shows as Markdown: its prose, and its outputs of that kind."
    outputs = [output for cell in cells(path, "code") for output in cell.outputs]
    return "\n".join([cell.source for cell in cells(path, "markdown")]
                     + [output.get("data", {}).get("text/markdown", "") for output in outputs])


def headings(path: Path) -> set[str]:
    "The anchors that JupyterLab gives to a notebook's headings."
    titles = re.findall(r"^#+ (.+)$", markdown(path), re.MULTILINE)
    return {title.replace(" ", "-") for title in titles}


@each_notebook
def test_links_of_notebooks_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", markdown(path))
    broken = []
    for target in filter(None, sum(targets, ())):
        if re.match(r"\w+:", target): continue
        name, _, anchor = target.partition("#")
        file = path.parent/name if name else path
        if not file.exists() or anchor and anchor not in headings(file): broken.append(target)
    assert not broken, f"{notebook_id(path)} links to {', '.join(broken)}"


# ---- names in prose ----

THEIRS = {  # names in prose that no code here uses, and whose they are
    "AsyncVectorEnv": "gymnasium", "MemoryS13": "MiniGrid", "MemoryS13Random": "MiniGrid",
    "REF_MIN_SCORE": "D4RL", "REF_MAX_SCORE": "D4RL",
    "DistributedDataParallel": "torch", "ACCELERATE_MIXED_PRECISION": "accelerate",
    "ACCELERATE_DYNAMO_BACKEND": "accelerate", "mps": "torch",
    "gamma": "stable-baselines3", "grAb": "ZDoom"}
NAME_FIELDS = ("id", "attr", "arg", "name", "asname", "module")  # of nodes of a syntax tree


def names_in(tree: ast.AST) -> set[str]:
    "Every name that code defines or uses: variables, attributes, arguments, modules."
    values = [getattr(node, field, None) for node in ast.walk(tree) for field in NAME_FIELDS]
    return {part for value in values if isinstance(value, str) for part in value.split(".")}


def words_in(tree: ast.AST) -> set[str]:
    "The words of strings in code, among them keys, columns, and names of presets and tasks."
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text)}


def parsed(source: str) -> ast.AST:
    "The syntax tree of a cell, magics and shell commands left out."
    return ast.parse(re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def known() -> set[str]:
    "The names and words of all code cells, all modules and the repository's own settings."
    modules = sorted((ROOT/"rate_nb").rglob("*.py"))
    trees = [parsed(cell.source) for path in all_notebooks() for cell in cells(path, "code")]
    trees += [ast.parse(path.read_text(encoding="utf-8")) for path in modules]
    settings = (ROOT/"settings.ini").read_text(encoding="utf-8")
    return {*dir(builtins), *THEIRS, *(path.stem for path in modules),
            *re.findall(r"[A-Za-z]+", settings)}.union(*map(names_in, trees), *map(words_in, trees))


def unknown_names(prose: str, known: set[str]) -> list[str]:
    """Spans of code in prose with a name that no code has.

    Files, what is no Python, and names to be filled in, as `my_module`, are let be."""
    prose, found = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE), []
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose):
        if "/" in span or (ROOT/span).exists(): continue
        try: tree = ast.parse(span.replace("…", "..."))
        except SyntaxError: continue
        unknown = {name for name in names_in(tree) - known if not name.lower().startswith("my")}
        if unknown: found.append(span)
    return found


@each_notebook
def test_names_in_prose_exist(path, known):
    prose = "\n\n".join(cell.source for cell in cells(path, "markdown"))
    unknown = unknown_names(prose, known)
    assert not unknown, f"no code has {', '.join(unknown)}; names of others belong into THEIRS"


def test_unknown_names_are_found():
    prose = (
        "`old_name`, `Agent.old`, `f(old=…)`, `Agent.act`, `make test`, `setup.py`, `a/b`, "
        "`my_b:B`\n```\n`old`\n```\n"
    )
    assert unknown_names(prose, {"Agent", "act", "f", "B"}) == ["old_name", "Agent.old", "f(old=…)"]


@each_notebook
def test_commands_in_prose_exist(path):
    prose = "\n".join(cell.source for cell in cells(path, "markdown"))
    makefile = (ROOT/"Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    commands = re.findall(r"(?:`|^)make ([a-z][\w-]*)", prose, re.MULTILINE)
    assert set(commands) <= targets, f"make has no {set(commands) - targets}"
    named = re.findall(r"\bnbs/[\w/.]+\.ipynb", prose)
    missing = [name for name in named if not (ROOT/name).exists()]
    assert not missing, f"there is no {', '.join(missing)}"


# ---- the book ----

def prose_of(notebook) -> str:
    "All Markdown cells of a notebook."
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_contents_name_every_notebook():
    parts = book.contents()["parts"]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    wanted = [notebook_id(path) for path in generate.notebooks(ROOT)]
    assert sorted(files) == sorted([*wanted, *book.HELP])


@each_notebook
def test_pages_keep_all_headings(path):
    titles = re.compile(r"^#+ .+$", re.MULTILINE)
    wanted = titles.findall(prose_of(nbformat.read(path, as_version=4)))
    assert set(wanted) <= set(titles.findall(prose_of(book.page(path))))


@each_on_colab
def test_public_names_are_in_the_book(path):
    "A table for each function and class, and one for each of a class's own methods."
    exported = [cell.source for cell in cells(path, "code")
                if cell.source.startswith("#| export")]
    wanted = {name for source in exported for name in api.public_names(source)}
    titles = set(re.findall(r"^####? ([\w.]+)$", prose_of(book.page(path)), re.MULTILINE))
    assert wanted <= titles, f"not in the book: {', '.join(sorted(wanted - titles))}"


def test_methods_are_in_the_book():
    titles = re.findall(r"^#### (.+)$", prose_of(book.page(ROOT/"nbs/course/09_acting.ipynb")),
                        re.MULTILINE)
    assert {"Agent.act", "Agent.reset"} <= set(titles)
    assert "| [`Agent.act`](#method-rate_nb.acting-Agent-act) |" in book.api().index()


def test_public_names_of_a_cell():
    source = """
class Box: pass
def pack(box: Box): pass
def _hidden(self: Box): pass
@dispatch
def table(kind: Box): pass
colour = 1"""
    assert api.public_names(source) == ["Box", "pack", "table"]


def test_names_in_prose_become_links():
    text = ("## `make_task`\n\nSee `make_task` and `play`.\n\n```\n`make_task`\n```\n\n"
            "[`make_task`](a)")
    link = "[`make_task`](#function-rate_nb.engine.tasks-make_task)"
    assert book.api().linked(text) == text.replace("See `make_task`", f"See {link}")


def test_links_in_the_book_and_out_of_it():
    lesson, text = ROOT/"nbs"/"course"/"06_memory.ipynb", "[a]({}) "
    links = ["../index.ipynb#The-Map", "#The-End", "https://a.org/B", "../../README.md#A",
             "../../results/a.png"]
    web = generate.read_settings(ROOT)["git_url"] + "/blob/main/README.md#A"
    assert book.book_links("".join(map(text.format, links)), lesson) == "".join(map(text.format, [
        "../index.ipynb#the-map", "#the-end", "https://a.org/B", web, "../results/a.png"]))


def test_pictures_have_words():
    cells = [nbformat.v4.new_markdown_cell("## How *long*\n\nA [valve](x.ipynb) keeps. It is old."),
             nbformat.v4.new_code_cell("draw()")]
    assert book.alternative(cells, 1) == "Figure: How long. A valve keeps."


# ---- Colab ----

@each_on_colab
def test_colab_installs_the_extras_that_the_notebook_names(path):
    "A notebook that tells the reader to install `rate_nb[x]` needs x."
    text = "\n".join(cell.source for kind in ("code", "markdown") for cell in cells(path, kind))
    named = set(re.findall(r"(?:rate_nb|\.)\[([a-z-]+)\]", text))
    installed = generate.colab_cell(path, ROOT).split(" @ ")[0].split('"rate_nb')[-1]
    lacking = named - set(installed.strip("[]").split(","))
    assert not lacking, f"its Colab cell installs rate_nb{installed}, without {', '.join(lacking)}"


@pytest.mark.parametrize("name, code, extras", [
    ("repro_vizdoom", "", ["vizdoom"]), ("envs/memory_maze/task", "import mujoco", ["memory_maze"]),
    ("speed", "import torch", []), ("arrays", "", []),
    ("ppo", "  from stable_baselines3 import PPO", ["mujoco"]),
    ("both", "import vizdoom\nimport minigrid.core", ["minigrid", "vizdoom"])])
def test_extras_follow_from_name_and_imports(name, code, extras, tmp_path):
    (tmp_path/"settings.ini").write_text((ROOT/"settings.ini").read_text())
    path = (tmp_path/"nbs"/name).with_suffix(".ipynb")
    path.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    assert generate.extras_of(path, tmp_path) == extras


def test_colab_cells_bring_system_libraries():
    cell = generate.colab_cell(ROOT/"nbs"/"repro_memory_maze.ipynb", ROOT)
    assert cell.endswith("apt-get install -qq libegl1 libgl1 > /dev/null")


# ---- JupyterLab ----

@each_notebook
def test_lab_saves_an_opened_notebook_as_it_was(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    settings = runpy.run_path(ROOT/"docs"/"lab"/"jupyter_server_config.py")
    settings["as_committed"]({"type": "notebook", "content": notebook}, path="")
    nbformat.write(notebook, tmp_path/"saved.ipynb")
    assert (tmp_path/"saved.ipynb").read_bytes() == path.read_bytes()


def test_lab_shows_pictures_takes_a_port_and_runs_as_root():
    command = ["make", "-n", "lab", "PORT=8899"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines() # make may say where it works
    (started,) = [line for line in lines if "root_dir=" in line]
    served = Path(re.search(r"root_dir='(.+?)'", started).group(1))
    assert (ROOT/"results").is_relative_to(served), f"{served} is served, and results/ is not in it"
    assert "--port=8899" in started
    assert ("--allow-root" in started) == (os.getuid() == 0)
