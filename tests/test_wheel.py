"""A wheel of the repository, installed in a fresh environment: all is there without the checkout.

The environment sees the packages that are installed already, so nothing is downloaded; an
environment of another Python that is here downloads its own."""
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import OFFLINE, PIP, ROOT, call, copy_repository

sys.path.insert(0, str(ROOT/"docs"))
import generate

pytestmark = pytest.mark.slow
ROWS = "rate_nb/data/results.zip"


@pytest.fixture(scope="module")
def bin(wheel, tmp_path_factory) -> Path:
    "The programs of an environment in which the wheel is installed."
    folder = tmp_path_factory.mktemp("fresh")/"env"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # searched last; .pth files there, such as one that leads to the checkout, do not count
    (site/"installed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    call(*PIP, "--python", folder/"bin"/"python", "install", *OFFLINE, wheel)
    return folder/"bin"


@pytest.fixture(scope="module", params=generate.read_settings(ROOT)["tried_pythons"].split())
def tried(request, wheel, tmp_path_factory) -> Path:
    "The same for each Python that settings.ini names: the wheel, with the pinned requirements."
    if sys.version.startswith(f"{request.param}."): return request.getfixturevalue("bin")
    other = shutil.which(name := f"python{request.param}")
    if not other or subprocess.run([other, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"{name} is not installed here, or cannot be started by that name")
    folder = tmp_path_factory.mktemp(name)/"env"
    call(other, "-m", "venv", folder)
    call(folder/"bin"/"python", "-m", "pip", "-q", "install", "-c", ROOT/"constraints.txt", wheel,
         timeout=3600)
    return folder/"bin"


def python(bin: Path, folder: Path, code: str) -> str:
    return call(bin/"python", "-c", code, cwd=folder)


# ---- what it holds ----

def files_of(package: Path) -> set[str]:
    return {path.relative_to(package.parent).as_posix() for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files_of(ROOT/"rate_nb") | {ROWS}


def test_holds_the_committed_rows(wheel):
    "Each file of results/ that a figure is drawn from, and the videos, in ten megabytes."
    packed = zipfile.ZipFile(wheel).read(ROWS)
    assert len(packed) < 10e6
    rows = zipfile.ZipFile(io.BytesIO(packed))
    kept = {path.relative_to(ROOT/"results").as_posix(): path
            for ending in ("json", "gif") for path in (ROOT/"results").rglob(f"*.{ending}")
            if "smoke" not in path.parts}
    assert set(rows.namelist()) == kept.keys() and len(kept) > 200
    assert all(rows.read(name) == path.read_bytes() for name, path in kept.items())


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    "A folder with what `python -m build` makes: a source distribution, and a wheel from it."
    folder = tmp_path_factory.mktemp("built")
    source = copy_repository(folder/"source")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder/"dist", source)
    return folder/"dist"


def test_source_distribution_makes_the_same_wheel(wheel, built):
    (again,) = built.glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())
    assert zipfile.ZipFile(again).read(ROWS) == zipfile.ZipFile(wheel).read(ROWS)


def test_an_index_takes_both(built):
    "Metadata are complete, and the description is rendered."
    pytest.importorskip("twine", reason="twine is not installed: `make test-slow` brings it")
    told = call(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())
    assert told.count("PASSED") == 2


# ---- what it does ----

def test_import_loads_nothing_else_and_from_there(bin, tmp_path):
    "Nothing but a few modules of Python itself: no torch, no numpy, so it takes no time."
    code = ("import sys; before = set(sys.modules); import rate_nb; print(rate_nb.__file__)\n"
            "print(*set(sys.modules) - before, '|', *sys.path, sep='\\n')")
    file, *lines = python(bin, tmp_path, code).splitlines()
    loaded, searched = lines[:lines.index("|")], lines[lines.index("|") + 1:]
    assert {name.partition(".")[0] for name in loaded} - {"rate_nb"} <= set(sys.stdlib_module_names)
    assert Path(file).is_relative_to(bin.parent)
    assert str(ROOT) not in searched


def test_every_module_and_name_loads(bin, tmp_path):
    code = ("import importlib, pkgutil, sys, rate_nb\n"
            "found = pkgutil.walk_packages(rate_nb.__path__, 'rate_nb.')\n"
            "for module in found: importlib.import_module(module.name)\n"
            "for name in rate_nb.__all__: getattr(rate_nb, name)\n"
            "print(*(sys.modules[name].__file__ for name in sys.modules if name.partition('.')[0]"
            " == 'rate_nb'), sep='\\n')")
    files = [Path(line) for line in python(bin, tmp_path, code).splitlines()]
    site = files[0].parents[1]
    loaded = {file.relative_to(site).as_posix() for file in files}
    assert site.is_relative_to(bin.parent)
    assert loaded == {name for name in files_of(ROOT/"rate_nb") if name.endswith(".py")}


def test_published_tables_are_there(bin, tmp_path):
    code = ("from rate_nb.paper import TABLES, load_table\n"
            "print(*(f'{name} {len(load_table(name))}' for name in TABLES), sep='\\n')")
    told = dict(line.split() for line in python(bin, tmp_path, code).splitlines())
    tables = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) - 1
              for path in (ROOT/"rate_nb"/"data"/"paper").glob("*.csv")}
    assert told == {name: str(lines) for name, lines in tables.items()}


def test_command_line(bin, tmp_path):
    listed = call(bin/"rate-nb", "tasks", cwd=tmp_path)
    assert all(name in listed for name in ("tmaze", "vizdoom", "atari", "mujoco"))
    assert "\nrate " in call(bin/"rate-nb", "models", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_study_runs_in_the_current_folder(tried, tmp_path):
    "T-Maze at preset smoke: four iterations, then played; results stand where it was called."
    code = ("from rate_nb import find_study\n"
            "study = find_study('tmaze')\n"
            "frame = study.run('figure 5', 'smoke', models='RATE').frame('figure 5')\n"
            "print(*frame.episodes, *frame.limit)")
    assert python(tried, tmp_path, code).split() == ["10", "10", "9", "30"]
    (row,) = (tmp_path/"results"/"tmaze"/"smoke").glob("rate-s0-*.json")
    assert list((tmp_path/"runs").rglob("model.safetensors"))
    assert list((tmp_path/"data").rglob("manifest.json"))


# ---- rows that came with it ----

STUDIES = sorted(path.stem.removeprefix("repro_") for path in (ROOT/"nbs").glob("repro_*.ipynb"))


@pytest.fixture(scope="module", params=STUDIES)
def redrawn(request, bin, tmp_path_factory) -> tuple[str, Path]:
    "A study, and a folder in which its notebook was executed, at laptop, as Colab would."
    name, before = request.param, installed(bin)
    folder = tmp_path_factory.mktemp(name)
    notebook = shutil.copy(ROOT/"nbs"/f"repro_{name}.ipynb", folder/"in.ipynb")
    code = ("import sys\nfrom papermill import execute_notebook\n"
            "execute_notebook(sys.argv[1], 'out.ipynb', kernel_name='python3', "
            "progress_bar=False)")
    # kernels of this name are started by the environment's own Python
    call(bin/"python", "-c", "from ipykernel.kernelspec import install; install(prefix="
         f"{str(bin.parent)!r})", cwd=folder)
    call(bin/"python", "-c", code, notebook, cwd=folder)
    assert installed(bin) == before, "something was written among the installed files"
    return name, folder


def installed(bin: Path) -> dict[str, int]:
    "All installed files of the library, and when they were changed; without Python's caches."
    (package,) = bin.parent.glob("lib/python*/site-packages/rate_nb")
    return {path.as_posix(): path.stat().st_mtime_ns for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_a_notebook_redraws_from_the_wheel(redrawn):
    "All seeds and experiments: the committed figures' names, and nothing is trained or collected."
    name, folder = redrawn
    def names(root): return {path.name for path in (root/"results"/name/"figures").iterdir()}
    assert names(folder) >= names(ROOT)
    assert not (folder/"runs").exists() and not (folder/"data").exists()
    assert not list(folder.rglob("*.json")), "rows are read where they are"


def test_verdicts_are_those_of_the_committed_rows(redrawn):
    name, folder = redrawn
    def verdicts(path):
        text = path.read_text(encoding="utf-8")
        return re.findall(r"✔ reproduced|✘ not reproduced|\? undecided|○ not tested", text)
    told = verdicts(folder/"out.ipynb")
    assert told and told == verdicts(ROOT/"nbs"/f"repro_{name}.ipynb")


def test_command_line_redraws_from_the_wheel(bin, tmp_path):
    told = call(bin/"rate-nb", "repro", "tmaze", cwd=tmp_path)
    assert "runs are in the results store already" in told and "✔" not in told
    assert not list(tmp_path.iterdir())


def fails(bin: Path, folder: Path, *words) -> str:
    "What rate-nb says on its error output, when it refuses."
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([bin/"rate-nb", *words], cwd=folder, env=clean, capture_output=True,
                          text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "") and not list(folder.iterdir())
    return done.stderr


@pytest.mark.parametrize("words, told", [
    (["--preset", "paper"], "How long that takes is not known"),
    (["--seeds", "7"], "That takes about")])
def test_nothing_is_trained_unasked(bin, tmp_path, words, told):
    "Rows that did not come with it: the cost, and what to give."
    said = fails(bin, tmp_path, "repro", "tmaze", *words)
    assert said.count("\n") == 1 and told in said and "--folder mine" in said


def test_the_notebook_asks_first(bin, tmp_path):
    "Atari at another preset: its notes would be made from data that take hours to collect."
    code = ("from rate_nb.engine.recipes import Paths, unencoded\n"
            "from rate_nb.engine.results import noted_data\n"
            "from rate_nb.envs.atari.study import STUDY\n"
            "recipe = unencoded(STUDY.recipe('BC', 'paper', game='pong'))\n"
            "try: noted_data(recipe, 'pong', Paths.under())\n"
            "except ValueError as error: print(error)")
    assert "did not come with the package" in python(bin, tmp_path, code)
    assert not list(tmp_path.iterdir())


def test_a_named_folder_holds_what_it_holds(bin, tmp_path):
    "Rows of a folder elsewhere are found there, and those of the package are not mixed in."
    rows = tmp_path/"elsewhere"/"results"/"tmaze"/"laptop"
    rows.mkdir(parents=True)
    for path in (ROOT/"results"/"tmaze"/"laptop").glob("dt-s[01]-*.json"): shutil.copy(path, rows)
    code = ("from rate_nb import Paths, find_study\n"
            "for folder in (None, 'elsewhere', 'new'):\n"
            "    asked = 'figure 5', 'laptop', [0, 1, 2], 'DT', Paths.under(folder)\n"
            "    print(find_study('tmaze').unanswered(*asked)[1])")
    assert python(bin, tmp_path, code).split() == ["0", "1", "3"]


def test_packed_models_play_from_the_wheel(bin, tmp_path):
    told = call(bin/"rate-nb", "verify", cwd=tmp_path)
    played = re.findall(r"(\d+) answers of packed models, played again: (equal|within)", told)
    assert sum(int(number) for number, _ in played) == 76 and "nothing is wrong" in told
    assert not list(tmp_path.iterdir())
