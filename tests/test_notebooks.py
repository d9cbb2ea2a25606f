"Every notebook runs from top to bottom, as `nbdev_test` runs it, each in a process of its own."
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, all_notebooks, notebook_id
from nbdev.config import get_config
from nbdev.doclinks import nbglob

RUN = """
import sys
from pathlib import Path
from nbdev.test import test_nb
passed, seconds = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[3].split(), basepath=sys.argv[2])
sys.exit(not passed)
"""


@pytest.mark.parametrize("path", all_notebooks(), ids=notebook_id)
def test_notebook(path):
    command = [sys.executable, "-c", RUN, str(path), str(ROOT), get_config(path=ROOT).tst_flags]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{notebook_id(path)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-6000:]}"


def test_these_are_the_notebooks_of_nbdev_test():
    assert sorted(Path(path).resolve() for path in nbglob(ROOT/"nbs")) == all_notebooks()
