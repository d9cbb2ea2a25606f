"""A training that is killed, wherever it is, is continued by the same call to the same bits; and a
model that was saved comes back in a process that knows nothing of it."""
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT
from gymnasium import spaces
from rate_nb.engine.checkpoints import load_model, load_tensors, load_weights
from rate_nb.engine.collection import get_dataset
from rate_nb.envs.tmaze.task import TMaze
from rate_nb.models.sequence_model import make_model
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train
from rate_nb.trajectories import Trajectories

TRAINING = TrainingConfig(iterations=40, batch_size=16, warmup=10)


def toy_data() -> Trajectories:
    rng = np.random.default_rng(0)
    def episode(length):
        seen = rng.normal(size=(length, 4)).astype(np.float32)
        return seen, np.full(length, seen[0, 0] > 0, dtype=np.int64), np.ones(length)
    return Trajectories.from_episodes(episode(length) for length in rng.integers(1, 31, 100))


def toy_model():
    torch.manual_seed(0)
    return make_model("rate", spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(4),
                      segment_length=10, d_model=16, d_head=8, memory_tokens=2)


def learn(folder: Path, **options):
    "The toy model, trained, or trained on; both functions above are all that a process needs."
    torch.set_num_threads(1)
    model = toy_model()
    train(model, toy_data(), TRAINING, 30, folder, checkpoint_every=10, progress=False, **options)
    return model


def run(script: str, folder: Path, *arguments, path: Path | None = None):
    "A process of its own, that may import this module, and those of a folder."
    paths = os.pathsep.join(map(str, (ROOT, ROOT/"tests", *([path] if path else []))))
    return subprocess.run([sys.executable, "-c", script, *map(str, (folder, *arguments))],
                          capture_output=True, text=True, cwd=folder,
                          env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})


def same_weights(one, other) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory): return learn(tmp_path_factory.mktemp("undisturbed"))

# ---- killed ----

DIE = "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"

VICTIM = '''
import os, signal, sys
from pathlib import Path
from test_kills import learn
''' + DIE

IN_A_BATCH = VICTIM + '''
batches = []
def augment(batch):
    batches.append(batch)
    if len(batches) == 26: die()
    return batch
learn(Path(sys.argv[1]), augment=augment)
'''

WRITING = VICTIM + '''
from rate_nb.core import files
replace, number = os.replace, []
def dies_the_third_time(*paths):
    number.append(1)
    if len(number) == 3: die()
    replace(*paths)
files.os.replace = dies_the_third_time
learn(Path(sys.argv[1]))
'''

OBSERVING = VICTIM + '''
learn(Path(sys.argv[1]), on_checkpoint=lambda iteration, model: die() if iteration == 20 else None)
'''


@pytest.mark.parametrize("script, iteration", [(IN_A_BATCH, 20), (WRITING, 20), (OBSERVING, 20)],
                         ids=["in a batch", "writing a checkpoint", "at a checkpoint"])
def test_killed_training_goes_on_to_the_same_bits(script, iteration, tmp_path, undisturbed):
    died = run(script, tmp_path)
    assert died.returncode == -signal.SIGKILL, died.stderr
    _, header = load_tensors(tmp_path/"checkpoint.safetensors")
    assert header["iteration"] == iteration
    assert not (tmp_path/"model.safetensors").exists()
    assert same_weights(learn(tmp_path), undisturbed)


STOPPED = VICTIM + '''
batches = []
def augment(batch):
    batches.append(batch)
    if len(batches) == 26: os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return batch
learn(Path(sys.argv[1]), augment=augment)
'''


@pytest.mark.parametrize("name, code", [("SIGINT", -signal.SIGINT), ("SIGTERM", -signal.SIGTERM)])
def test_stopped_training_goes_on_to_the_same_bits(name, code, tmp_path, undisturbed):
    "Ctrl-C, and how a batch system ends a job: the iteration is finished and saved."
    stopped = run(STOPPED, tmp_path, name)
    assert stopped.returncode == code, stopped.stderr
    assert load_tensors(tmp_path/"checkpoint.safetensors")[1]["iteration"] == 26
    assert same_weights(learn(tmp_path), undisturbed)


OFTEN = VICTIM + '''
import json, random, time
from dataclasses import replace
import test_kills
test_kills.TRAINING = replace(test_kills.TRAINING, iterations=400)
folder, kills, draw, trainings = Path(sys.argv[1]), int(sys.argv[2]), random.Random(0), 0
learn(folder/"undisturbed")
while kills:
    trainings += 1
    code = None
    while code != 0 and kills:
        if not (child := os.fork()):
            learn(folder/str(trainings))
            os._exit(0)
        time.sleep(draw.uniform(0.05, 0.5))
        os.kill(child, signal.SIGKILL)
        code = os.waitpid(child, 0)[1]
        assert code in (0, signal.SIGKILL), code
        kills -= code != 0
    learn(folder/str(trainings))
print(trainings)
'''


@pytest.mark.slow
def test_two_hundred_kills(tmp_path):
    "At random moments of trainings, each of which ends with the same bits."
    often = run(OFTEN, tmp_path, 200)
    assert often.returncode == 0, often.stderr
    wanted = load_weights(tmp_path/"undisturbed"/"model.safetensors", toy_model())
    for number in range(int(often.stdout)):
        found = load_weights(tmp_path/str(number + 1)/"model.safetensors", toy_model())
        assert same_weights(found, wanted)
    print(f"200 kills of {often.stdout.strip()} trainings: the same bits")

# ---- failed ----

def test_a_failed_training_closes_what_it_opened(tmp_path):
    "Threads, and files, those that are mapped into memory included. The first opens tqdm's thread."
    def fails(batch): raise OSError("the disk is gone")
    process, left = psutil.Process(), []
    task, data = TMaze(3), tmp_path/"data"
    for number in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            train(task.build_model(partial(make_model, "bc_mlp", segment_length=5)),
                  get_dataset(task, 20, 0, data, progress=False)[0], TRAINING, task.max_steps,
                  tmp_path/str(number), augment=fails, progress=False)
        opened = [*process.open_files(), *process.memory_maps()]
        left.append((threading.active_count(), process.num_fds(),
                     sum(str(tmp_path) in file.path for file in opened)))
    assert left[1] == left[2] and left[2][2] == 0

# ---- saved, and loaded elsewhere ----

SAVES = '''
import sys
from pathlib import Path
from gymnasium import spaces
from rate_nb.engine.checkpoints import save_model
from rate_nb.models.sequence_model import make_model, register_model
if len(sys.argv) > 3: register_model("mine", sys.argv[3])
seen = spaces.Dict({"view": spaces.Box(0, 1, (3,)), "door": spaces.Discrete(2, start=1)})
model = make_model(sys.argv[2], seen, spaces.Discrete(3), d_model=8)
save_model(Path(sys.argv[1])/"model.safetensors", model)
'''

LOADS = '''
import sys
from pathlib import Path
from rate_nb.engine.checkpoints import load_model
model = load_model(Path(sys.argv[1])/"model.safetensors")
print(type(model).__name__, model.observation_space, model.options)
'''

OWN = '''
from rate_nb.models.sequence_model import make_model
def tiny(observation_space, action_space, d_model):
    return make_model("bc_mlp", observation_space, action_space, d_model=d_model)
'''


def test_a_model_comes_back_in_another_process(tmp_path):
    assert run(SAVES, tmp_path, "rate").returncode == 0
    loaded = run(LOADS, tmp_path)
    assert loaded.stdout.startswith("RATE Dict('door': Discrete(2, start=1), 'view': Box(0.0, 1.0,")
    assert loaded.stdout.endswith("{'model': 'rate', 'd_model': 8}\n")


@pytest.mark.parametrize("names", [("mine", "my_models:tiny"), ("my_models:tiny",)],
                         ids=["registered", "by its place"])
def test_a_model_of_ones_own_comes_back_where_its_module_is(names, tmp_path):
    (tmp_path/"lib").mkdir()
    (tmp_path/"lib/my_models.py").write_text(OWN)
    saved = run(SAVES, tmp_path, *names, path=tmp_path/"lib")
    assert saved.returncode == 0, saved.stderr
    assert f"'model': '{names[0]}'" in run(LOADS, tmp_path, path=tmp_path/"lib").stdout
    refused = run(LOADS, tmp_path)
    assert "ValueError: the model in model.safetensors cannot be built here" in refused.stderr
    assert "there is no module 'my_models'" in refused.stderr


def test_a_trained_model_needs_its_file_alone(tmp_path):
    model = learn(tmp_path)
    assert same_weights(load_model(tmp_path/"model.safetensors"), model)
    assert same_weights(load_weights(tmp_path/"model.safetensors", toy_model()), model)
