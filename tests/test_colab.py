"""Three lessons and two reproductions as on Colab: a fresh environment without our pins, an empty
folder, a notebook whose first cell brings the library.

Colab is played by an environment that has torch and Jupyter's kernel, and a module `google.colab`;
the library comes from a wheel instead of GitHub."""
import json
import re
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, call
from nbclient import NotebookClient

sys.path.insert(0, str(ROOT/"docs"))
import generate

pytestmark = pytest.mark.slow
LESSONS = ("course/02_tmaze", "course/06_memory", "course/09_acting")
REPRODUCTIONS = ("repro_retrieval", "repro_minigrid")


def pin(name: str) -> str:
    "A package with its version, as constraints.txt has it."
    return re.search(rf"^{name}==.*$", (ROOT/"constraints.txt").read_text(), re.MULTILINE).group()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Path:
    "Where the kernel of an environment like Colab's is described."
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder/"env", symlinks=True, with_pip=True)
    python = folder/"env"/"bin"/"python"
    call(python, "-m", "pip", "-q", "install", pin("torch"), "ipykernel", timeout=1800)
    (site,) = folder.glob("env/lib/python*/site-packages")
    (site/"google"/"colab").mkdir(parents=True)
    (site/"google"/"colab"/"__init__.py").touch()
    (site/"colab.pth").write_text("import google.colab\n")  # a kernel there has it loaded
    described = folder/"kernels"/"colab"
    described.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (described/"kernel.json").write_text(json.dumps(
        {"argv": command, "display_name": "Colab", "language": "python"}))
    return folder/"kernels"


@pytest.mark.parametrize("name", LESSONS + REPRODUCTIONS)
def test_notebook_runs_on_colab(name, wheel, kernels, tmp_path, monkeypatch):
    "From the first cell to the last, and trains nothing but what a lesson shows."
    settings = generate.read_settings(ROOT)
    notebook = nbformat.read(ROOT/"nbs"/f"{name}.ipynb", as_version=4)
    address = f"git+{settings['git_url']}@{settings['branch']}"
    assert address in notebook.cells[1].source
    notebook.cells[1].source = notebook.cells[1].source.replace(address, wheel.as_uri())
    monkeypatch.setenv("JUPYTER_PATH", str(kernels.parent))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    NotebookClient(notebook, kernel_name="colab", timeout=600).execute()
    assert not list(tmp_path.rglob("model.safetensors")), "a model was trained here"
    drawn = {path.name for path in tmp_path.rglob("figures/*.png")}
    kept = (ROOT/"results"/name.removeprefix("repro_")/"figures").glob("*.png")
    assert drawn >= {path.name for path in kept}
    told = "\n".join(output.get("text", "") for output in notebook.cells[1].outputs)
    assert "ERROR" not in told, told
