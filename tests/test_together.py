"""Two processes that want the same at once: each gets its answers, none is lost, and what both need
is made once."""
import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from conftest import ROOT

ROUNDS = 20

BOTH = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from rate_nb.engine import collection, runs, sweeps
from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe
from rate_nb.engine.results import noted
from rate_nb.core.training_config import TrainingConfig

folder, rounds, me = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
done, said = [], {}
play, train = collection.play_round, runs.train
collection.play_round = lambda *args: done.append("collected") or play(*args)
runs.train = lambda *args, **options: done.append("trained") or train(*args, **options)
tiny = Recipe(name="BC", task="tmaze", model="bc_mlp", preset="smoke", seed=0, length=6,
              data=DataSpec(20), task_options={"corridor_length": [1, 4]},
              model_options=dict(segment_length=2, d_model=8),
              training=TrainingConfig(iterations=2, batch_size=8, warmup=1))
lengths = ((2, 3), (4, 5))[me]
ask = [Measurement("play", dict(episodes=2, corridor_length=length)) for length in lengths]

def together(name): # both begin at the same moment
    (folder/f"{name}-{me}").touch()
    while not (folder/f"{name}-{1 - me}").exists(): time.sleep(0.001)

def ask_a_run(number, paths):
    runs.run(replace(tiny, seed=number), ask, paths, progress=False)

def sweep(number, paths): # each recipe stands there twice
    plan = [(replace(tiny, seed=seed), [question]) for question in ask for seed in range(rounds)]
    sweeps.sweep(plan, paths, jobs=1, progress=False)

def see_through_an_encoder(number, paths): # both recipes through the same
    seen = dict(base="tmaze", encoder=replace(tiny, seed=number).config, **tiny.task_options)
    mine = replace(tiny, task="encoded", task_options=seen, seed=number + 100*me)
    runs.trained_model(mine, paths, progress=False)

def note(number, paths):
    def make(): return done.append("made") or time.sleep(0.01) or {"by": me}
    found = noted(("race", "smoke", "controls"), f"note {number}", make, paths)
    done.append(found["by"])

for work, times in ((ask_a_run, rounds), (sweep, 1), (see_through_an_encoder, rounds),
                    (note, rounds)):
    done.clear()
    for number in range(times):
        together(f"{work.__name__}-{number}")
        work(number, Paths.under(folder/work.__name__))
    said[work.__name__] = list(done)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    "The folder, and what each of the two processes did, by its work."
    folder = tmp_path_factory.mktemp("both")
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BOTH, str(folder), str(ROUNDS)]
    pair = [subprocess.Popen([*command, str(me)], env=env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for me in (0, 1)]
    said = [process.communicate() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said[0][1] + said[1][1]
    return folder, [json.loads(output.splitlines()[-1]) for output, _ in said]


def counted(both, work) -> Counter:
    "What the two did, together."
    _, (first, second) = both
    return Counter(first[work] + second[work])


@pytest.mark.parametrize("work", ["ask_a_run", "sweep"])
def test_no_answer_is_lost(work, both):
    "The same recipes with other questions; a sweep holds each of them twice."
    rows = (both[0]/work/"results").glob("*/*/*.json")
    answers = [len(json.loads(path.read_text())["measurements"]) for path in rows]
    assert answers == [4]*ROUNDS
    assert counted(both, work) == {"trained": ROUNDS, "collected": 1}


def test_an_encoder_is_trained_once(both):
    assert counted(both, "see_through_an_encoder")["trained"] == 3*ROUNDS


def test_both_read_the_same_note(both):
    assert counted(both, "note")["made"] == ROUNDS
    first, second = ([by for by in said["note"] if by != "made"] for said in both[1])
    assert first == second
