"""Every reproduction notebook runs under papermill at preset smoke, elsewhere than in the
repository, and leaves the results store alone."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, RUN_BY_PAPERMILL, check_loaded, notebook_id


def store() -> dict:
    "Every file of the results store and when it was changed."
    return {path: path.stat().st_mtime_ns for path in (ROOT/"results").rglob("*") if path.is_file()}


TELL = "import sys\nprint('loaded:', *{name.partition('.')[0] for name in sys.modules})"


def papermill(path: Path, tmp_path: Path, **parameters) -> subprocess.CompletedProcess:
    "Run a notebook as a reader does from the command line; its results go to `out`."
    command = [sys.executable, "-m", "papermill", str(path), str(tmp_path/path.name), "--cwd",
               str(ROOT/"nbs"), "--kernel", "python3", "--no-progress-bar"]
    for name, value in (dict(preset="smoke", output_folder=str(tmp_path/"out"))
                        | parameters).items():
        command += ["-p", name, value]
    environment = {name: value for name, value in os.environ.items() if name != "IN_TEST"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)


@pytest.mark.parametrize("path", RUN_BY_PAPERMILL, ids=notebook_id)
def test_repro(path, tmp_path):
    before, executed, notebook = store(), tmp_path/path.name, nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(TELL))  # the last word of what it loaded
    nbformat.write(notebook, executed)
    done = papermill(executed, tmp_path)
    assert done.returncode == 0, f"{path.name} failed:\n{done.stderr[-6000:]}"
    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    check_loaded(path, set(outputs[-1].text.split()))
    assert list((tmp_path/"out").rglob("*.png")), f"{path.name} left no figure in its output folder"
    assert store() == before, (
        f"{path.name} at preset smoke changed results/, which holds committed results"
    )


def test_one_page_is_made_of_rows_alone(tmp_path):
    "Of a folder without rows, too: everything is missing, nothing is trained, and it says so."
    (rows := tmp_path/"none").mkdir()
    done = papermill(ROOT/"nbs"/"repro_all.ipynb", tmp_path, preset="laptop", rows_folder=str(rows))
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(rows.iterdir())
    text = (tmp_path/"repro_all.ipynb").read_text(encoding="utf-8")
    assert "0 drawn, 0 in part, 27 not yet" in text and "✔ reproduced" not in text


# ---- parameters: recipes/00_base tries all mistakes on `check_parameters`; here, papermill ----

RETRIEVAL = ROOT/"nbs"/"repro_retrieval.ipynb"  # the cheapest
REFUSED = [(dict(prset="smoke"), "unknown parameter 'prset': choose from preset, studies, seeds, "
                                 "models, output_folder"),
           (dict(models='["RATE", "GPT"]'), "unknown value in models 'GPT': choose from RATE, DT")]


@pytest.mark.parametrize("parameters, message", REFUSED,
                         ids=[next(iter(parameters)) for parameters, _ in REFUSED])
def test_wrong_parameters_are_refused_before_training(parameters, message, tmp_path):
    done = papermill(RETRIEVAL, tmp_path, **parameters)
    assert done.returncode != 0 and message in done.stderr, done.stderr[-3000:]
    assert not (tmp_path/"out").exists(), "something was done before the parameters were looked at"


def test_single_values_are_lists_of_one(tmp_path):
    done = papermill(RETRIEVAL, tmp_path, seeds="0", models="RATE", studies='["figure 12"]')
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = (tmp_path/"out"/"results"/"retrieval"/"smoke").glob("*.json")
    assert row.name.startswith("rate-s0-")


@pytest.mark.parametrize("path", RUN_BY_PAPERMILL, ids=notebook_id)
def test_every_notebook_checks_its_parameters(path):
    "In the first cell that follows them, with no name left out."
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    place = next(number for number, cell in enumerate(code)
                 if "parameters" in cell.metadata.get("tags", []))
    names = [line.split(" = ")[0] for line in code[place].source.splitlines()]
    assert f"{', '.join(names)} = check_parameters(" in code[place + 1].source
    call = code[place + 1].source.split("check_parameters(\n")[1]
    assert all(f"{name}=" in call for name in names)
