"""Cells with the directive `slow`, which `nbdev_test` leaves out, run as well.

Each notebook that has such cells runs from top to bottom, in a copy of the repository: some write
down what they measured. Cells that need what a machine may lack have the directive `notest`."""
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, all_notebooks, copy_repository, notebook_id
from mutation import RUN
from nbdev.config import get_config

pytestmark = pytest.mark.slow


def has_slow_cells(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any(re.match(r"(#\|.*\n)*#\| *slow\b", cell.source) for cell in cells)


NOTEBOOKS = [path for path in all_notebooks() if has_slow_cells(path)]


def test_slow_cells_are_found():
    "All of them: the search above reads directives as nbdev does."
    text = {path: path.read_text(encoding="utf-8") for path in all_notebooks()}
    assert NOTEBOOKS == [path for path in text if re.search(r'"#\| *slow\\n"', text[path])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=notebook_id)
def test_slow_cells(path, tmp_path):
    copy = copy_repository(tmp_path/"copy")
    target = copy/path.relative_to(ROOT)
    flags = set(get_config(path=ROOT).tst_flags.split()) - {"slow"}
    command = [sys.executable, "-c", RUN, str(target), str(copy), " ".join(flags)]
    done = subprocess.run(command, cwd=target.parent, env=os.environ | {"PYTHONPATH": str(copy)},
                          capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, (
        f"{notebook_id(path)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-6000:]}")
