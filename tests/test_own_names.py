"""A task, a model, a valve and a measurement of the user's own, in a file beside the script, are
known in all processes of a sweep."""
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

MODULE = '''
from rate_nb.memory import GateValve
from rate_nb.models.sequence_model import make_model
from rate_nb.envs.tmaze.task import TMaze

class Maze(TMaze):
    name = "my_maze"

def model(observation_space, action_space, **options):
    return make_model("rate", observation_space, action_space, **options)

class Valve(GateValve):
    def __init__(self, d_model): super().__init__(d_model, bias=3.)

def count_weights(model, recipe, paths, *, times=1):
    weights = sum(weight.numel() for weight in model.parameters())
    return {"weights": times*weights, "valve": type(model.valve).__name__}
'''

SCRIPT = '''
import sys
from pathlib import Path
from rate_nb.engine.measurements import MEASUREMENTS
from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe
from rate_nb.engine.sweeps import sweep
from rate_nb.memory import VALVES
from rate_nb.models.sequence_model import register_model
from rate_nb.engine.tasks import register_task
from rate_nb.core.training_config import TrainingConfig

def recipe(seed, task, model, valve):
    return Recipe(name="mine", task=task, model=model, preset="smoke", seed=seed, length=9,
                  data=DataSpec(20), task_options=dict(corridor_length=7),
                  model_options=dict(segment_length=3, d_model=16, d_head=8, valve=valve),
                  training=TrainingConfig(iterations=2, batch_size=4, warmup=1))

def attempt(registered, by_place, kind):
    "Two runs, so that there is work for two processes."
    asked = [Measurement("play", dict(episodes=2)), Measurement(kind, dict(times=3))]
    plan = [(recipe(seed, *names), asked)
            for seed, names in enumerate((registered, by_place))]
    return sweep(plan, Paths.under(Path(sys.argv[1])), jobs=2, progress=False)
'''

FOUND = SCRIPT + '''
if __name__ == "__main__":
    import my_things
    register_task("my maze", my_things.Maze)            # the class itself
    register_model("my model", "my_things:model")       # or its place
    VALVES["my valve"] = my_things.Valve
    MEASUREMENTS["my count"] = "my_things:count_weights"
    registered = "my maze", "my model", "my valve"
    by_place = "my_things:Maze", "my_things:model", "my_things:Valve"
    rows = attempt(registered, by_place, "my count")
    rows += attempt(registered, by_place, "my_things:count_weights")
    answers = [list(row["measurements"].values()) for row in rows]
    print([[answer["valve"] for answer in told if "valve" in answer] for told in answers])
'''

IN_THE_SCRIPT = SCRIPT + MODULE + '''
from rate_nb.engine.tasks import TASKS
from rate_nb.models.sequence_model import MODELS

def refused(**names):
    things = dict(task="tmaze", model="rate", valve="gate", kind="play") | names
    try: attempt(*[(things["task"], things["model"], things["valve"])]*2, things["kind"])
    except ValueError as error: print(error)
    else: print("was not refused:", names)

if __name__ == "__main__":
    things = dict(task="Maze", model="model", valve="Valve", kind="count_weights")
    for what, thing in things.items(): refused(**{what: f"__main__:{thing}"})
    tables = (TASKS, Maze), (MODELS, model), (VALVES, Valve), (MEASUREMENTS, count_weights)
    for table, thing in tables:
        table["mine"] = thing
        refused(**{{"measurement": "kind"}.get(table.kind, table.kind): "mine"})
        del table["mine"]
'''


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess:
    """As a user runs a script of theirs, with their module beside it and nothing else told to
    Python."""
    (folder/"my_things.py").write_text(MODULE, encoding="utf-8")
    (folder/"script.py").write_text(script, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "script.py", str(folder/"out")], cwd=folder,
                          env=environment, capture_output=True, text=True,
                          timeout=300)


def test_own_names_in_every_process(tmp_path):
    done = run_script(FOUND, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == str([["Valve"]]*2 + [["Valve"]*2]*2)


def test_what_lives_in_the_script_is_refused_before_anything_is_done(tmp_path):
    done = run_script(IN_THE_SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.strip().splitlines()
    for line, name in zip(said, ["Maze", "model", "Valve", "count_weights"]*2, strict=True):
        assert f"{name} lives in a notebook or script, where other processes cannot find it" in line
        assert "put it in a module" in line
    assert not (tmp_path/"out").exists()
