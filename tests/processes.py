"""What tests/test_distributed.py runs in several processes: `python processes.py CASE FOLDER`."""
import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from rate_nb.engine.checkpoints import load_tensors
from rate_nb.engine.recipes import Paths
from rate_nb.engine.runs import run, trained_model
from rate_nb.engine.study import find_study
from rate_nb.engine.sweeps import sweep
from rate_nb.models.sequence_model import make_model
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train
from rate_nb.trajectories import Trajectories

warnings.simplefilter("ignore")
BOX, MOVES = spaces.Box(-9, 9, (3,), np.float32), spaces.Discrete(4)
SMALL = {"rate": {"d_model": 16, "d_head": 8}, "dt": {"d_model": 16, "d_head": 8},
         "rmt": {"d_model": 16, "d_head": 8}, "bc_lstm": {"d_model": 16}, "bc_mlp": {}}


def data(lengths):
    rng = np.random.default_rng(0)
    return Trajectories.from_episodes([(rng.normal(size=(n, 3)).astype(np.float32),
                                        rng.integers(0, 4, n), np.ones(n)) for n in lengths])


def model(name, seed=0, dropout=0.):
    torch.manual_seed(seed)
    options = SMALL[name] | ({} if name.startswith("bc") else {"dropout": dropout,
                                                              "attention_dropout": dropout})
    return make_model(name, BOX, MOVES, segment_length=3, num_segments=4, **options)


def weights(net): return {name: tensor.tolist() for name, tensor in net.state_dict().items()}


def learn(folder, name="rate", lengths=(12, 3, 11, 2, 7, 12, 5, 1), seed=0, dropout=0.,
          iterations=4, batch_size=6, call=train, **more):
    "Trains a small model; tells its history, its weights."
    config = TrainingConfig(iterations=iterations, batch_size=batch_size, warmup=1,
                            **{key: more.pop(key) for key in ("bptt", "update", "segment_loss")
                               if key in more})
    net = model(name, seed, dropout)
    history = call(net, data(lengths), config, 12, folder, "same", log_every=1, progress=False,
                   **more)
    return {"losses": [row["loss"] for row in history if "loss" in row],
            "norms": [row["gradient_norm"] for row in history if "loss" in row],
            "scores": [row["score"] for row in history if "score" in row],
            "weights": weights(net)}


# ---- cases: each tells what this process found ----

def methods(folder):
    "Every kind of model, both ways to update, and gradients that reach over 1, 2 or all segments."
    return {f"{name}-{update}-{bptt}-{loss}": learn(folder/f"{name}{update}{bptt}{loss}", name,
                                                    bptt=bptt, update=update, segment_loss=loss)
            for name in SMALL for update, loss in (("batch", None), ("segment", "mean"))
            for bptt in (1, 2, 9)}


def own_start(folder):
    "Models that were not seeded alike."
    return learn(folder, seed=int(os.environ.get("RANK", 0)))


def scores(folder):
    "One process plays, while the others wait."
    played = []
    def score(iteration, net):
        played.append(iteration)
        return {"score": float(iteration)}
    told = learn(folder, checkpoint_every=2, on_checkpoint=score)
    return told | {"played": played, "logs": len(list(folder.rglob("events.out*")))}


def score_fails(folder):
    def score(iteration, net): raise OSError("the disk is full")
    try: learn(folder, on_checkpoint=score)
    except Exception as error: return f"{type(error).__name__}: {error}"


def too_small(folder):
    try: learn(folder, batch_size=1)
    except ValueError as error: return str(error)


def compiled(folder):
    "With how many graphs torch has compiled."
    return learn(folder) | {"graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"]}


SIX = dict(dropout=0.3, iterations=6, checkpoint_every=2)


def resumed(folder):
    "Undisturbed, and stopped after the second iteration; with dropout."
    def stops(iteration, net):
        if iteration == 2: raise OSError("stopped")
    whole = learn(folder/"whole", **SIX)
    try: learn(folder/"parts", on_checkpoint=stops, **SIX)
    except (OSError, RuntimeError): pass
    begun = load_tensors(folder/"parts"/"checkpoint.safetensors")[1]["iteration"]
    return {"begun": begun, "whole": whole, "parts": learn(folder/"parts", **SIX)}


def begun(folder):
    "Stopped after the third of five iterations."
    def stops(iteration, net):
        if iteration == 3: raise OSError("stopped")
    try: learn(folder, iterations=5, checkpoint_every=3, on_checkpoint=stops)
    except OSError: pass


def continued(folder): return learn(folder, iterations=5)


def own_folders(folder):
    "The second process does not see what the first one has done. Then the group is left."
    try: learn(folder/os.environ["RANK"] if second() else folder, iterations=5)
    except ValueError as error: told = str(error)
    torch.distributed.destroy_process_group()
    return {"told": told, "threads": [task.read_text() for task
                                      in Path("/proc/self/task").glob("*/comm")]}


def second(): return os.environ.get("RANK") == "1"
def killed(): os.kill(os.getpid(), signal.SIGKILL)


def killed_learning(folder):
    "The second process is killed after three iterations of six."
    batches = []
    def ends(batch):
        batches.append(batch)
        if len(batches) == 4 and second(): killed()
        return batch
    try: learn(folder, augment=ends, **SIX)
    except ConnectionError as error: return str(error)


def killed_evaluating(folder):
    "The second process is killed while it waits for the first one's evaluation."
    begun = folder/"begun"
    def wait():
        while not begun.exists(): time.sleep(0.05)
        killed()
    def evaluate(iteration, net):
        begun.touch()
        time.sleep(1)
    if second(): threading.Thread(target=wait, daemon=True).start()
    try: learn(folder, on_checkpoint=evaluate, **SIX)
    except ConnectionError as error: return str(error)


def finished(folder): return learn(folder, **SIX)


def study(folder):
    "A study by several processes."
    recipe, asked = find_study("tmaze").plan("figure 5", "smoke")[0]
    told = []
    for call in (lambda: run(recipe, asked, Paths.under(folder)),
                 lambda: sweep([(recipe, asked)], Paths.under(folder)),
                 lambda: trained_model(recipe, Paths.under(folder))):
        try: call()
        except RuntimeError as error: told.append(str(error))
    return told


def refused(folder):
    "What the environment says makes no sense."
    try: learn(folder)
    except ValueError as error: return str(error)


def tmaze(folder):
    "The README's model, in the precision that the environment says: successes of 100 at 9600."
    from rate_nb import Agent, collect, make_task, play
    torch.set_num_threads(1)
    task, told = make_task("tmaze", corridor_length=(1, 13)), []
    episodes, corridor = collect(task, 1000, progress=False), make_task("tmaze",
                                                                        corridor_length=9600)
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = make_model("rate", task.observation_space, task.action_space, segment_length=3,
                         num_segments=5, double_residual=False, dropout=0.1)
        config = TrainingConfig(iterations=450, learning_rate=2e-3, bptt=5, seed=seed,
                                curriculum=((200, 8), (250, 11)))
        train(net, episodes, config, 15, folder/str(seed), progress=False)
        played = play(Agent(net, corridor.target_return), corridor, episodes=100, seed=1)
        told.append(played.success_rate)
    return told


TOGETHER = methods, own_start, scores, score_fails, too_small, resumed


def one_after_the_other(folder):
    "Many trainings in one process."
    return {case.__name__: case(folder/case.__name__) for case in TOGETHER}


if __name__ == "__main__":
    case, folder = sys.argv[1], Path(sys.argv[2])
    told = globals()[case](folder/"training")
    (folder/f"told-{os.environ.get('RANK', 0)}.json").write_text(json.dumps(told))
