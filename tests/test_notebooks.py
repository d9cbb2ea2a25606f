"""Every notebook runs from top to bottom, as `nbdev_test` runs it, each in a process of its own,
and loads no simulator that its Colab cell would not install. Reproductions run in test_repro."""
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, RUN_BY_PAPERMILL, all_notebooks, check_loaded, notebook_id
from nbdev.config import get_config
from nbdev.doclinks import nbglob

RUN = """
import sys
from pathlib import Path
from nbdev.test import test_nb
before = set(sys.modules)
passed, seconds = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[3].split(), basepath=sys.argv[2])
print("loaded:", *{name.partition(".")[0] for name in set(sys.modules) - before})
sys.exit(not passed)
"""


ALONE = [path for path in all_notebooks() if path not in RUN_BY_PAPERMILL]  # not by test_repro


@pytest.mark.parametrize("path", ALONE, ids=notebook_id)
def test_notebook(path):
    command = [sys.executable, "-c", RUN, str(path), str(ROOT), get_config(path=ROOT).tst_flags]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (
        f"{notebook_id(path)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-6000:]}"
    )
    check_loaded(path, set(done.stdout.rsplit("loaded:", 1)[1].split()))


def test_these_are_the_notebooks_of_nbdev_test():
    assert sorted(Path(path).resolve() for path in nbglob(ROOT/"nbs")) == all_notebooks()
