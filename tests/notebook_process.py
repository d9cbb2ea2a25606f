"""A notebook in a process of its own, as `nbdev_test` runs it.

The processes are forks of a server that has imported what nearly all notebooks import: that takes
longer than most notebooks do."""
import atexit
import multiprocessing
import os
import sys
import threading
from pathlib import Path

from nbdev.config import get_config
from nbdev.test import test_nb as run_cells

SHARED = ["notebook_process", "torch", "pandas", "matplotlib.pyplot", "gymnasium", "IPython",
          "scipy.stats", "accelerate"]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(SHARED)


def run(path: Path, root: Path, said: Path) -> None:
    "What a process does; it prints into a file, last of all what it loaded."
    with said.open("w") as file:
        for stream in (1, 2): os.dup2(file.fileno(), stream)
    os.chdir(path.parent)
    before = set(sys.modules)  # the runner itself, and what all share: no simulator
    passed, _ = run_cells(path, skip_flags=get_config(path=root).tst_flags.split(), basepath=root)
    print("loaded:", *{name.partition(".")[0] for name in set(sys.modules) - before}, flush=True)
    end(not passed)


def end(status: int) -> None:
    "As Python ends, and a fork does not: threads, then functions `atexit`; so workers are gone."
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def run_notebook(path: Path, root: Path, said: Path, seconds: float = 900.) -> int | None:
    "Its exit status; None: it did not end in time."
    process = SERVER.Process(target=run, args=(path, root, said))
    process.start()
    process.join(seconds)
    if process.is_alive(): process.kill()
    return process.exitcode
