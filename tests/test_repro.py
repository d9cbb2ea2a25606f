"Every reproduction notebook runs under papermill at preset smoke, elsewhere than in the repository, and leaves the results store alone."
import os
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT, notebook_id


def store() -> dict:
    "Every file of the results store and when it was changed."
    return {path: path.stat().st_mtime_ns for path in (ROOT/"results").rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", sorted((ROOT/"nbs").glob("repro_*.ipynb")), ids=notebook_id)
def test_repro(path, tmp_path):
    before, executed = store(), tmp_path/path.name
    command = [sys.executable, "-m", "papermill", str(path), str(executed), "--cwd", str(path.parent), "--kernel", "python3", "--no-progress-bar",
               "-p", "preset", "smoke", "-p", "output_folder", str(tmp_path/"out")]
    environment = {name: value for name, value in os.environ.items() if name != "IN_TEST"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, f"{path.name} failed:\n{done.stderr[-6000:]}"
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert list((tmp_path/"out").rglob("*.png")), f"{path.name} left no figure in its output folder"
    assert store() == before, f"{path.name} at preset smoke changed results/, which holds committed results"
