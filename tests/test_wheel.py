"""A wheel of the repository, installed in a fresh environment: all is there without the checkout.

The environment sees the packages that are installed already, so nothing is downloaded."""
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, copy_repository

pytestmark = pytest.mark.slow
PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
OFFLINE = ["--no-deps", "--no-index"]


def call(*words, **options) -> str:
    "Run a command without the checkout on its path; what it printed."
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, words)), env=clean, capture_output=True, text=True,
                          timeout=600, **options)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    "Of a source tree, by what is installed already."
    call(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_repository(folder/"source"), folder/"dist")


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


def python(bin: Path, folder: Path, code: str) -> str:
    return call(bin/"python", "-c", code, cwd=folder)


# ---- what it holds ----

def files_of(package: Path) -> set[str]:
    return {path.relative_to(package.parent).as_posix() for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files_of(ROOT/"rate_nb")


def test_source_distribution_makes_the_same_wheel(wheel, tmp_path):
    source = copy_repository(tmp_path/"source")
    call(sys.executable, "setup.py", "-q", "sdist", cwd=source)
    (packed,) = (source/"dist").glob("*.tar.gz")
    shutil.unpack_archive(packed, tmp_path/"unpacked")
    (unpacked,) = (tmp_path/"unpacked").iterdir()
    again = build_wheel(unpacked, tmp_path/"dist")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


# ---- what it does ----

def test_import_is_instant_and_from_there(bin, tmp_path):
    code = ("import sys, time; start = time.perf_counter(); import rate_nb; "
            "print(time.perf_counter() - start, 'torch' in sys.modules, rate_nb.__file__)\n"
            "print(*sys.path, sep='\\n')")
    first, *searched = python(bin, tmp_path, code).splitlines()
    seconds, torch, file = first.split(maxsplit=2)
    assert float(seconds) < 0.5 and torch == "False"
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


def test_a_study_runs_in_the_current_folder(bin, tmp_path):
    "T-Maze at preset smoke: four iterations, then played; results stand where it was called."
    code = ("from rate_nb import find_study\n"
            "study = find_study('tmaze')\n"
            "frame = study.run('figure 5', 'smoke', models='RATE').frame('figure 5')\n"
            "print(*frame.episodes, *frame.limit)")
    assert python(bin, tmp_path, code).split() == ["10", "10", "9", "30"]
    (row,) = (tmp_path/"results"/"tmaze"/"smoke").glob("rate-s0-*.json")
    assert list((tmp_path/"runs").rglob("model.safetensors"))
    assert list((tmp_path/"data").rglob("manifest.json"))
