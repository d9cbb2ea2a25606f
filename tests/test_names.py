"""What becomes part of a path is a name: `../x` or `a/b` is refused at every door, in one line.

`python tests/test_names.py` counts what is accepted, for this or for another version."""
import contextlib
import io
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from rate_nb.engine import cli, results, speed, storage, style
from rate_nb.engine.minari import from_minari, to_minari
from rate_nb.engine.recipes import DataSpec, Paths, Recipe
from rate_nb.engine.study import find_study
from rate_nb.engine.tasks import make_task
from rate_nb.envs.atari.dqn_replay import replay_folder
from rate_nb.envs.mujoco.generator import generator_folder
from rate_nb.envs.tmaze.task import TMaze
from rate_nb.models.sequence_model import make_model
from rate_nb.paper import load_table

BAD = ["../x", "a/b", "/etc/passwd", "", " ", ".", "..", "...", "x\0", "a\\b", "..\\x", "C:\\x",
       "C:x", "a\nb", "~", "~root", ".hidden", "a" * 300, "\ud800"]
STUDY = find_study("tmaze")
FIELDS = dict(name="RATE", task="tmaze", model="rate", preset="smoke", seed=0, length=9,
              data=DataSpec(10))


def recipe(**names): return Paths().row(Recipe(**FIELDS | names))


def control(name):
    study = replace(STUDY, controls={name: lambda preset, paths: {"success": 1.}})
    return study.control_scores("smoke", Paths.under("store"))


def figure(name):
    import matplotlib.pyplot as plt
    fig = plt.figure()
    try: return style.save_figure(fig, "figures", name, ("png",))
    finally: plt.close(fig)


def dataset(name):
    class Renamed(TMaze): pass
    Renamed.name = name
    return storage.dataset_folder(Renamed(3), 10, 0, "data")


def run_program(*words):
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try: code = cli.main(list(words))
        except SystemExit as stop: code = stop.code
    if code: raise ValueError(told.getvalue().strip())


def measured(save):
    with patch.object(speed, "measure_all", lambda *options: {"speed": 1}), \
         patch("rate_nb.Paths.under", lambda folder=None: Paths("results", "runs", "data")):
        run_program("speed", "--save", save)


def speed_report(name):
    with patch.object(speed, "measure_all", lambda: {"speed": 1}), \
         patch.object(speed.Paths, "under", lambda folder=None: Paths("results", "runs", "data")):
        speed.main(name)


def minari(use):
    def door(name):
        with patch.dict(os.environ, MINARI_DATASETS_PATH=os.path.abspath("minari")):
            os.makedirs("minari", exist_ok=True)
            use(name)
    return door


def robot(name): return SimpleNamespace(environment=name, stage_steps=2048)


DOORS = { # where a name comes in -> what takes it
    "recipe's name": lambda name: recipe(name=name),
    "recipe's task": lambda name: recipe(task=name),
    "recipe's model": lambda name: recipe(model=name),
    "recipe's preset": lambda name: recipe(preset=name),
    "recipe's study": lambda name: recipe(study=name) if name else recipe(study=" "),
    "note": lambda name: results.noted(("toys", "smoke", "data"), name, lambda: {"a": 1},
                                       Paths.under(Path("kept"))),
    "study of a note": lambda name: results.noted((name, "smoke", "data"), "n", lambda: {"a": 1},
                                                  Paths.under(Path("kept"))),
    "dataset": dataset,
    "figure": figure,
    "study": lambda name: replace(STUDY, name=name),
    "preset": lambda name: replace(STUDY, presets={name: STUDY.presets["smoke"]}),
    "method": lambda name: replace(STUDY, methods=STUDY.methods | {name: STUDY.methods["RATE"]}),
    "control": control,
    "experiment": lambda name: STUDY.plan(name, "smoke"),
    "preset of a plan": lambda name: STUDY.plan("figure 5", name),
    "study to find": find_study,
    "table of the paper": load_table,
    "task to make": make_task,
    "model to make": lambda name: make_model(name, TMaze(3).observation_space,
                                             TMaze(3).action_space),
    "game": lambda name: replay_folder(name, 1),
    "generator": lambda name: generator_folder(robot(name), 0, Path("data")),
    "Minari set to read": minari(from_minari),
    "Minari set to write": minari(lambda name: to_minari(None, TMaze(3), name)),
    "speed report": speed_report,
    "rate-nb speed --save": lambda name: measured(name or " "),
    "rate-nb repro": lambda name: run_program("repro", name, "--preset", "smoke"),
    "rate-nb repro --preset": lambda name: run_program("repro", "tmaze", "--preset", name),
    "rate-nb repro --notebook": lambda name: run_program("repro", name, "--notebook"),
    "rate-nb collect": lambda name: run_program("collect", name),
    "rate-nb train, model": lambda name: run_program("train", "tmaze", name),
    "rate-nb train, task": lambda name: run_program("train", name, "rate")}


def outcome(door: str, name: str) -> str:
    "What a door makes of a name: accepted, refused in one line, or an error of somebody else."
    with patch("rate_nb.engine.minari.check_store", lambda trajectories: None), \
         contextlib.redirect_stdout(io.StringIO()):
        try: DOORS[door](name)
        except (ValueError, TypeError) as error:
            words = str(error)
            clear = len(words.splitlines()) == 1 and ": " in words
            return "refused" if clear else f"unclear: {type(error).__name__}: {words[:200]}"
        except Exception as error:
            return f"unclear: {type(error).__name__}: {str(error)[:200]}"
    return "accepted"


@pytest.mark.parametrize("door", DOORS)
def test_bad_names_are_refused(door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATE_DQN_REPLAY", str(tmp_path))
    found = {name: outcome(door, name) for name in BAD}
    assert {name: told for name, told in found.items() if told != "refused"} == {}
    left = [path for path in tmp_path.rglob("*") if path.name != "minari"]
    assert left == [] and not (tmp_path.parent/"x").exists()


def test_good_names_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RATE, detached", "v1.5", "Größe"):
        for door in ("recipe's name", "recipe's preset", "note", "figure", "study"):
            assert outcome(door, name) == "accepted"


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp(dir=tempfile.mkdtemp()))
    os.environ["RATE_DQN_REPLAY"] = os.getcwd()
    found = {(door, name): outcome(door, name) for door in DOORS for name in BAD}
    kinds = [told.split(":")[0] for told in found.values()]
    print({kind: kinds.count(kind) for kind in sorted(set(kinds))}, "of", len(found))
    for (door, name), told in found.items():
        if told != "refused" and "-v" in sys.argv: print(f"{door} {name[:9]!r}: {told!a}")
