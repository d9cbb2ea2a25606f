"""Data is no code: a crafted file runs nothing, under whatever name the library reads it.

`python tests/test_crafted.py` counts what runs, for this or for another version."""
import ast
import base64
import contextlib
import gzip
import io
import json
import os
import pickle
import re
import shutil
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import pytest
import torch
from conftest import ROOT, all_notebooks, notebook_id

from rate_nb.engine import minari, results, runs, storage
from rate_nb.engine.checkpoints import load_model, load_tensors, load_weights, save_tensors
from rate_nb.engine.collection import collect, collect_to_disk
from rate_nb.engine.recipes import DataSpec, Paths, Recipe, recipe_from, recipe_task
from rate_nb.envs.atari import dqn_replay
from rate_nb.envs.mujoco import generator
from rate_nb.envs.mujoco.task import MuJoCo
from rate_nb.envs.tmaze.task import TMaze
from rate_nb.envs.vizdoom.scenario import scenario_path
from rate_nb.models.sequence_model import make_model
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train

CLEAR = (ValueError, FileNotFoundError)  # with one line that names the file
MAZE, HOPPER = TMaze(3), MuJoCo("hopper", stages=1, stage_steps=2048)


# ---- crafted files ----

class Trap:
    "Whoever unpickles this runs a command."
    def __reduce__(self): return os.system, ("touch $RATE_NB_TRAP",)


def written(write) -> bytes:
    with io.BytesIO() as file:
        write(file)
        return file.getvalue()


def zipped(**entries) -> bytes:
    def write(file):
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in entries.items(): archive.writestr(name.replace("_", "."), content)
    return written(write)


@cache
def payloads() -> dict[str, bytes]:
    "Files that run a command in a reader who trusts them."
    objects = np.array([Trap()], dtype=object)
    bomb, npy = pickle.dumps(Trap()), written(lambda file: np.save(file, objects))
    told = {"policy_class": {":type:": "Trap", ":serialized:": base64.b64encode(bomb).decode()}}
    return {"pickle": bomb, "text pickle": pickle.dumps(Trap(), 0), "objects in npy": npy,
            "objects in npz": written(lambda file: np.savez(file, actions=objects)),
            "torch": written(lambda file: torch.save(Trap(), file)),
            "joblib": written(lambda file: joblib.dump(Trap(), file)),
            "gzipped pickle": gzip.compress(bomb), "gzipped npy": gzip.compress(npy),
            "stable-baselines3": zipped(data=json.dumps(told), pytorch__variables_pth=bomb)}


# ---- where files are read ----

def put(content: bytes, *paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


STAGE = ("policy.zip", "scaling.pkl", "policy.safetensors", "episodes.npz", "episodes.safetensors",
         "summary.json", "skill.json")
READ = [lambda folder: generator.StagePlayer(HOPPER, folder/"stage000"),
        lambda folder: generator._learner(HOPPER, folder, 1, 0, []),
        lambda folder: generator.train_generator(HOPPER, folder, progress=False),
        lambda folder: generator.stage_episodes(folder, 0),
        lambda folder: generator.stage_skill(HOPPER, folder, 0)]


@cache
def trained() -> Path:
    "A generator of one stage."
    folder = Path(tempfile.mkdtemp())
    generator.train_generator(HOPPER, folder, progress=False)
    generator.stage_skill(HOPPER, folder, 0)
    return folder


def stage(name):
    "One file of a stage of a generator is crafted, of today or of an older version."
    def door(content, folder):
        shutil.copytree(trained(), folder)
        put(content, folder/"stage000"/name)
        errors = []
        for read in READ:
            try: read(folder)
            except Exception as error: errors.append(error)
        errors.sort(key=lambda error: type(error) in CLEAR)
        if errors: raise errors[0]
    return door


def model(): return make_model("dt", MAZE.observation_space, MAZE.action_space, segment_length=3,
                               d_model=8, d_head=4, num_layers=1, num_heads=2)


def weights(read):
    def door(content, folder):
        put(content, folder/"model.safetensors")
        read(folder/"model.safetensors")
    return door


def go_on_training(content, folder):
    put(content, folder/"checkpoint.safetensors", folder/"model.safetensors")
    train(model(), episodes(), TrainingConfig(iterations=1, batch_size=2), 3, folder=folder,
          progress=False)


@cache
def episodes(): return collect(MAZE, 4, progress=False)


def dataset(name, **options):
    "One file of a dataset is crafted."
    def door(content, folder):
        manifest = storage.make_manifest(MAZE, episodes(), 0, "toy")
        storage.save_dataset(folder/"set", episodes(), manifest)
        put(content, folder/"set"/name)
        storage.load_dataset(folder/"set", MAZE, **options)
    return door


def growing(name):
    "One file of an interrupted collection is crafted."
    def door(content, folder):
        grown = storage.GrowingDataset(folder/"set", MAZE, 0, "TMazeExpert")
        grown.extend([episodes()], 8)
        put(content, grown.path/name)
        collect_to_disk(folder/"set", MAZE, 8, 0, 4, progress=False)
        storage.load_dataset(folder/"set", MAZE)
    return door


RECIPE = Recipe("DT", "tmaze", "dt", "smoke", 0, 3, DataSpec(4), dict(corridor_length=1))


def run_folder(content, folder):
    paths = Paths.under(folder)
    put(content, *(paths.run(RECIPE)/name for name in
                   ("recipe.json", "training.json", "model.safetensors", "checkpoint.safetensors")))
    runs.run(RECIPE, [], paths, progress=False)


def row(content, folder):
    put(content, Paths.under(folder).row(RECIPE))
    runs.run(RECIPE, [], Paths.under(folder), progress=False)


def note(content, folder):
    put(content, folder/"results"/"toys"/"smoke"/"data"/"note.json")
    results.noted(("toys", "smoke", "data"), "note", dict, Paths.under(folder))


def minari_set(name):
    def door(content, folder):
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
        minari.to_minari(episodes(), MAZE, "toy/maze-v0")
        put(content, folder/"toy"/"maze-v0"/"data"/name)
        minari.from_minari("toy/maze-v0")
    return door


def replay(content, folder):
    put(content, *(dqn_replay.array_path(folder, kind, 0)
                   for kind in (*dqn_replay.KINDS, "add_count")))
    try: dqn_replay.rows_of_this_round(folder, 0, 10)
    finally: list(dqn_replay._blocks(folder, 0))


def scenario(content, folder):
    path = scenario_path(6)
    before = path.read_bytes()
    put(content, path)
    assert scenario_path.__wrapped__(6).read_bytes() == before


DOORS = {**{f"generator, {name}": stage(name) for name in STAGE},
         "model": weights(load_model), "tensors": weights(load_tensors),
         "weights": weights(lambda path: load_weights(path, model())),
         "training": go_on_training, "run": run_folder, "row": row, "note": note,
         **{f"dataset, {name}": dataset(name)
            for name in ("observations.npy", "actions.npy", "lengths.npy", "manifest.json")},
         "dataset in memory": dataset("observations.npy", mmap=False, verify=False),
         **{f"collection, {name}": growing(name)
            for name in ("observations.npy", "actions.npy", "progress.json")},
         "Minari, episodes": minari_set("main_data.hdf5"),
         "Minari, facts": minari_set("metadata.json"),
         "DQN-replay": replay, "scenario of ViZDoom": scenario}


def outcome(door: str, payload: str, folder: Path) -> str:
    "Whether the command ran; if not, what came of reading: an error's words, or nothing."
    trap, told = folder/"trap", ""
    store = os.environ.get("MINARI_DATASETS_PATH", "")
    with patch.dict(os.environ, RATE_NB_TRAP=str(trap), MINARI_DATASETS_PATH=store), \
         contextlib.redirect_stderr(io.StringIO()):
        try: DOORS[door](payloads()[payload], folder/"read")
        except Exception as error: told = f"{type(error).__name__}: {error}"
    return "ran" if trap.exists() else told


UNREAD = {"scenario of ViZDoom", *(f"generator, {name}" for name in  # that nobody opens
                                   ("policy.zip", "scaling.pkl", "episodes.npz"))}


@pytest.mark.parametrize("door", DOORS)
def test_crafted_files_run_nothing(door, tmp_path):
    for number, payload in enumerate(payloads()):
        (folder := tmp_path/str(number)).mkdir()
        told = outcome(door, payload, folder)
        assert told != "ran", payload
        clear = told.startswith(tuple(f"{error.__name__}: " for error in CLEAR))
        assert told == "" if door in UNREAD else clear, (payload, told)
        assert len(told.splitlines()) < 2, (payload, told)


def test_the_trap_works(tmp_path, monkeypatch):
    monkeypatch.setenv("RATE_NB_TRAP", str(tmp_path/"trap"))
    run, arguments = Trap().__reduce__()
    run(*arguments)
    assert (tmp_path/"trap").exists()


# ---- files that name code ----

NAMES = ("os:system", "builtins:exec", "subprocess:run", "torch:os.system", "pickle:loads",
         "runpy:run_path", "importlib:import_module")


COMMANDS = [ # a task, and its options, in a recipe
    ("os:system", {"command": "touch $RATE_NB_TRAP"}),
    ("torch:os.system", {"command": "touch $RATE_NB_TRAP"}),
    ("subprocess:run", {"args": "touch $RATE_NB_TRAP", "shell": True}),
    ("builtins:exec", {"source": "import os; open(os.environ['RATE_NB_TRAP'], 'w')"}),
    ("fastcore.xtras:run", {"cmd": "sh -c 'touch $RATE_NB_TRAP'"})]


@pytest.mark.parametrize("task, options", COMMANDS)
def test_a_recipe_names_no_command(task, options, tmp_path, monkeypatch):
    monkeypatch.setenv("RATE_NB_TRAP", str(tmp_path/"trap"))
    told = RECIPE.config | {"task": task, "task_options": options}
    with pytest.raises(ValueError, match="is part of Python itself|name a subclass of Task"):
        recipe_task(recipe_from(told))
    assert not (tmp_path/"trap").exists()


@pytest.mark.parametrize("place", NAMES)
def test_a_file_does_not_name_pythons_own_functions(place, tmp_path):
    told = json.loads(json.dumps(RECIPE.config))
    with pytest.raises(ValueError, match="is part of Python itself"):
        recipe_task(recipe_from(told | {"task": place, "task_options": {}}))
    with pytest.raises(ValueError, match="is part of Python itself"):
        make_model(place, MAZE.observation_space, MAZE.action_space)
    box = {"kind": "Discrete", "n": 3, "start": 0}
    built = {"model": place, "place": place, "segment_length": 3, "options": {},
             "spaces": [box, box]}
    save_tensors(tmp_path/"model.safetensors", {"x": torch.zeros(1)}, built=built)
    with pytest.raises(ValueError, match="is part of Python itself"):
        load_model(tmp_path/"model.safetensors")


def test_the_environment_in_a_minari_set_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari.to_minari(episodes(), MAZE, "toy/maze-v0")
    (tmp_path/"crafted_env.py").write_text(f"open({str(tmp_path/'trap')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path/"toy"/"maze-v0"/"data"/"metadata.json"
    told = json.loads(path.read_text())
    spec = {"id": "Crafted-v0", "entry_point": "crafted_env:Env", "additional_wrappers": []}
    path.write_text(json.dumps(told | {"env_spec": json.dumps(spec)}))
    try: minari.from_minari("toy/maze-v0")
    except Exception as error: assert "entry_point" not in str(error)
    assert not (tmp_path/"trap").exists() and "crafted_env" not in sys.modules


# ---- nobody reads data with what can run code ----

RUNS_CODE = {("pickle", "load"), ("pickle", "loads"), ("pickle", "Unpickler"), ("torch", "load"),
             ("joblib", "load"), ("cloudpickle", "load"), ("cloudpickle", "loads"),
             ("dill", "load"), ("dill", "loads"), ("marshal", "load"), ("marshal", "loads"),
             ("shelve", "open"), ("pd", "read_pickle"), ("pd", "eval"), ("yaml", "load"),
             ("yaml", "unsafe_load"), ("PPO", "load"), ("SAC", "load"), ("VecNormalize", "load"),
             ("runpy", "run_path"), ("torch", "hub"), ("jit", "load")}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml", "runpy"}


def calls_that_run_code(source: str) -> list[str]:
    "What in a piece of Python could run code out of a file."
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if (name, node.attr) in RUNS_CODE: found.append(f"{name}.{node.attr}")
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BUILT_IN:
                found.append(node.func.id)
            for keyword in node.keywords:
                wanted = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not wanted: found.append("allow_pickle")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found += [f"{node.module}.{name.name}" for name in node.names
                      if name.name in ("load", "loads", "Unpickler", "run_path")]
    return found


def python_of(cell: dict) -> str:
    "A cell's code, without IPython's own lines."
    source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
    return "" if source.startswith("%%") else re.sub(r"(?m)^( *)[%!].*", r"\1pass", source)


def test_no_module_reads_code():
    found = {path.relative_to(ROOT).as_posix(): calls_that_run_code(path.read_text("utf-8"))
             for path in (ROOT/"rate_nb").rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_no_notebook_reads_code():
    # to pickle and unpickle an object in memory reads no file
    def calls_of(cell): return calls_that_run_code(python_of(cell).replace(
        "pickle.loads(pickle.dumps(", "(("))
    found = {(notebook_id(path), cell["id"]): calls_of(cell) for path in all_notebooks()
             for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
    assert {where: calls for where, calls in found.items() if calls} == {}


def test_the_scan_finds_what_it_should():
    for line in ("pickle.load(file)", "np.load(path, allow_pickle=True)", "torch.load(path)",
                 "stable_baselines3.PPO.load(path)", "VecNormalize.load(path, envs)", "eval(text)",
                 "from pickle import loads", "np.load(path, allow_pickle=trusted)",
                 "joblib.load(path)", "torch.jit.load(path)", "torch.hub.load(name)"):
        assert calls_that_run_code(line), line
    for line in ("model.eval()", "json.load(file)", "np.load(path, allow_pickle=False)",
                 "np.load(path)", "re.compile(text)", "torch.compile(model)", "pickle.dumps(1)"):
        assert not calls_that_run_code(line), line


if __name__ == "__main__":
    count = {}
    for door in DOORS:
        for payload in payloads():
            told = outcome(door, payload, Path(tempfile.mkdtemp()))
            kind = "ran" if told == "ran" else "no error" if not told else told.split(":")[0]
            count[kind] = count.get(kind, 0) + 1
            if "-v" in sys.argv and (kind not in ("ValueError", "FileNotFoundError")):
                print(f"{door}, {payload}: {told[:150]}")
    print(count, "of", len(DOORS)*len(payloads()))
