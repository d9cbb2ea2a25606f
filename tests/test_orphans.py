"""A process that started others is ended, so that it can tell them nothing: soon none of them is
left. It takes less than three seconds, and more on a machine that is busy with other tests."""
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import ROOT
from rate_nb.engine.checkpoints import load_tensors

SWEEP = """
import sys
from dataclasses import replace
from rate_nb.engine.recipes import DataSpec, Paths, Recipe
from rate_nb.engine.sweeps import sweep
from rate_nb.core.training_config import TrainingConfig

endless = Recipe(name="BC", task="tmaze", model="bc_mlp", preset="smoke", seed=0, length=6,
                 data=DataSpec(20), task_options={"corridor_length": [1, 4]},
                 model_options=dict(segment_length=2, d_model=8),
                 training=TrainingConfig(iterations=10**6, batch_size=8, warmup=1))
if __name__ == "__main__":
    plan = [(replace(endless, seed=seed), []) for seed in (0, 1)]
    sweep(plan, Paths.under(sys.argv[1]), progress=False)
"""

# environments that are shared out among processes, and are stepped all the time
ENVIRONMENTS = """
import sys
from pathlib import Path
from rate_nb.engine.workers import WorkerVectorEnv
from rate_nb.envs.tmaze.task import TMaze

task = TMaze((1, 28))
if __name__ == "__main__":
    env = WorkerVectorEnv(task.make_env, 4, task.observation_space, task.action_space,
                          {"clue": ((), int), "corridor_length": ((), int)}, num_workers=2)
    env.reset(seed=0)
    (Path(sys.argv[1])/"plays").touch()
    while True: env.step([0]*4)
"""

# what there is when all processes are at work; how many processes the parent has started
KINDS = {"sweep": (SWEEP, "runs/*/*/*/checkpoint.safetensors", 2, 4),
         "environments": (ENVIRONMENTS, "plays", 1, 2)}


def lives(process) -> bool:
    "A zombie has ended; nobody has asked for its exit code."
    try: return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess: return False


def left_alone(kind, name, folder) -> list[str]:
    "The commands of the processes that live long after a signal to their parent."
    script, pattern, number, children = KINDS[kind]
    path, env = folder/"parent.py", os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    path.write_text(script)
    parent = subprocess.Popen([sys.executable, path, folder], env=env, stderr=subprocess.DEVNULL)
    while len(list(folder.glob(pattern))) < number:
        assert parent.poll() is None, f"the {kind} ended by itself"
        time.sleep(0.05)
    started = psutil.Process(parent.pid).children(recursive=True)
    assert len(started) >= children
    parent.send_signal(getattr(signal, name))
    parent.wait()
    deadline = time.monotonic() + 10
    while (left := [process for process in started if lives(process)]):
        if time.monotonic() > deadline: break
        time.sleep(0.05)
    said = [" ".join(process.cmdline()) for process in left]
    for process in left: process.kill()
    return said


def saved_when_alone(folder) -> int:
    "How many trainings have saved between two regular checkpoints, of which there is one in 200."
    checkpoints = folder.glob("runs/*/*/*/checkpoint.safetensors")
    return sum(load_tensors(path)[1]["iteration"] % 200 != 0 for path in checkpoints)


@pytest.mark.parametrize("kind, name", [("sweep", "SIGKILL"), ("sweep", "SIGTERM"),
                                        ("environments", "SIGKILL")])
def test_nobody_is_left_alone(kind, name, tmp_path):
    assert left_alone(kind, name, tmp_path) == []
    assert saved_when_alone(tmp_path) > 0 or kind != "sweep"


@pytest.mark.slow
def test_nobody_is_left_alone_by_twenty_sweeps(tmp_path):
    "Trainings whose sweep is gone save what they have, as after Ctrl-C."
    saved = 0
    for number in range(20):
        (folder := tmp_path/str(number)).mkdir()
        assert left_alone("sweep", ("SIGKILL", "SIGTERM")[number % 2], folder) == []
        saved += saved_when_alone(folder)
    print(f"20 sweeps killed, {saved} of 40 trainings saved")
    assert saved > 30
