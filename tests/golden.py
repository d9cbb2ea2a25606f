"""Golden numbers: what each model computes today, kept in golden.json.

`python tests/golden.py` adds cases that the file does not have. It changes no stored number, unless
`NUMERICS` is larger than the file's: then all numbers are computed anew. A change of any number is
a change of the models' arithmetic, and belongs together with a raised `NUMERICS`.

All is computed in float64, without dropout. Weights and data come from the raw bits of numpy's
PCG64, which numpy promises to keep, so that no generator of torch has a say."""
import json
import sys
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.spaces import Box
from rate_nb.core.spaces import array_space
from rate_nb.encoders import Quantities
from rate_nb.engine.provenance import NUMERICS
from rate_nb.memory import VALVES
from rate_nb.models.layers import LAYERS
from rate_nb.models.sequence_model import SequenceModel, accepted_options, make_model, model_names
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train, trajectory_losses
from rate_nb.trajectories import Segment, Trajectories

FILE = Path(__file__).with_name("golden.json")
STEPS, SEGMENT, SEGMENTS = (9, 8, 5), 3, 3  # of the episodes; K; N
LENGTH = SEGMENT*SEGMENTS
TRAINING = TrainingConfig(iterations=3, batch_size=3, learning_rate=1e-2, warmup=2)


# ---- cases: each is a model, its options, the spaces, and changes of the training ----

VECTOR, DISCRETE = Box(-1, 1, (4,)), spaces.Discrete(3)
SEEN = {"bytes": Box(0, 255, (2, 3), np.uint8), "image": Box(0, 255, (36, 36, 3), np.uint8),
        "grid": Box(0, 255, (3, 3, 2), np.uint8), "codes": spaces.MultiDiscrete([3, 4]),
        "parts": spaces.Dict(x=VECTOR, y=spaces.Discrete(5)), "quantities": Quantities(4)}
DONE = {"continuous": Box(-1, 1, (2,)), "several": spaces.MultiDiscrete([2, 3])}
OPTIONS = {  # options of `rate` that change what it computes
    "plain feed-forward": dict(skip_ffn=False, d_inner=6), "single residual":
    dict(double_residual=False), "cache": dict(cache_length=7, memory_sees_cache=True),
    "valve heads": dict(valve_heads=1), "no return": dict(see_return=False),
    "no action": dict(action_dropout=1.), "return scale": dict(return_scale=2.5),
    "as published": dict(same_start=True, tanh_action=True, tanh_return=True, head_bias=False)}
GRADIENTS = {"detached": dict(bptt=1, update="segment"),
             "segment means": dict(bptt=2, update="segment", segment_loss="mean")}


def moves_of(name: str) -> spaces.Space:
    "Whole numbers, or real ones for a model that takes no others."
    try: make_model(name, VECTOR, DISCRETE)
    except TypeError: return DONE["continuous"]
    return DISCRETE


def cases() -> dict[str, tuple]: # name -> model, options, spaces, changes of TRAINING
    "Every model, valve, layer, space and way to train. A new name of theirs is a new case."
    both, found = (VECTOR, DISCRETE), {}
    for name in model_names(): found[name] = name, {}, (VECTOR, moves_of(name)), {}
    for name in VALVES:
        tokens = {} if name != "keep" else dict(num_clues=2)
        found[f"valve {name}"] = "rate", dict(valve=name) | tokens, both, {}
    for name in LAYERS:
        for ffn in (False, True):
            options = dict(layer=name, skip_ffn=not ffn, cache_length=4)
            found[f"layer {name}, {'with' if ffn else 'no'} network"] = "rate", options, both, {}
    for name, options in OPTIONS.items(): found[name] = "rate", options, both, {}
    for name, space in SEEN.items(): found[f"sees {name}"] = "rate", {}, (space, DISCRETE), {}
    for name, space in DONE.items(): found[f"does {name}"] = "rate", {}, (VECTOR, space), {}
    for name in ("bc_mlp", "bc_lstm", "bc_gru"):
        found[f"{name} with past actions"] = name, dict(past_action=True), both, {}
    for name, changes in GRADIENTS.items(): found[f"gradients {name}"] = "rate", {}, both, changes
    return found


# ---- numbers that no generator draws ----

def numbers(name: str, shape: tuple) -> np.ndarray:
    "Numbers between -1 and 1, of which the name decides."
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(11))*2.**-52 - 1).reshape(shape)


def values(name: str, space: spaces.Space, steps: int) -> np.ndarray: # (steps, *shape)
    "Members of an array space."
    drawn = (numbers(name, (steps, *space.shape)) + 1)/2
    if isinstance(space, Box):
        low, high = (0, 255) if space.dtype == np.uint8 else (-1, 1)
        return (low + drawn*(high - low)).astype(space.dtype)
    sizes = space.n if isinstance(space, spaces.Discrete) else space.nvec
    return (drawn*sizes).astype(np.int64)


def parts(name: str, space: spaces.Space, steps: int) -> np.ndarray:
    "Members of a space as the model reads them; of a Dict its parts, one after the other."
    if not isinstance(space, spaces.Dict): return values(name, array_space(space), steps)
    inside = [np.eye(part.n)[values(name + key, part, steps)] if isinstance(part, spaces.Discrete)
              else values(name + key, part, steps) for key, part in space.items()]
    return np.concatenate(inside, -1).astype(np.float32)


def episodes(both: tuple) -> Trajectories:
    "Three episodes of other lengths."
    told = [(parts(f"observations {i}", both[0], steps), parts(f"actions {i}", both[1], steps),
             numbers(f"rewards {i}", (steps,))) for i, steps in enumerate(STEPS)]
    told = Trajectories.from_episodes(told, clues=[1, 0, 1])
    ends, last = np.array([True, False, True]), parts("observations after", both[0], len(STEPS))
    return replace(told, terminated=ends, truncated=~ends, last_observations=last)


@contextmanager
def float64():
    "One thread, and tensors of floats have double precision."
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try: yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


def small(name: str) -> dict:
    "Options for a tiny model without dropout, of those that it takes."
    wanted = dict(d_model=8, d_head=3, num_heads=2, num_layers=2, memory_tokens=2, dropout=0.,
                  attention_dropout=0., segment_length=SEGMENT, num_segments=SEGMENTS)
    return {key: value for key, value in wanted.items() if key in accepted_options(name)}


def build(name: str, options: dict, both: tuple) -> SequenceModel:
    "A model whose weights follow from their names and shapes."
    model = make_model(name, *both, **small(name) | options)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            drawn = torch.from_numpy(numbers(key, tuple(weight.shape)))
            if weight.ndim > 1: weight.copy_(1.5*drawn/max(1, weight.shape[1:].numel())**0.5)
            else: weight.copy_(0.3*drawn + (key.endswith("norm.weight")))
    return model


def double(batch: Segment) -> Segment:
    "The same in double precision, whole numbers as they are."
    return Segment(*(part.double() if torch.is_tensor(part) and part.is_floating_point() else part
                     for part in batch))


# ---- what is kept of a case ----

def summed(name: str, tensor: torch.Tensor) -> float:
    "A weighted sum in which every entry counts, each by another weight."
    return float((tensor.detach()*torch.from_numpy(numbers(name, tuple(tensor.shape)))).sum())


def outputs(model: SequenceModel, batch: Segment) -> list[float]:
    "Of each step of each episode, padding left out."
    whole = torch.cat([output for _, output in model.read(batch)], 1)
    length = batch.mask.sum(1).tolist()
    return [summed("output", whole[row, step]) for row in range(len(whole))
            for step in range(length[row])]


@torch.no_grad()
def acted(model: SequenceModel, batch: Segment) -> list[float]:
    "Of each step of the longest episode, one step at a time."
    state, found = model.eval().initial_state(1, batch.clue[:1] if model.num_clues else None), []
    for step in range(LENGTH):
        before = batch.action[:1, step - 1] if step else None
        output, state = model.step(batch.observation[:1, step], batch.return_to_go[:1, step],
                                   before, state)
        found.append(summed("output", output[0]))
    return found


def gradients(model: SequenceModel, batch: Segment, config: TrainingConfig) -> dict[str, float]:
    model.zero_grad()
    for loss in trajectory_losses(model, batch, config.bptt, config.segment_loss): loss.backward()
    return {name: summed(name, weight.grad) for name, weight in model.named_parameters()
            if weight.grad is not None}


def trained(model: SequenceModel, data: Trajectories, config: TrainingConfig) -> dict:
    "Losses and norms of three steps of `train`, and the weights after them."
    with tempfile.TemporaryDirectory() as folder:
        history = train(model, data, config, LENGTH, folder, log_every=1, augment=double,
                        progress=False)
    return {"losses": [line["loss"] for line in history],
            "norms": [line["gradient_norm"] for line in history],
            "weights": {name: summed(name, weight) for name, weight in model.named_parameters()}}


def compute(case: tuple) -> dict:
    "All numbers of a case."
    name, options, both, changes = case
    config = TrainingConfig(**{field.name: getattr(TRAINING, field.name)
                               for field in fields(TRAINING)} | changes)
    torch.manual_seed(0) # of models that draw actions
    with float64():
        model, data = build(name, options, both), episodes(both)
        learned = data.batch([0, 1, 2], LENGTH, outcomes=model.needs_outcomes)
        batch = double(learned._replace(outcome=None))
        return {"outputs": outputs(model.eval(), batch), "acted": acted(model, batch),
                "gradients": gradients(model.train(), double(learned), config),
                "training": trained(model, data, config)}


# ---- the file ----

def leaves(told, where: str = "") -> dict[str, float]:
    "Numbers by their place in nested dicts and lists."
    if isinstance(told, float): return {where: told}
    pairs = told.items() if isinstance(told, dict) else enumerate(told)
    return {name: number for key, part in pairs
            for name, number in leaves(part, f"{where}/{key}").items()}


def differences(found: dict, stored: dict) -> list[str]:
    "Places whose numbers differ by more than 1e-9, relative to numbers above 1."
    found, stored = leaves(found), leaves(stored)
    told = [f"{place} is there in one of them only" for place in found.keys() ^ stored.keys()]
    return told + [f"{place}: {found[place]!r}, not {stored[place]!r}"
                   for place in found.keys() & stored.keys()
                   if not abs(found[place] - stored[place]) <= 1e-9*max(1, abs(stored[place]))]


def read(path: Path = FILE) -> dict:
    if not path.exists(): return {"numerics": NUMERICS, "cases": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def renew(path: Path = FILE, wanted: dict[str, tuple] | None = None, # None: all cases
         ) -> list[str]: # names of the cases that were computed
    "Add what is missing; with a raised `NUMERICS`, compute all. ValueError if it was lowered."
    stored, wanted = read(path), cases() if wanted is None else wanted
    if stored["numerics"] > NUMERICS:
        raise ValueError(f"{path.name} is of arithmetic {stored['numerics']}, and NUMERICS is "
                         f"{NUMERICS}: it only rises")
    if stored["numerics"] < NUMERICS: stored = {"numerics": NUMERICS, "cases": {}}
    missing = [name for name in wanted if name not in stored["cases"]]
    for name in missing: stored["cases"][name] = compute(wanted[name])
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(told)}"
                       for name, told in sorted(stored["cases"].items()))
    path.write_text(f'{{"numerics": {stored["numerics"]}, "cases": {{\n{lines}\n}}}}\n',
                    encoding="utf-8")
    return missing


if __name__ == "__main__":
    added = renew()
    print(f"{len(added)} cases added" + (f": {', '.join(added)}" if added else ""))
    wrong = [name for name, case in cases().items()
             if differences(compute(case), read()["cases"][name])]
    if wrong: sys.exit(f"{', '.join(wrong)}: other numbers than stored. If the arithmetic is to "
                       "change, raise NUMERICS (nbs/engine/provenance.ipynb) and run this again")
