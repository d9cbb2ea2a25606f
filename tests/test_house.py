"""The house: modules import downwards, lessons use what was taught, a thing has one spelling, and
nothing is large. New environments, models and analyses are in these rules without a line here."""
import ast
import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import rate_nb
from conftest import ROOT, all_notebooks, notebook_id
from rate_nb.engine.study import ELSEWHERE, study_names
from rate_nb.engine.tasks import TASKS, environments

# From the ground up. A module imports from floors below its own, and within a folder of `envs` from
# its neighbours. A name goes before a pattern, a long pattern before a short one.
FLOORS = [line.split() for line in """
    paper core.arrays core.checks core.files core.growing core.names core.spaces
    core.dropout core.frames core.pages core.tensors
    engine.distributed engine.processes engine.provenance
    core.facts core.published core.tally core.training_config engine.packed_rows
    core.store
    core.chunks core.joining
    core.outcomes
    trajectories engine.batch_order
    core.windows models.attention_plans models.heads models.image_encoder
    encoders attention memory
    models.attention_steps models.sequence_model models.layers
    models.rate_config models.rate_steps
    rate models.behavior_cloning
    models.recurrent_dt models.values
    models.* engine.checkpoints engine.training_checks
    models.cql_real engine.resuming
    training acting
    engine.imitation evaluation
    engine.attention engine.rendering engine.streams engine.style engine.vector engine.verdicts
    engine.figures engine.power engine.tasks engine.totals engine.workers
    engine.maps engine.rollouts engine.storage engine.worker_tasks
    engine.rows
    engine.collection engine.minari
    engine.recipes
    engine.encoded engine.measurements engine.parameters engine.presets
    engine.fit
    engine.runs
    engine.results engine.speed
    engine.sweeps
    engine.study
    engine.terminal engine.audit engine.comparison engine.costs engine.gpu_speed
    engine.inventory engine.packed_models
    engine.model_cards
    engine.commands
    engine.study_commands
    engine.cli
    envs.*
    envs.*.study
    envs.tmaze.ablations
    envs.tmaze.cues
    analysis.*
    analysis.efficiency analysis.walks
    analysis.overview
""".strip().splitlines()]

# Imports inside functions, which run when they are needed: what imports what, and why
LAZY = {
    **{(command, "*"): "a command loads what it needs, so that --help is instant"
       for command in ("engine.commands", "engine.study_commands")},
    ("engine.speed", "engine.gpu_speed"): "one command for both; the GPU's benchmark is made of "
                                          "the other's parts",
    ("trajectories", "core.windows"): "windows are trajectories of a kind, and trajectories make "
                                      "them",
    ("engine.encoded", "engine.runs"): "a run needs its task; a task that is seen through an "
                                       "encoder needs the run that pretrains it",
    ("envs.*.task", "envs.*.expert"): "an expert knows its task; who plays a task with a model "
                                      "needs no expert"}

# Lessons have the names of their modules, but for two whose question says more
OTHER_NAMES = {"03_episodes": "trajectories", "08_gradients_through_memory": "training"}
# Notebooks beside the course that a lesson introduces, and builds on
TAUGHT_BESIDE = {"models.heads": 4, "models.image_encoder": 4, "models.attention_plans": 5,
                 "models.attention_steps": 5, "models.sequence_model": 7, "models.layers": 7,
                 "models.rate_config": 7, "models.rate_steps": 7}


# ---- floors ----

def modules(root: Path) -> dict[str, Path]:
    "Name below the package -> file, of all modules; packages themselves hold nothing."
    found = [path for path in (root/"rate_nb").rglob("*.py")
             if path.name not in ("__init__.py", "_modidx.py")]
    return {".".join(path.relative_to(root/"rate_nb").with_suffix("").parts): path
            for path in found}


def floor_of(module: str) -> int:
    "The number of its floor. LookupError for a module without one."
    fitting = [(pattern == module, len(pattern), number) for number, floor in enumerate(FLOORS)
               for pattern in floor if fnmatchcase(module, pattern)]
    if not fitting: raise LookupError(f"{module} has no floor: give it one in FLOORS")
    return max(fitting)[-1]


def imported(node: ast.AST, package: list[str], known) -> list[str]:
    "Modules of ours that a statement imports; names on the package count as their modules."
    if isinstance(node, ast.Import):
        return [alias.name.removeprefix("rate_nb.") for alias in node.names
                if alias.name.startswith("rate_nb.")]
    if not isinstance(node, ast.ImportFrom): return []
    base = package[:len(package) + 1 - node.level] if node.level else []
    parts = base + (node.module.split(".") if node.module else [])
    if parts[0] != "rate_nb": return []
    names = [".".join([*parts[1:], alias.name]) for alias in node.names]
    if len(parts) == 1: return [rate_nb._MODULE.get(name, name) for name in names]
    return [name if name in known else ".".join(parts[1:]) for name in names]


def arrows(root: Path) -> tuple[set, set]:
    "Pairs of modules (who, whom): imported with the module, and imported inside functions."
    now, later, known = set(), set(), modules(root)
    for name, path in known.items():
        package = ["rate_nb", *name.split(".")[:-1]]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(part) for node in ast.walk(tree)
                  if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                  for part in ast.walk(node)}
        for node in ast.walk(tree):
            pairs = later if id(node) in inside else now
            pairs |= {(name, target) for target in imported(node, package, known)}
    return now, later


def environment(module: str) -> str | None:
    "Whose folder of `envs` it is in."
    return module.split(".")[1] if module.startswith("envs.") else None


def upward(pairs: set) -> list[str]:
    "Arrows that lead up, or along a floor."
    def allowed(who, whom):
        neighbours = environment(who) is not None and environment(who) == environment(whom)
        return floor_of(whom) < floor_of(who) or (neighbours and floor_of(whom) == floor_of(who))
    return [f"{who} imports {whom}" for who, whom in sorted(pairs) if not allowed(who, whom)]


def between_environments(pairs: set) -> list[str]:
    "Arrows from one environment's folder into another's."
    return [f"{who} imports {whom}" for who, whom in sorted(pairs)
            if environment(who) and environment(whom) and environment(who) != environment(whom)]


def order(pairs: set) -> list[str]:
    "Modules, each after those that it imports. CycleError, a ValueError, for a circle."
    graph = {}
    for who, whom in pairs: graph.setdefault(who, set()).add(whom)
    return list(TopologicalSorter(graph).static_order())


def check_floors(root: Path) -> str:
    "All rules about imports; how many floors and arrows there are."
    now, later = arrows(root)
    used = {floor_of(module) for module in modules(root)}
    assert used == set(range(len(FLOORS))), "a floor without a module"
    assert not upward(now)
    assert not between_environments(now | later)
    order(now)
    return f"{len(modules(root))} modules on {len(FLOORS)} floors, {len(now)} arrows, " \
           f"{len(later)} more inside functions"


def test_modules_import_downwards():
    print(check_floors(ROOT))


def test_imports_inside_functions_have_a_reason():
    def reasons(who, whom):
        return {pair for pair in LAZY if fnmatchcase(who, pair[0]) and fnmatchcase(whom, pair[1])}
    _, later = arrows(ROOT)
    assert not [pair for pair in later if not reasons(*pair)]
    assert set(LAZY) == set().union(*(reasons(*pair) for pair in later)), "a reason for nothing"


def test_what_would_break_the_rules():
    "The checks see what they are for."
    assert upward({("engine.tasks", "engine.runs")}) == ["engine.tasks imports engine.runs"]
    assert upward({("engine.tasks", "engine.workers")}), "along a floor"
    assert upward({("envs.toy.task", "envs.toy.study")})
    assert not upward({("envs.toy.study", "envs.toy.task"), ("envs.toy.task", "envs.toy.maze")})
    assert between_environments({("envs.toy.study", "envs.tmaze.task")})
    circle = {("envs.toy.a", "envs.toy.b"), ("envs.toy.b", "envs.toy.a")}
    with pytest.raises(ValueError): order(circle)
    with pytest.raises(LookupError, match="has no floor"): floor_of("engine.attic")
    (line,) = ast.parse("from rate_nb import Agent, memory").body
    assert imported(line, [], {"memory"}) == ["acting", "memory"]
    (line,) = ast.parse("from ..engine import runs").body
    assert imported(line, ["rate_nb", "models"], {"engine.runs"}) == ["engine.runs"]


# ---- lessons ----

def code_cells(path: Path) -> list[tuple[str, str]]:
    "Id and source of a notebook's code cells."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def parsed(source: str) -> ast.Module:
    "A script, or a cell without its magics."
    try: return ast.parse(source)
    except SyntaxError: pass
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE))


def module_of(path: Path) -> str | None:
    "The module that a notebook is exported to; None if to none."
    code = "\n".join(source for _, source in code_cells(path))
    found = re.search(r"^#\| default_exp (\S+)", code, re.MULTILINE)
    return found and found.group(1)


def lessons(root: Path) -> list[Path]: return sorted((root/"nbs"/"course").glob("*.ipynb"))
def number_of(lesson: Path) -> int: return int(lesson.stem.split("_")[0])


TAUGHT = TAUGHT_BESIDE | {module_of(path): number_of(path) for path in lessons(ROOT)}


@pytest.mark.parametrize("path", lessons(ROOT), ids=notebook_id)
def test_lessons_use_what_was_taught(path):
    "Besides: the foundations in `core`, and names on the package."
    early = []
    for cell, source in code_cells(path):
        if source.startswith("#| export"): continue  # the table of floors knows these
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ImportFrom) and node.module == "rate_nb":
                early += [(cell, alias.name) for alias in node.names
                          if alias.name not in rate_nb.__all__]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                early += [(cell, name) for name in imported(node, [], modules(ROOT))
                          if not name.startswith("core.")
                          and TAUGHT.get(name, 99) > number_of(path)]
    assert not early, "not taught yet: import a name from rate_nb itself, or do without"


# ---- limits ----

def functions(tree: ast.AST):
    return [node for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def patched(tree: ast.AST) -> list[str]:
    "Functions with fastcore's `@patch`, which puts them into a class from elsewhere."
    def named(node): return ast.unparse(node).split("(")[0].split(".")[-1]
    return [node.name for node in functions(tree)
            if {"patch", "patch_to", "patch_property"} & set(map(named, node.decorator_list))]


def too_large(source: str, where: str, lines: int | None = None) -> list[str]:
    "What of a text is over a limit: its columns, its lines, or those of a function."
    wide = [f"{where}: {len(line)} columns: {line.strip()[:60]}" for line in source.splitlines()
            if len(line) > 100]
    long = [f"{where}: {node.name} has {length} lines" for node in functions(parsed(source))
            if (length := node.end_lineno - node.lineno + 1) > 40]
    length = len(source.splitlines())
    return wide + long + ([f"{where}: {length} lines"] if lines and length > lines else [])


@pytest.mark.parametrize("path", all_notebooks(), ids=notebook_id)
def test_cells_and_functions_are_small(path):
    found = []
    for cell, source in code_cells(path):
        if cell == "colab": continue  # made by docs/generate.py, with a web address
        found += too_large(source, cell, lines=40)
        if source.startswith("#| export"):
            found += [f"{cell}: {name} is patched into its class, which is to be whole in one cell"
                      for name in patched(parsed(source))]
    assert not found


SCRIPTS = [path for pattern in ("tests/*.py", "docs/*.py", "setup.py")
           for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_narrow(path):
    assert not too_large(path.read_text(encoding="utf-8"), path.name)


def test_modules_are_short():
    "Without `__all__`, which nbdev writes."
    long = {}
    for name, path in modules(ROOT).items():
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"^__all__ = \[.*?\]\n", "", text, flags=re.DOTALL | re.MULTILINE)
        if (length := len(text.splitlines())) > 400: long[name] = length
    assert not long


def test_studies_are_small():
    """All that eight studies say, without the lines that nbdev writes into modules.

    Planned experiments stand beside those that they will replace."""
    size = sum(len(source.encode()) for path in (ROOT/"nbs"/"envs").glob("*/study.ipynb")
               for _, source in code_cells(path) if source.startswith("#| export"))
    assert size <= 76_700, f"{size} bytes: let the engine do what several of them do"


def test_limits_are_seen():
    assert too_large(f"x = {10**97}", "c1") == [f"c1: 102 columns: x = {10**55}"]
    body = "def f():\n" + "    x = 1\n" * 40
    assert too_large(body, "c1", lines=40) == ["c1: f has 41 lines", "c1: 41 lines"]
    assert too_large("%matplotlib inline\nx = 1\n", "c1") == []
    text = "@patch\ndef f(): 0\n@basics.patch_to(A)\ndef g(): 0\n@singledispatch\ndef h(): 0"
    assert patched(ast.parse(text)) == ["f", "g"]


def test_ruff_finds_nothing():
    "By ruff.toml; `ruff check --fix` mends much of what it finds, then `make notebooks`."
    names = ["rate_nb", "tests", "docs", "setup.py", "nbs"]
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--output-format", "concise"]
    done = subprocess.run([*command, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- one spelling ----

def folders(path: Path) -> list[str]:
    "Names of folders in a folder that hold anything, but for what Python and Jupyter leave."
    return sorted(entry.name for entry in path.iterdir() if entry.name[0] not in "._"
                  and any(file.is_file() for file in entry.rglob("*")))


NO_ENVIRONMENT = {*ELSEWHERE, "all"}  # reproductions, and folders of results


def check_spelling(root: Path, names: list[str]) -> None:
    "An environment with a study has one name in all places, and no place has another."
    assert folders(root/"nbs"/"envs") == folders(root/"rate_nb"/"envs") == names
    repros = sorted((root/"nbs").glob("repro_*.ipynb"))
    told = [path.stem.removeprefix("repro_") for path in repros]
    assert [name for name in told if name not in NO_ENVIRONMENT] == names
    assert sorted({*folders(root/"results")} - {"speed", *NO_ENVIRONMENT}) == names


def test_one_spelling():
    check_spelling(ROOT, study_names())
    assert environments("task") == study_names()


NO_MODULE = ("course", "02_tmaze"), ("course", "11_your_own")  # a first look; the reader's own


def check_mirror(root: Path) -> None:
    "A notebook stands where its module does; lessons have a number in front."
    for path in sorted((root/"nbs").rglob("*.ipynb")):
        parts = path.relative_to(root/"nbs").with_suffix("").parts
        if any(part[0] in "._" for part in parts): continue
        expected = ".".join(parts)
        if parts[0] == "course":
            expected = OTHER_NAMES.get(parts[1], parts[1].split("_", 1)[1])
        nothing = len(parts) == 1 or parts in NO_MODULE  # index, repro
        assert module_of(path) == (None if nothing else expected), path


def test_notebooks_mirror_modules():
    check_mirror(ROOT)
    exported = {module_of(path) for path in all_notebooks()} - {None}
    assert exported == set(modules(ROOT)), "rate_nb/__init__.py alone is written by hand"


def test_lessons_are_numbered_without_gaps():
    assert [number_of(path) for path in lessons(ROOT)] == list(range(1, len(lessons(ROOT)) + 1))
    assert all(re.fullmatch(r"\d\d_[a-z_]+", path.stem) for path in lessons(ROOT))


# ---- tasks ----

def test_every_name_of_a_task_leads_to_it():
    for name in environments("task"): assert TASKS.find(name).name == name
    for name in environments("labels"): assert TASKS.find(f"{name}_labels").name == f"{name}_labels"
    for name in TASKS: assert TASKS.find(name)
