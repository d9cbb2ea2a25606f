"""What is committed fits together: modules, notebooks, README and Colab cells; nothing is stale,
dirty, broken or too large."""

import json
import re
import statistics
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import generate
import nbformat
import pytest
from conftest import ROOT, all_notebooks, notebook_id
from packaging.specifiers import SpecifierSet
from rate_nb.analysis import overview
from rate_nb.engine.recipes import Paths
from rate_nb.engine.study import find_study, study_names
from rate_nb.envs.mujoco import study as mujoco

SIMULATORS = ("vizdoom", "minigrid", "mujoco", "dm_control", "ale_py", "memory_maze", "popgym")
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|Users|tmp|work|var|usr|opt|mnt)/|[A-Z]:\\\\")
each_notebook = pytest.mark.parametrize("path", all_notebooks(), ids=notebook_id)
each_component = pytest.mark.parametrize(
    "path",
    [
        path
        for path in all_notebooks()
        if path.stem != "index" and not path.stem.startswith("repro_")
    ],
    ids=notebook_id,
)
each_repro = pytest.mark.parametrize(
    "path", sorted((ROOT / "nbs").glob("repro_*.ipynb")), ids=notebook_id
)


def command(name: str, folder: Path) -> None:
    "Runs a command of this environment in a folder."
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name))], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def outputs(path: Path) -> list:
    return [
        output
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    ]


def tracked() -> list[Path]:
    "The files that git tracks; without git, there is nothing to say."
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode: pytest.skip("not a git repository")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT/name).is_file()]


# ---- what is made from something else is up to date ----

@pytest.mark.parametrize("name", study_names(elsewhere=True))
def test_results_answer_what_laptop_asks(name):
    "A new key of a recipe or a measurement would have readers run again what is measured."
    study, paths, kept = find_study(name), Paths.under(ROOT), set(tracked())
    wanted = {}
    for experiment in study.experiments:
        for recipe, asked in study.plan(experiment, "laptop"):
            wanted.setdefault(paths.row(recipe), set()).update(one.key for one in asked)
    lost = [path.name for path in wanted if path not in kept]
    assert not lost, "not in git: run the study at laptop, or give the recipes their old keys back"
    unanswered = [path.name for path, keys in wanted.items()
                  if not keys <= json.loads(path.read_text())["measurements"].keys()]
    assert not unanswered, "rows lack measurements that the plans ask for"
    folders = {path.parent for path in wanted}
    stale = {path for path in kept if path.suffix == ".json" and path.parent in folders}
    planned = {paths.row(recipe) for name in study.planned for recipe, _ in study.plan(name)}
    assert not stale - wanted.keys() - planned, "rows that no plan asks for"


def test_notes_on_data_are_kept():
    "Without them a notebook would make the data again to tell about it."
    notes = {path for path in tracked() if path.parent.name == "data"}
    chosen, folder = mujoco.STUDY.preset("laptop"), ROOT/"results"
    pairs = ["-".join(pair.values()) for pair in mujoco.sets(chosen, robots="before")]
    games = find_study("atari").preset("laptop").extra["games"]
    assert {folder/"atari"/"laptop"/"data"/f"{game}.json" for game in games} <= notes
    assert {folder/"mujoco"/"laptop"/"data"/f"{pair}.json" for pair in pairs} <= notes


def test_modules_are_exported_from_notebooks(copy):
    command("nbdev_export", copy)

    by_hand = Path("rate_nb/__init__.py")

    def modules(root):
        found = [path.relative_to(root) for path in (root / "rate_nb").rglob("*.py")]
        return {path: (root / path).read_bytes() for path in found if path != by_hand}

    made, kept = modules(copy), modules(ROOT)
    stale = sorted(
        str(path) for path in made.keys() | kept.keys() if made.get(path) != kept.get(path)
    )
    assert not stale, f"{', '.join(stale)} differ from the notebooks: run `make notebooks`"


def test_notebooks_are_clean(copy):
    command("nbdev_clean", copy)
    dirty = [
        notebook_id(path)
        for path in all_notebooks()
        if path.read_bytes() != (copy / path.relative_to(ROOT)).read_bytes()
    ]
    assert not dirty, f"{', '.join(dirty)}: run `make notebooks`"


def test_readme_is_made_from_index():
    assert (ROOT / "README.md").read_text(encoding="utf-8") == generate.readme(ROOT), (
        "README.md is stale: run `make readme`"
    )


def shown_by_index() -> str:
    "All Markdown that the index notebook's cells give out."
    cells = nbformat.read(ROOT/"nbs"/"index.ipynb", as_version=4).cells
    shown = [output["data"].get("text/markdown", "") for cell in cells
             for output in cell.get("outputs", []) if "data" in output]
    return "\n".join(shown)


def test_readme_says_what_the_rows_say():
    "Whoever adds rows has the index executed; `make readme` does it."
    pages = overview.read_all()
    said, readme = shown_by_index(), (ROOT/"README.md").read_text(encoding="utf-8")
    stale = [point for point in overview.say_held(pages).splitlines() if point not in said]
    assert not stale, "the index says something else: run `make readme`"
    for page in pages.values():
        line = f"| [{page.title}](nbs/{page.notebook}) | {page.runs or '–'} | {page.cost} |"
        assert line in readme, "README.md says something else: run `make readme`"


def test_readme_is_short():
    assert len((ROOT/"README.md").read_bytes()) <= 12_000


def test_readme_lists_lessons_and_studies():
    text = (ROOT/"README.md").read_text(encoding="utf-8")
    for path in [*(ROOT/"nbs"/"course").glob("*.ipynb"), *(ROOT/"nbs").glob("repro_*.ipynb")]:
        assert f"]({path.relative_to(ROOT).as_posix()})" in text, f"{path.name} is not in README.md"


def test_index_maps_every_notebook():
    settings, text = generate.read_settings(ROOT), shown_by_index()
    for path in generate.notebooks(ROOT):
        name, short = (path.relative_to(folder).as_posix() for folder in (ROOT, ROOT/"nbs"))
        title = nbformat.read(path, as_version=4).cells[0].source.split("\n")[0].lstrip("# ")
        assert f"[{title}]({short})" in text, f"{name} is not on the map: run `make readme`"
        place = f"{settings['user']}/{settings['repo']}/blob/{settings['branch']}/{name}"
        assert f"/github/{place})" in text, f"no Colab link to {name}: run `make readme`"


def test_links_of_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT/"README.md").read_text(encoding="utf-8"))
    broken = [
        target
        for target in targets
        if not re.match(r"\w+:|#", target) and not (ROOT / target).exists()
    ]
    assert not broken, f"README.md links to {', '.join(broken)}"


def test_nothing_is_left_to_do():
    assert "TODO" not in (ROOT/"README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", generate.notebooks(ROOT), ids=notebook_id)
def test_colab_cell_is_made_from_settings(path, copy):
    target = copy/path.relative_to(ROOT)
    generate.write_colab_cell(target, generate.colab_cell(path, ROOT))
    assert target.read_bytes() == path.read_bytes(), f"{notebook_id(path)}: run `make notebooks`"


# ---- notebooks a stranger can read ----

@each_notebook
def test_outputs_are_presentable(path):
    for output in outputs(path):
        assert output.output_type != "error", output.get("evalue")
        assert output.get("name") != "stderr", output.get("text", "")[:300]
        shown = [data for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
        texts = json.dumps([output.get("text", ""), shown])
        assert "Warning:" not in texts, texts[:300]
        assert not MACHINE_PATH.search(texts), MACHINE_PATH.search(texts)


@each_notebook
def test_title_and_description(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert re.fullmatch(r"# [^\n]+\n\n> [^\n]+", first.source), (
        "the first cell is to be '# Title', an empty line, '> what it is about'"
    )


@each_component
def test_small_cells_and_enough_prose(path):
    "How large a single cell may be is among the limits of test_house.py."
    cells = nbformat.read(path, as_version=4).cells
    lengths = [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
    assert statistics.median(lengths) < 10
    assert sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown") >= 250


@each_repro
def test_repro_notebook_is_complete(path):
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.cell_type for cell in tagged] == ["code"]
    assert [output for output in outputs(path) if "image/png" in output.get("data", {})], (
        "no figure is committed with it"
    )


# ---- the package ----

def test_importing_loads_no_simulator():
    code = f"""
import importlib, pkgutil, sys
import rate_nb
assert "torch" not in sys.modules, "import rate_nb alone is to load nothing"
for module in pkgutil.walk_packages(rate_nb.__path__, "rate_nb."):
    importlib.import_module(module.name)
print(*[name for name in {SIMULATORS} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), f"loaded on import: {done.stdout}"


def test_versions_take_the_oldest_python():
    "Debian 12 has Python 3.11.2, on which pip once searched for ever for a pin of 3.11.5."
    wanted = {found.name: found.metadata["Requires-Python"] or "" for found in distributions()}
    oldest = generate.read_settings(ROOT)["min_python"] + ".0"
    assert not {name: want for name, want in wanted.items() if oldest not in SpecifierSet(want)}


def test_constraints_pin_every_requirement():
    settings = generate.read_settings(ROOT)

    def plain(requirement):
        return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")

    pins = {
        plain(line)
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    }
    wanted = {
        plain(word)
        for key, value in settings.items()
        if key == "requirements" or key.startswith("extra_")
        for word in value.split()
    }
    assert wanted <= pins, f"no version in constraints.txt: {', '.join(sorted(wanted - pins))}"


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    "A folder with what the package says of itself."
    folder = tmp_path_factory.mktemp("told")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (told,) = folder.iterdir()
    return told


def test_all_has_every_extra_but_the_cross_check(told):
    "The other program brings much that nobody needs who does not compare with it."
    sections = (told/"requires.txt").read_text().split("\n\n")[1:]
    groups = {name.strip("[]"): set(packages) for name, *packages in map(str.split, sections)}
    assert groups.pop("crosscheck") == {"d3rlpy"}
    assert groups.pop("all") == set().union(*groups.values())


def test_the_package_says_where_it_comes_from(told):
    "Python versions, addresses, and types; what its page shows is found from anywhere."
    settings = generate.read_settings(ROOT)
    address = settings["git_url"]
    said, description = (told/"PKG-INFO").read_text(encoding="utf-8").split("\n\n", 1)
    pythons = re.findall(r"Classifier: Programming Language :: Python :: (3\.\d+)", said)
    assert pythons == settings["tried_pythons"].split()
    assert "Typing :: Typed" in said and (ROOT/"rate_nb"/"py.typed").exists()
    pages = re.findall(rf"Project-URL: \w+, {address}/blob/{settings['branch']}/(\S+)", said)
    assert len(pages) == 2 and all((ROOT/page).exists() for page in pages)
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", description)
    assert all(link.startswith(("https://", "#")) for _, link in links)
    ours = [(mark, link.removeprefix(address)) for mark, link in links if link.startswith(address)]
    assert len(ours) > 20
    for mark, link in ours:
        kind = "raw" if mark else "blob"
        assert (ROOT/link.removeprefix(f"/{kind}/{settings['branch']}/")).exists(), link


def test_repository_is_small():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert not {name: size for name, size in sizes.items() if size > 5e6}
    assert sum(sizes.values()) < 60e6
