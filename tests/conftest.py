"What the tests share: where the repository is, and copies of it to try things on."
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/"docs"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ["TQDM_DISABLE"] = "1"


def notebook_id(path: Path) -> str: return path.relative_to(ROOT/"nbs").with_suffix("").as_posix()


def all_notebooks() -> list[Path]:
    "Every notebook that a reader sees, the index included."
    return [
        path
        for path in sorted((ROOT / "nbs").rglob("*.ipynb"))
        if not any(part[0] in "._" for part in path.relative_to(ROOT).parts)
    ]


RUN_BY_PAPERMILL = [path for path in all_notebooks() if path.name.startswith("repro_")]


def check_loaded(path: Path, loaded: set[str]) -> None:
    "A notebook loads no simulator that its Colab cell would not install."
    import generate
    offered = generate.packages_of_extras(generate.read_settings(ROOT))
    brought = set().union(*(offered[extra] for extra in generate.extras_of(path, ROOT)))
    lacking = loaded & set().union(*offered.values()) - brought
    assert not lacking, f"its Colab cell installs no extra with {', '.join(sorted(lacking))}"


# what is no part of the repository, as `.gitignore` has it, and what is too large to copy
LEFT_OUT = ("data", "runs", "out", "build", "dist", "wandb", "_docs", "_proc")
CACHES = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".ruff_cache",
                                "*.egg-info", ".git", ".venv*")


def copy_repository(folder: Path, root: Path = ROOT) -> Path:
    "A copy of the repository in which all may be changed; without its history and its data."
    def ignored(where, names):
        return CACHES(where, names) | (set(LEFT_OUT) & set(names) if Path(where) == root else set())
    return shutil.copytree(root, folder, ignore=ignored)


PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
OFFLINE = ["--no-deps", "--no-index"]


def call(*words, timeout: int = 600, **options) -> str:
    "Run a command without the checkout on its path; what it printed."
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, words)), env=clean, capture_output=True, text=True,
                          timeout=timeout, **options)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    "A wheel of the repository, built by what is installed already."
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_repository(folder/"source")
    call(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", folder/"dist", source)
    (built,) = (folder/"dist").glob("*.whl")
    return built


@pytest.fixture
def copy(tmp_path) -> Path:
    "A copy of all that the frame's commands work on, modules left out, package data kept."
    for name in ("settings.ini", "setup.py"): shutil.copy(ROOT/name, tmp_path)
    for name in ("nbs", "docs"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", "_*"),
        )
    return tmp_path
