"""How well do a notebook's tests guard its code?

One small thing at a time is changed in the cells that a notebook exports: a comparison, a sign, a
number, a condition, a statement. The notebook is exported and run with each change, as `nbdev_test`
runs it, in a copy of the repository: so a test may reach the code by the module, too. A change that
no cell notices is a survivor: a test is missing, or the change makes no difference.

    python tests/mutation.py nbs/course/05_attention.ipynb --count 20 --seed 1"""
import argparse
import ast
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from conftest import ROOT, copy_repository
from nbdev.config import get_config

SIGNS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Pow: "*",
         ast.Mod: "+"}
COMPARISONS = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=",
               ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in",
               ast.NotIn: "in"}


# ---- what is changed ----

@dataclass(frozen=True)
class Change:
    "One piece of a cell's source, and what stands there instead."
    cell: str  # its id
    start: int # in bytes, as Python counts columns
    stop: int
    old: str
    new: str

    def apply(self, source: str) -> str:
        raw = source.encode()
        return (raw[:self.start] + self.new.encode() + raw[self.stop:]).decode()

    def __str__(self): return f"cell {self.cell}: {' '.join(self.old.split())} → {self.new}"


def part(node: ast.AST) -> str:
    "A part of an expression, as it may stand beside any sign."
    alone = isinstance(node, (ast.Name, ast.Constant, ast.Attribute, ast.Call, ast.Subscript))
    return ast.unparse(node) if alone else f"({ast.unparse(node)})"


def alternatives(node: ast.AST) -> Iterator[str]:
    "What could stand in a node's place."
    match node:
        case ast.BinOp(left, sign, right) if type(sign) in SIGNS:
            yield f"({part(left)} {SIGNS[type(sign)]} {part(right)})"
        case ast.Compare(left, [sign], [right]):
            yield f"({part(left)} {COMPARISONS[type(sign)]} {part(right)})"
        case ast.BoolOp(sign, values):
            yield f"({(' and ' if isinstance(sign, ast.Or) else ' or ').join(map(part, values))})"
        case ast.UnaryOp(ast.Not() | ast.USub(), operand): yield part(operand)
        case ast.Constant(bool(value)): yield str(not value)
        case ast.Constant(int(value) | float(value)): yield str(value + 1)
        case ast.IfExp(_, body, otherwise): yield from map(part, (body, otherwise))
        case ast.Call(ast.Attribute(value, name), []) if name in METHODS: yield part(value)
        case ast.Return(value) if value is not None: yield "return None"
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield "pass"


METHODS = ("detach", "clone", "copy", "contiguous", "eval", "train", "zero_grad")


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    "Of a tree, without annotations, and without texts, where Python 3.11 tells wrong columns."
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or isinstance(node, ast.JoinedStr): continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST): yield from nodes(child)


def changes(cell: str, source: str) -> Iterator[Change]:
    "All changes of a cell."
    lines = source.encode().splitlines(keepends=True)
    def offset(line, column): return sum(map(len, lines[:line - 1])) + column
    for node in nodes(ast.parse(source)):
        for new in alternatives(node):
            start = offset(node.lineno, node.col_offset)
            stop = offset(node.end_lineno, node.end_col_offset)
            old = source.encode()[start:stop].decode()
            if old != new: yield Change(cell, start, stop, old, new)


def all_changes(path: Path) -> list[Change]:
    "Of the cells that a notebook exports."
    cells = nbformat.read(path, as_version=4).cells
    exported = [cell for cell in cells if re.match(r"#\| *export\b", cell.source)]
    return [change for cell in exported for change in changes(cell.id, cell.source)]


# ---- who notices ----

RUN = """
import resource, sys
from pathlib import Path
from nbdev.export import nb_export
from nbdev.test import test_nb
if len(sys.argv) > 4: resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[4]),)*2)
nb_export(sys.argv[1])
passed, _ = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[3].split(), basepath=sys.argv[2])
sys.exit(not passed)
"""

MOST = 6*2**30 # bytes: a changed number may ask for all of the memory


def passes(path: Path, change: Change | None, seconds: float, repository: Path = ROOT) -> bool:
    "Whether a notebook of a repository runs, with a change, within a time."
    with tempfile.TemporaryDirectory() as folder:
        root = copy_repository(Path(folder)/"copy", repository)
        (temporary := Path(folder)/"tmp").mkdir()
        target = root/path.relative_to(repository)
        if change: write_changed(target, change)
        flags = get_config(path=ROOT).tst_flags
        command = [sys.executable, "-c", RUN, str(target), str(root), flags, str(MOST)]
        return run_quietly(command, seconds, cwd=target.parent, env=os.environ | {
            "PYTHONPATH": str(root), "TMPDIR": str(temporary)})


def write_changed(path: Path, change: Change) -> None:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.id == change.cell]
    cell.source = change.apply(cell.source)
    nbformat.write(notebook, path)


def run_quietly(command: list[str], seconds: float, **options) -> bool:
    "Whether a command ends well in time. All that it started is ended with it."
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, **options)
    try: return running.wait(seconds) == 0
    except subprocess.TimeoutExpired: return False
    finally:
        try: os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError: pass
        running.wait()


def survivors(path: Path, count: int = 20, seed: int = 1, jobs: int = 2, repository: Path = ROOT,
              spare: float = 30, # seconds
              ) -> tuple[list[Change], int]: # and how many changes were tried
    """Changes of a notebook that none of its cells notices.

    What takes three times as long as the notebook took, and some seconds to spare, has noticed."""
    start = time.perf_counter()
    if not passes(path, None, 900, repository):
        raise ValueError(f"{path.name} fails without any change")
    limit = 3*(time.perf_counter() - start) + spare
    possible = all_changes(path)
    chosen = random.Random(seed).sample(possible, min(count, len(possible)))
    with ThreadPoolExecutor(jobs) as pool:
        alive = list(pool.map(lambda change: passes(path, change, limit, repository), chosen))
    return [change for change, lives in zip(chosen, alive) if lives], len(chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--count", type=int, default=20, help="changes to try (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of their choice (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default: 2)")
    asked = parser.parse_args()
    path = asked.notebook.resolve()
    found, tried = survivors(path, asked.count, asked.seed, asked.jobs)
    for change in found: print(f"survived: {change}")
    print(f"{asked.notebook}: {tried - len(found)} of {tried} changes noticed, "
          f"{len(all_changes(path))} possible")


if __name__ == "__main__": main()
