"""Every notebook runs from top to bottom, as `nbdev_test` runs it, each in a process of its own,
and loads no simulator that its Colab cell would not install. Reproductions run in test_repro."""
from pathlib import Path

import pytest
from conftest import ROOT, RUN_BY_PAPERMILL, all_notebooks, check_loaded, notebook_id
from nbdev.doclinks import nbglob
from notebook_process import run_notebook

ALONE = [path for path in all_notebooks() if path not in RUN_BY_PAPERMILL]  # not by test_repro


@pytest.mark.parametrize("path", ALONE, ids=notebook_id)
def test_notebook(path, tmp_path):
    status = run_notebook(path, ROOT, tmp_path/"said")
    said = (tmp_path/"said").read_text(encoding="utf-8", errors="replace")
    assert status == 0, f"{notebook_id(path)} failed:\n{said[-7000:]}"
    check_loaded(path, set(said.rsplit("loaded:", 1)[1].split()))


def test_these_are_the_notebooks_of_nbdev_test():
    assert sorted(Path(path).resolve() for path in nbglob(ROOT/"nbs")) == all_notebooks()
