"""A sweep whose runs or processes are lost: the others end, and nothing that ended is lost."""
from dataclasses import replace
from pathlib import Path

import pytest

from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe
from rate_nb.engine.runs import load_rows, sweep
from rate_nb.training import TrainingConfig

HERE = str(Path(__file__).resolve().parent)
SMALL = Recipe(name="RATE", task="tmaze", model="rate", preset="smoke", seed=0, length=6,
               task_options={"corridor_length": 5}, data=DataSpec(20),
               model_options={"segment_length": 3, "d_model": 16, "d_head": 8},
               training=TrainingConfig(iterations=3, warmup=1, batch_size=4))


def test_killed_process(tmp_path, monkeypatch):
    "One of two runs kills its process each time; the sweep says so, and the other one has its row."
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", HERE, prepend=":")
    plan = [(replace(SMALL, seed=seed), [Measurement("lethal:measure_end")]) for seed in (0, 1)]
    paths = Paths.under(tmp_path)
    with pytest.raises(RuntimeError, match="failed twice") as told:
        sweep(plan, paths, progress=False)
    assert "seed 1" in str(told.value) and "its process was killed" in str(told.value)
    for _ in range(2): # the other may have been killed with it; the same call goes on
        try: sweep(plan[:1], paths, progress=False)
        except RuntimeError: pass
    answered = {row["recipe"]["seed"]: len(row["measurements"])
                for row in load_rows("tmaze", "smoke", paths)}
    assert answered == {0: 1, 1: 0} # the other was trained, and that is kept
