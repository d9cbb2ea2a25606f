"""Nonsense is refused by name, or it is none.

Every scalar field and argument of what users call meets NaN, infinity, negative, huge and
fractional numbers, zero, and values of other types. THINGS says what is called, with which small
valid arguments, and how the result is used. Which arguments there are, and which values suit them
badly, follows from signatures. A bad value must end in an error of rate_nb's own wording that names
the argument. Or the thing is used and what comes out is right; but never for a value of a type that
the signature does not allow. numpy's numbers must do what Python's do.
"""
import functools
import gzip
import importlib
import inspect
import itertools
import json
import linecache
import math
import pkgutil
import re
import resource
import signal
import tempfile
import types
import typing
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, fields, is_dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import rate_nb
import torch
import torch._dynamo # optimizers import it when they are first made: not within limits of time
from conftest import ROOT
from gymnasium import spaces
from PIL import Image
from rate_nb import memory
from rate_nb.analysis import aggregates, probes, scaling
from rate_nb.engine import costs, figures, maps, speed, style
from rate_nb.engine import measurements, recipes, runs, sweeps, verdicts
from rate_nb.envs.atari import dqn_replay
from rate_nb.envs.atari import task as atari
from rate_nb.envs.atari.expert import AtariExpert
from rate_nb.envs.atari.labels import AtariLabels
from rate_nb.envs.memory_maze import task as memory_maze
from rate_nb.envs.minigrid import expert as minigrid_expert
from rate_nb.envs.minigrid import maze as minigrid_maze
from rate_nb.envs.memory_maze.expert import MemoryMazeExpert
from rate_nb.envs.memory_maze.labels import MemoryMazeLabels, MemoryMazeLabeller
from rate_nb.envs.minigrid import task as minigrid
from rate_nb.envs.mujoco import generator as generators
from rate_nb.envs.mujoco import task as mujoco
from rate_nb.envs.retrieval import task as retrieval
from rate_nb.envs.tmaze import task as tmaze
from rate_nb.envs.vizdoom import task as vizdoom
from rate_nb.envs.vizdoom.expert import TwoColorsExpert
from rate_nb.acting import Agent
from rate_nb.engine.collection import collect, collect_to_disk, first_seed, get_dataset
from rate_nb.engine.storage import dataset_folder, load_dataset
from rate_nb.encoders import Quantities
from rate_nb.evaluation import (ExpertAgent, RandomAgent, bootstrap_interval, play, seed_interval,
                                success_interval)
from rate_nb.engine.encoded import EncodedTask, encoded_source
from rate_nb.engine.fit import measure_fit
from rate_nb.engine.imitation import imitation_scores
from rate_nb.engine.rollouts import rollout_video
from rate_nb.core.frames import FrameStacks, stacked
from rate_nb.models.rate_config import RATEConfig
from rate_nb.rate import RATE
from rate_nb.envs.tmaze.study import STUDY
from rate_nb.engine.results import say_scores
from rate_nb.engine.streams import whole_range
from rate_nb.engine.study import Method, Preset
from rate_nb.models.sequence_model import make_model, model_builder, model_names
from rate_nb.engine.tasks import Task, make_task
from rate_nb.engine.vector import play_both
from rate_nb.engine.workers import WorkerVectorEnv
from rate_nb.core.training_config import TrainingConfig
from rate_nb.engine.batch_order import batch_indices
from rate_nb.training import train, trajectory_losses
from rate_nb.core.windows import Windows
from rate_nb.trajectories import Segment, Trajectories, split_segments
from test_all_models import moves_of

# ---- bad values, by the type that a signature asks for ----

NUMBERS = {"nan": math.nan, "inf": math.inf, "negative": -1, "zero": 0, "huge": 10**9,
           "fraction": 2.5, "text": "3", "none": None, "true": True, "list": [1]}
BAD = {
    int: NUMBERS,
    float: NUMBERS,
    bool: {"one": 1, "zero": 0, "nan": math.nan, "text": "no", "none": None, "list": [True]},
    str: {"unknown": "no such", "empty": "", "number": 3, "nan": math.nan, "none": None,
          "true": True, "list": ["a"]},
    tuple: {"number": 3, "text": "ab", "none": None, "nan inside": (math.nan,),
            "text inside": ("3",), "true inside": (True,)},
    dict: {"number": 3, "text": "ab", "none": None, "list": [1]},
    Path: {"number": 3, "nan": math.nan, "none": None, "true": True, "list": ["a"]}}
ACCEPTED = {int: int, float: (int, float), bool: bool, str: str, tuple: (tuple, list), dict: dict,
            Path: (str, Path)}
NUMPY = {int: np.int64, float: np.float32, bool: np.bool_}
AMOUNTS = {"num_trajectories", "episodes", "steps", "repeats"} # of work: much takes long


def kinds(annotation) -> set:
    "The types of BAD that an annotation allows, None for itself; nothing for arrays and the like."
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return set().union(*map(kinds, typing.get_args(annotation)))
    if annotation in (None, types.NoneType): return {None}
    plain = typing.get_origin(annotation) or annotation
    return {plain} if isinstance(plain, type) and plain in BAD else set()


def fits(value, allowed: set) -> bool:
    "Whether a value is of one of these types. NaN is no number, and True is none."
    if value is None or isinstance(value, bool): return (None if value is None else bool) in allowed
    if isinstance(value, float) and math.isnan(value): return False
    return any(isinstance(value, ACCEPTED[kind]) for kind in allowed - {None, bool})


def bad_values(argument: str, allowed: set) -> dict:
    "name -> value"
    values = {name: value for kind in BAD if kind in allowed for name, value in BAD[kind].items()}
    if None in allowed: values.pop("none")
    if argument in AMOUNTS: values.pop("huge", None)
    return values

# ---- what users call ----

@dataclass
class Thing:
    call: Callable  # whose signature counts
    use: Callable   # takes the same arguments, checks what comes out, returns something to compare
    valid: dict     # small valid arguments, at least those without a default
    words: dict     # argument -> pattern by which errors may name it as well
    but: tuple      # arguments that are tested elsewhere

    @functools.cached_property
    def arguments(self) -> dict:
        """Scalar arguments: name -> allowed types.

        Paths and dicts count in dataclasses, which keep them for later; in a function Python's own
        error comes at once."""
        parameters = inspect.signature(self.call, eval_str=True).parameters.values()
        found = {one.name: kinds(one.annotation) for one in parameters if one.name not in self.but}
        late = set() if is_dataclass(self.call) else {Path, dict}
        return {name: allowed for name, allowed in found.items()
                if allowed - {None} and not allowed & late}

    def value(self, argument: str):
        "A valid one."
        return self.valid.get(argument, inspect.signature(self.call).parameters[argument].default)


THINGS = {}


def thing(call: Callable, label: str | None = None, words: dict | None = None, but: tuple = (),
          **valid) -> Callable:
    "Declares what is called; the decorated function is its use."
    def add(use):
        THINGS[label or call.__name__] = Thing(call, use, valid, words or {}, but)
        return use
    return add


# -- small things to play with --

PLACE, NUMBER = tempfile.TemporaryDirectory(prefix="rate_nb-validation-"), itertools.count()
TINY = dict(d_model=8, num_layers=1, num_heads=1, d_head=4, segment_length=3, memory_tokens=2,
            valve_heads=1)
CORRIDOR, ROOM = tmaze.TMaze(3), minigrid.MinigridMemory(size=7, max_steps=6)


def folder(name: str | None = None) -> Path:
    "A folder of this name, or one that nobody had before."
    return Path(PLACE.name) / (name or f"number {next(NUMBER)}")


def finite(values):
    "The same values."
    assert np.isfinite(np.asarray(values, float)).all(), values
    return values


def build(name: str, **options):
    torch.manual_seed(0)
    return make_model(name, CORRIDOR.observation_space, moves_of(name), **options)


@functools.cache
def model(): return build("rate", **TINY).eval()


@functools.cache
def data() -> Trajectories: return collect(CORRIDOR, 4, progress=False)


def segment(steps: int) -> Segment:
    "Two rows of real steps."
    observation = torch.linspace(-1, 1, 2*steps*4).reshape(2, steps, 4)
    return Segment(observation, torch.zeros(2, steps, dtype=torch.long), torch.ones(2, steps),
                   torch.ones(2, steps, dtype=torch.bool), torch.zeros(2, dtype=torch.long))


@torch.no_grad()
def outputs(model) -> list:
    "Of two segments, and of three steps one by one."
    whole = segment(3)
    if isinstance(model.action_space, spaces.Box): # the corridor's are whole numbers
        whole = whole._replace(action=torch.zeros(2, 3, *model.action_space.shape))
    first, state = model.eval()(whole)
    second, _ = model(whole, state)
    state = model.initial_state(2, **({"clue": whole.clue} if model.num_clues else {}))
    stepwise, previous = [], None
    for t in range(3):
        taken, state = model.step(whole.observation[:, t], torch.ones(2), previous, state)
        previous = torch.zeros_like(whole.action[:, 0])
        stepwise.append(taken)
    every = torch.cat([first, second, torch.stack(stepwise, 1)])
    assert every.shape == (6, 3, first.shape[2])
    return finite(every.numpy()).round(4).tolist()


# -- tasks --

def described(task: Task) -> dict:
    "The options, which a manifest can hold and which make the task again."
    options = json.loads(json.dumps(task.options()))
    assert make_task(task.name, **options) == task and task.max_steps >= 1
    finite(task.target_return)
    return {option.name: getattr(task, option.name) for option in fields(task)}


def inhabited(task: Task) -> dict:
    "Three steps in the environment are as the task says."
    with closing(task.make_env()) as env:
        observation, _ = env.reset(seed=0)
        for _ in range(3):
            assert task.observation_space.contains(observation)
            discrete, shape = isinstance(env.action_space, spaces.Discrete), env.action_space.shape
            action = 0 if discrete else np.zeros(shape, np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            finite(reward)
            if terminated or truncated: break
    return described(task)


CHEAP = {tmaze.TMaze: dict(corridor_length=3), retrieval.Retrieval: dict(episode_length=4),
         minigrid.MinigridMemory: dict(size=7), mujoco.MuJoCo: {}, atari.Atari: {}}
DEAR = (AtariLabels, vizdoom.ViZDoomTwoColors, memory_maze.MemoryMaze, MemoryMazeLabels)

for kind, valid in CHEAP.items():
    thing(kind, **valid)(lambda kind=kind, **given: inhabited(kind(**given)))
for kind in DEAR: thing(kind)(lambda kind=kind, **given: described(kind(**given)))
thing(tmaze.TMaze.for_limit, "TMaze.for_limit", limit=5)(
    lambda **given: inhabited(tmaze.TMaze.for_limit(**given)))


def entered(kind, **given) -> list:
    "The first observation."
    with closing(kind(**given)) as env:
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        return observation.tolist()


thing(tmaze.TMazeEnv, corridor_length=3)(functools.partial(entered, tmaze.TMazeEnv))
thing(retrieval.RetrievalEnv, episode_length=4)(functools.partial(entered, retrieval.RetrievalEnv))
thing(minigrid.MazeOptions, size=7)(
    functools.partial(entered, minigrid.MinigridMemoryEnv))
thing(minigrid.MinigridMemoryEnv)(
    functools.partial(entered, minigrid.MinigridMemoryEnv))
thing(mujoco.RobotEnv, environment="hopper")(functools.partial(entered, mujoco.RobotEnv))
thing(atari.AtariEnv, game="pong")(functools.partial(entered, atari.AtariEnv))
for kind in (vizdoom.TwoColorsEnv, memory_maze.MemoryMazeEnv): # slow to start
    thing(kind)(lambda kind=kind, **given: {name: getattr(kind(**given), name) for name in given})
thing(vizdoom.TwoColorsOptions)(lambda **given: vizdoom.TwoColorsOptions(**given).of_episode())


def num_envs(make, num_envs, **given) -> list:
    "First observations."
    with closing(make(num_envs, **given)) as env:
        observations, _ = env.reset(seed=0)
        assert len(observations) == num_envs
        return observations.tolist()


thing(tmaze.TMazeVectorEnv, num_envs=2, corridor_length=3)(
    functools.partial(num_envs, tmaze.TMazeVectorEnv))
thing(retrieval.RetrievalVectorEnv, num_envs=2, episode_length=3)(
    functools.partial(num_envs, retrieval.RetrievalVectorEnv))
thing(minigrid.MinigridMemoryVectorEnv, num_envs=2)(
    functools.partial(num_envs, minigrid.MinigridMemoryVectorEnv))
thing(Task.make_vector_env, "Task.make_vector_env", num_envs=2)(
    functools.partial(num_envs, functools.partial(Task.make_vector_env, CORRIDOR)))


@thing(WorkerVectorEnv, num_envs=2, num_workers=1)
def _(num_envs, num_workers):
    spaces = CORRIDOR.observation_space, CORRIDOR.action_space
    with closing(WorkerVectorEnv(CORRIDOR.make_env, num_envs, *spaces, {}, num_workers)) as env:
        assert sum(env.rows, []) == list(range(num_envs)) and all(env.rows)
        return env.num_envs


@thing(tmaze.TMazeEnv.render, "TMazeEnv.render")
def _(**given):
    env = tmaze.TMazeEnv(3)
    env.reset(seed=0)
    picture = env.render(**given)
    assert (picture == tmaze.AGENT).all(-1).any(), "the agent is not to be seen"
    return picture.tolist()


thing(tmaze.corridor_range, corridor_length=3)(tmaze.corridor_range)
thing(whole_range, but=("name", "least"), value=3, words={"value": "a range"})(
    lambda value: whole_range("a range", value, 1))
thing(retrieval.length_range, episode_length=3)(retrieval.length_range)
thing(minigrid_maze.check_size, size=7)(minigrid_maze.check_size)
thing(minigrid_expert.steps_needed, size=7)(minigrid_expert.steps_needed)
thing(mujoco.normalised_score, environment="hopper", expert_return=2000.)(
    lambda **given: finite(mujoco.normalised_score(returns=[0., 9.], **given)).tolist())
thing(AtariExpert, game="pong", noise=(.1, .5))(lambda **given: AtariExpert(**given).noise)
for kind in (MemoryMazeExpert, MemoryMazeLabeller, TwoColorsExpert):
    thing(kind, noise=.25)(lambda kind=kind, **given: vars(kind(**given)))

# -- data --

def rewards(found: Trajectories, number: int) -> list:
    "Of so many episodes."
    assert len(found) == number
    return found.rewards.tolist()


@thing(Trajectories.batch, "Trajectories.batch", words={"length": "K·N"}, length=6)
def _(length, truncate=False, outcomes=False):
    made = data().batch([0, 1], length, truncate, outcomes)
    assert made.mask.shape == (2, length) and (made.outcome is not None) == outcomes
    assert made.mask.sum(1).tolist() == np.minimum(data().lengths[:2], length).tolist()
    return [made.return_to_go.tolist(), bool(outcomes)]


@thing(Trajectories.chunks, "Trajectories.chunks", words={"steps": "chunks of"}, steps=2)
def _(steps):
    cut = data().chunks(steps)
    assert cut.lengths.max() <= steps and cut.num_steps == data().num_steps
    return cut.lengths.tolist()


def looked_through(windows: Windows, steps: int) -> list:
    assert len(windows) == data().num_steps and windows.lengths.max() <= steps
    return windows.batch([0], 2).mask.tolist()

thing(Trajectories.sliding_windows, "Trajectories.sliding_windows", words={"steps": "windows of"},
      steps=2)(lambda steps: looked_through(data().sliding_windows(steps), steps))
thing(Windows, words={"steps": "windows of"}, steps=2)(
    lambda steps: looked_through(Windows(data(), steps), steps))
@thing(Windows.batch, "Windows.batch", length=3)
def _(length, outcomes=False):
    made = Windows(data(), 2).batch([0], length, outcomes)
    return [made.mask.tolist(), made.outcome is not None]

thing(Windows.prefetch, "Windows.prefetch", length=2)(
    lambda length: Windows(data(), 2).prefetch([0], length))
thing(Trajectories.prefetch, "Trajectories.prefetch", length=2)(
    lambda length: data().prefetch([0], length))


@thing(split_segments, segment_length=2, words={"segment_length": "segments of"})
def _(segment_length):
    parts = split_segments(segment(4), segment_length)
    assert torch.equal(torch.cat([part.observation for part in parts], 1), segment(4).observation)
    return [part.mask.tolist() for part in parts]


thing(FrameStacks, stack=2)(lambda stack: FrameStacks(np.arange(4.), [2, 2], stack)[:].tolist())
thing(stacked, stack=2)(lambda stack: np.asarray(stacked(np.arange(4.), [2, 2], stack)).tolist())


@thing(collect, num_trajectories=2, num_envs=2, progress=False)
def _(num_trajectories, **given):
    return rewards(collect(CORRIDOR, num_trajectories, **given), num_trajectories)


@thing(get_dataset, num_trajectories=2, seed=0, num_envs=2, progress=False)
def _(num_trajectories, seed, **given):
    found, _ = get_dataset(CORRIDOR, num_trajectories, seed, folder(), **given)
    return rewards(found, num_trajectories)


@thing(collect_to_disk, num_trajectories=2, num_envs=2, progress=False)
def _(num_trajectories, **given):
    collect_to_disk(place := folder(), CORRIDOR, num_trajectories, **given)
    return rewards(load_dataset(place, CORRIDOR)[0], num_trajectories)


@functools.cache
def kept() -> Path:
    "A dataset's folder."
    get_dataset(CORRIDOR, 2, 0, folder("data"), progress=False)
    return dataset_folder(CORRIDOR, 2, 0, folder("data"))


@functools.cache
def encoded() -> EncodedTask: return EncodedTask(CORRIDOR, torch.nn.Linear(4, 2), "linear")


@thing(encoded_source, num_trajectories=2, seed=0, progress=False)
def _(num_trajectories, seed, **given):
    (found,), _ = encoded_source(encoded(), num_trajectories, seed, folder(), **given)
    return rewards(found, num_trajectories)


thing(load_dataset)(lambda **given: rewards(load_dataset(kept(), CORRIDOR, **given)[0], 2))
thing(dataset_folder, num_trajectories=2, seed=0)(
    lambda **given: dataset_folder(CORRIDOR, root=folder("data"), **given))
thing(first_seed, seed=0)(first_seed)


@thing(generators.make_dataset, "generators.make_dataset", num_trajectories=2, seed=0,
       progress=False)
def _(num_trajectories, seed, progress):
    def quick(task, number, *_): return generators.spread_out(data(), number), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generators.SOURCES, "local", quick) # the real one takes minutes
        task = mujoco.MuJoCo()
        (found,), _ = generators.make_dataset(task, num_trajectories, seed, folder(), progress)
    return rewards(found, num_trajectories)


@functools.cache
def replay() -> Path:
    "Files of DQN-replay: two episodes of Pong, each of three steps after three rows of padding."
    logs = folder("replay")/"Pong"/"1"/"replay_logs"
    logs.mkdir(parents=True)
    forms = dqn_replay.KINDS.items()
    ring = {kind: np.zeros((12, *shape), dtype) for kind, (dtype, shape) in forms}
    ring["terminal"][[5, 11]] = 1
    for kind, array in (ring | {"add_count": np.array(12)}).items():
        with gzip.open(dqn_replay.array_path(logs, kind, 0), "wb") as file: np.save(file, array)
    return logs


@contextmanager
def with_replay():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATE_DQN_REPLAY", str(replay().parents[2]))
        yield


@thing(dqn_replay.read_episodes, number=0)
def _(number):
    return [len(episode.actions) for episode in dqn_replay.read_episodes(replay(), number)]


@thing(dqn_replay.replay_folder, words={"game": "there is no"}, game="pong", training=1)
def _(**given):
    with with_replay(): return dqn_replay.replay_folder(**given)


@thing(dqn_replay.make_dataset, "dqn_replay.make_dataset", num_trajectories=2, seed=0,
       progress=False)
def _(num_trajectories, **given):
    with with_replay():
        task = atari.Atari("pong")
        rounds, _ = dqn_replay.make_dataset(task, num_trajectories, root=folder(), **given)
        return rewards(Trajectories.concatenate(list(rounds)), num_trajectories)

# -- models --

@thing(RATEConfig, **TINY)
def _(**given):
    config, spaces = RATEConfig(**given), (CORRIDOR.observation_space, CORRIDOR.action_space)
    torch.manual_seed(0)
    return [asdict(config), outputs(RATE(*spaces, config))]


for name in model_names():
    known = inspect.signature(model_builder(name)).parameters
    short = {option: TINY[option] for option in ("d_model", "segment_length") if option in known}
    thing(model_builder(name), f"make_model {name}", **short)(
        lambda name=name, **given: outputs(build(name, **given)))


@thing(make_model, words={"name": "model"}, name="bc_mlp")
def _(name): return outputs(make_model(name, CORRIDOR.observation_space, CORRIDOR.action_space))


def remembered(make, **given) -> list:
    "What a valve makes of two memories."
    torch.manual_seed(0)
    with torch.no_grad(): new = make(**given)(torch.ones(2, 3, 8), torch.zeros(2, 3, 8))
    assert new.shape == (2, 3, 8)
    return finite(new.numpy()).round(4).tolist()

HEADS = {"num_heads": "valve_heads|heads do not divide"}
thing(memory.make_valve, words={"name": "valve"} | HEADS, name="ca2", d_model=8)(
    functools.partial(remembered, memory.make_valve))
thing(memory.CrossAttentionValve, words=HEADS, d_model=8, num_heads=2)(
    functools.partial(remembered, memory.CrossAttentionValve))
for kind in (memory.GateValve, memory.GRUValve, memory.LSTMValve):
    thing(kind, d_model=8)(functools.partial(remembered, kind))
thing(Quantities, num=3)(lambda num: Quantities(num).shape)

# -- training --

def learned(config=TrainingConfig(iterations=2, batch_size=2), length=6, **options) -> list:
    "Losses and gradient norms."
    options = {"progress": False, "log_every": 1} | options
    history = train(build("rate", **TINY), data(), config, length, folder(), **options)
    return finite([[entry["loss"], entry["gradient_norm"]] for entry in history])


@thing(TrainingConfig, iterations=2, batch_size=2)
def _(**given):
    config = TrainingConfig(**given)
    factors = [config.learning_rate_factor(iteration) for iteration in (0, 1, config.iterations)]
    assert all(0 < factor <= 1 for factor in factors)
    return [astuple(config), learned(replace(config, iterations=min(config.iterations, 2)))]


thing(train, but=("fingerprint", "tracker"), words={"length": "K·N"}, length=6, progress=False)(
    learned)


@thing(batch_indices, num_trajectories=5, batch_size=2, iteration=1, seed=0)
def _(**given):
    found = batch_indices(**given).tolist()
    all_of_them = given["num_trajectories"]
    assert len(set(found)) == min(given["batch_size"], all_of_them)
    assert set(found) <= set(range(all_of_them))
    return found


@thing(trajectory_losses, bptt=1)
def _(**given):
    return finite([loss.item() for loss in trajectory_losses(model(), segment(6), **given)])

# -- acting and evaluation --

@thing(Agent, target_return=1., reset_return_every=1)
def _(**given):
    agent, taken, reward = Agent(model(), **given), [], None
    agent.reset(2)
    for _ in range(3):
        taken.append(agent.act(np.zeros((2, 4), np.float32), reward).tolist())
        reward = np.full(2, .25)
    assert all(CORRIDOR.action_space.contains(action) for actions in taken for action in actions)
    return [taken, finite(agent.return_to_go.now.tolist())]


@thing(Agent.reset, "Agent.reset", words={"batch": "at least 1 episode"}, batch=2)
def _(batch):
    agent = Agent(model(), 1.)
    agent.reset(batch)
    return agent.return_to_go.now.tolist()


@thing(probes.Prompted, target_return=1.)
def _(**given):
    agent = probes.Prompted(model(), expert=CORRIDOR.make_expert(), **given)
    return play(agent, CORRIDOR, 2, 0).returns.tolist()


@thing(probes.MemoryNoise, part="tokens", alpha=.5)
@torch.no_grad()
def _(**given):
    read = model().read(segment(6), probes.MemoryNoise(model(), **given))
    return [finite(output.flatten().tolist()) for _, output in read]


@thing(play, episodes=2, seed=0, progress=False, marks=(2,))
def _(episodes, **given):
    found = play(ExpertAgent(CORRIDOR), CORRIDOR, episodes, **given)
    assert len(found) == episodes and found.success.all()
    return {mark: returns.tolist() for mark, returns in found.returns_at.items()}


@thing(play_both, steps=5, seed=3)
def _(**given):
    def still(rng, rows, seen, infos): return np.zeros(rows.num_envs, int)
    return play_both(tmaze.TMazeVectorEnv(2, 3), lambda: tmaze.TMazeEnv(3), still, **given)


@thing(rollout_video, episodes=2, seed=0, every=2)
def _(episodes, every, **given):
    pictures, found = rollout_video(ExpertAgent(ROOM), ROOM, episodes, every=every, **given)
    assert pictures.shape[:2] == (-(-int(found.lengths.max())//every), episodes)
    return found.returns.tolist()


@thing(RandomAgent)
def _(**given):
    agent = RandomAgent(CORRIDOR.action_space, **given)
    agent.reset(2)
    return agent.act(None, None).tolist()


SCORES = [.25, .5, .75]

def around(interval, **given):
    low, high = interval(SCORES, **given)
    assert 0 <= low <= np.mean(SCORES) <= high <= 1
    return low, high

for interval in (bootstrap_interval, seed_interval):
    thing(interval, confidence=.5)(functools.partial(around, interval))
thing(imitation_scores, length=6)(
    lambda length: finite(imitation_scores(model(), data(), length)["accuracy by segment"]))
thing(success_interval, successes=1, episodes=2, confidence=.5)(
    lambda **given: finite(success_interval(**given)))
MANY = {"one": [SCORES], "other": [SCORES[::-1]]}
thing(aggregates.aggregate_interval, confidence=.5, resamples=20)(
    lambda **given: finite(aggregates.aggregate_interval(MANY, **given)))
thing(aggregates.improvement_interval, confidence=.5, resamples=5)(
    lambda **given: finite(aggregates.improvement_interval(MANY, MANY, **given)))
thing(say_scores)(lambda **given: say_scores(pd.Series(SCORES), **given))

# -- recipes, runs, studies --

DATA = recipes.DataSpec(2)
RECIPE = dict(name="RATE", task="tmaze", model="rate", preset="smoke", seed=0, length=6)
OPTIONS = dict(task_options={"corridor_length": 3}, model_options=TINY)
QUICK = TrainingConfig(iterations=1, batch_size=2)


def paths() -> recipes.Paths: return recipes.Paths.under(folder("study"))


@functools.cache
def recipe() -> recipes.Recipe:
    return recipes.Recipe(**RECIPE, **OPTIONS, data=DATA, training=QUICK)


@thing(recipes.DataSpec, num_trajectories=2, chunk=2, stride=1, min_return=0., min_steps=2)
def _(**given):
    asked = recipes.DataSpec(**given)
    few = replace(asked, num_trajectories=min(asked.num_trajectories, 2), mirror=False)
    found, _ = recipes.recipe_data(replace(recipe(), data=few), paths(), progress=False)
    return [asdict(asked), found.batch([0], 6).mask.tolist()]


@thing(recipes.Recipe, words={"length": "K·N"}, **RECIPE, **OPTIONS)
def _(**given):
    asked = recipes.Recipe(**OPTIONS | given, data=DATA)
    assert recipes.recipe_from(asked.config) == asked
    outputs(recipes.build_model(asked))
    found, _ = recipes.recipe_data(asked, paths(), progress=False)
    return [asked.key, asked.config, found.batch([0], asked.length).mask.tolist()]


@thing(recipes.Measurement, words={"kind": "measurement"}, kind="play", options={"episodes": 2})
def _(**given):
    asked = recipes.Measurement(**given)
    return [asked.key, measurements.measure(asked, model(), recipe(), paths())["success"]]


@thing(recipes.Paths)
def _(**given):
    made = recipes.Paths(**given)
    return [str(place(recipe())) for place in (made.row, made.run)]


def answered(measure, **given) -> dict:
    "An answer, which JSON can hold."
    answer = measure(model(), recipe(), paths(), **given)
    kept = {key: value for key, value in answer.items() if "seconds" not in key}
    return json.loads(json.dumps(kept))

MEASURES = {
    measurements.measure_play: dict(episodes=2),
    measurements.measure_imitation: dict(num_trajectories=2, data_seed=1),
    measure_fit: dict(num_trajectories=2, data_seed=1),
    measurements.measure_episodes: dict(episodes=2, target_return=1.,
                                        reset_return_every=1, marks=(2,)),
    probes.measure_attention: dict(episodes=2), probes.measure_recall: dict(episodes=4),
    probes.measure_noise: dict(part="tokens", alpha=.5, episodes=2),
    probes.measure_prompted_play: dict(episodes=2)}
for measure, valid in MEASURES.items():
    thing(measure, words={"episodes": "num_trajectories"}, **valid)(
        functools.partial(answered, measure))
thing(probes.measure_noisy_episodes, part="tokens", alpha=.5)(
    lambda **given: answered(functools.partial(probes.measure_noisy_episodes, episodes=2), **given))
@thing(probes.measure_loss_by_step, windows=2)
def _(**given):
    whole = replace(recipe(), task_options={"corridor_length": 5}) # all episodes have 6 steps
    return finite(probes.measure_loss_by_step(model(), whole, paths(), **given)["loss"])


thing(probes.measure_memory, but=("class_key",), episodes=16)(
    functools.partial(answered, probes.measure_memory))


@thing(probes.memory_trace, but=("class_key",), episodes=2, seed=0)
def _(**given):
    memories, steps, classes = probes.memory_trace(model(), CORRIDOR, class_key="clue", **given)
    assert len(memories) == len(classes) == given["episodes"]
    assert memories.shape[1] == len(steps) >= 1
    return memories.round(4).tolist()


@thing(sweeps.sweep, but=("backend",), jobs=1, progress=False)
def _(**given):
    plan, paths = [(recipe(), [])], recipes.Paths.under(folder())
    return sweeps.sweep(plan, paths, **given)[0]["hash"]


thing(runs.run, progress=False)(
    lambda progress: runs.run(recipe(), [], paths(), progress)["hash"])
thing(runs.trained_model, progress=False)(
    lambda progress: outputs(runs.trained_model(recipe(), paths(), progress)[0]))
thing(recipes.recipe_data, progress=False)(
    lambda progress: rewards(recipes.recipe_data(recipe(), paths(), progress)[0], 2))


@thing(runs.rollout_videos, episodes=1, seed=0, every=1, target_return=1., reset_return_every=2)
def _(**given):
    seen = replace(recipe(), task=ROOM.name, task_options=ROOM.options())
    pictures, (found,) = runs.rollout_videos([seen], paths(), **given)
    assert pictures.shape[1] == len(found) == given.get("episodes", 1)
    return found.returns.tolist()


@thing(Method, model="rate")
def _(**given):
    made = Method(**given)
    return asdict(made.apply(recipe()))


@thing(Preset, seeds=1, jobs=1, but=("data", "model", "train", "test", "methods", "extra", "name"))
def _(**given):
    made = Preset(DATA, {}, QUICK, {}, **given)
    return [made.seeds, made.jobs]


@thing(STUDY.recipe, words={"method": "model", "model_size": "size"}, method="DT",
       preset="smoke", seed=0, model_size="transformer")
def _(**given): return STUDY.recipe(**given).key


@thing(verdicts.find_variances, step=0.)
def _(**given): return asdict(verdicts.find_variances(np.array([[0.], [1.]]), **given))

# -- figures --

FRAME = pd.DataFrame([dict(model=name, length=length, success=success)
                      for name in "ab" for length in (9, 30) for success in (.5, .6)])


def shown(draw, **given) -> list:
    "Draws, and closes again."
    try:
        ax = draw(**given)
        ax.figure.canvas.draw()
        lines = [finite(line.get_xydata()).round(6).tolist() for line in ax.lines]
        return lines + [text.get_text() for text in ax.texts]
    finally: plt.close("all")

thing(figures.curves, x="length", y="success", hue="model", chance=.5, trained_up_to=9.)(
    functools.partial(shown, functools.partial(figures.curves, FRAME)))
thing(maps.heat_map, index="model", columns="length", values="success", limits=(0., 1.))(
    functools.partial(shown, functools.partial(maps.heat_map, FRAME)))
thing(maps.attention_map, but=("title",), vmax=1.)(
    functools.partial(shown, functools.partial(maps.attention_map, np.eye(3))))


@thing(style.save_video)
def _(**given):
    pictures = np.zeros((2, 2, 8, 8, 3), np.uint8)
    written = style.save_video(pictures, ["a", "b"], folder("rollout.gif"), **given)
    with Image.open(written) as picture: assert picture.format == "GIF" and max(picture.size) < 100
    return written.read_bytes()


@thing(style.save_figure, name="a", formats=("png",))
def _(**given):
    drawing = plt.figure(figsize=(1, 1))
    try: return [path.name for path in style.save_figure(drawing, folder("figures"), **given)]
    finally: plt.close("all")

# -- speed --

@thing(speed.random_batch, batch_size=2, num_segments=1)
def _(**given):
    batch = speed.random_batch(speed.benchmark_model(**TINY), **given)
    return [tuple(part.shape) for part in batch[:4]]


@thing(speed.training_step, bptt=1)
def _(**given):
    made = speed.benchmark_model(**TINY | {"dropout": 0.}).eval()
    batch, optimizer = speed.random_batch(made, 2), speed.optimizer_for(made)
    return finite(speed.training_step(made, optimizer, batch, **given)) > 0


@thing(speed.seconds_in_turns, repeats=2)
def _(repeats):
    calls = []
    speed.seconds_in_turns({"a": lambda: calls.append(0)}, repeats)
    assert len(calls) == repeats + 1
    return len(calls)


thing(speed.measure_training, repeats=1, batch_size=2)(
    lambda **given: sorted(speed.measure_training(**given, **TINY)))
thing(speed.matmul_speed, size=8, repeats=2)(
    lambda **given: finite(speed.matmul_speed(**given)) > 0)
thing(speed.measure_acting, steps=3, episodes=2)(
    lambda **given: len(speed.measure_acting(**given, **TINY)["milliseconds"]))
ACTED = {"milliseconds": [1., 2., 3.], "peak_mib": [1., 1.]}
thing(speed.acting_summary, segment_length=3, windows=1)(
    functools.partial(speed.acting_summary, ACTED)
)


@thing(speed.report, work=1., speed=2.)
def _(**given):
    found = speed.report({}, pd.DataFrame(), acting={}, **given)
    return finite([found["GFLOP a batch"], found["s a batch at that speed"]])

# -- scaling --

@thing(scaling.Sizes, K=3, N=2, m=2, d=8, layers=1, batch=2)
def _(**given):
    sizes = scaling.Sizes(**given)
    return [astuple(sizes), finite([law(sizes) for law in scaling.LAWS.values()])]


@thing(costs.hours_on, gpu="A100", pflop=1.)
def _(**given): return finite([costs.hours_on(**given)])


@thing(scaling.stored_bytes, but=("folder",), steps=2)
def _(**given):
    (place := folder()).mkdir()
    np.save(place/"a.npy", np.zeros(4))
    return finite(list(scaling.stored_bytes(place, **given).values()))

# ---- what nobody outside the library calls with numbers of their own ----

# by name alone, wherever it lives; environments are tried in their own notebooks
# the command line takes text, and has a test of its own
COMMANDS = {f"rate_nb.engine.{name}" for name in (
    "audit", "cli", "commands", "comparison", "inventory", "study_commands", "terminal")}
INSIDE = set("""
    Encoded Run num_bytes Workers end_process SharedRows LeakyValve
    Above action_encoder action_head actors_text add_up after_a_step append_round append_rows
    around_agents array_path arrivals as_numbers attention_mask attention_weights
    AttentionProjections auto_attention ball batched_attention batched_infos begin_maze
    BehaviorCloning Below best_plan best_return boat_goal bounce bring_to_disk Check
    check_context check_disk check_json check_rows check_scale checked_actions checked_episode
    Choice Claim CodeEncoder coily_at colored combined ContinuousHead cross_boundary
    cut_in_chunks default_fingerprint DiscreteHead distance_table distance_vectors disturb
    download draw_episode draw_maze draw_points draw_summary Dropout encoded_source EncodedTask
    end_with Engine Episode episode_facts Episodes family_seconds fast_attention
    FastIncrementalAttention feed_forward feed_rows FeedForward fill_cells finish_axes Flag
    from_minari Game Generator generator_folder GreyEncoder Grid GridEncoder group_edges
    GrowingDataset GRU GRUGate ImageEncoder in_two_ranks IncrementalAttention iqm is_aimed judge
    keep_mask KeepMemory kernel_on kind_at label label_tokens LastingGame learn_stage look LSTM
    make_game make_manifest make_maze make_origin mark_lines maze_picture maze_pictures
    measure_all measure_collection measure_linear_probe measure_outputs mixed_with
    MultiDiscreteHead Noise
    noted_data Number NumpyRows NumpyVectorEnv observation_encoder observations_in Ordered
    own_share outcome_of_steps pad_rows padded_batch palette paper_rules parent_lives parse_json
    PartsEncoder PassThrough pillar plain plan_action plan_path plan_paths plan_values
    play_again play_round
    play_rounds playable png_bytes query_blocks quiet_steps RATEState read_early read_json
    read_segments read_tensors read_windows_early record RecurrentState reference_rules
    relative_attention RelativeAttention restore_random_state Results ReturnEncoder ReturnToGo
    Robot room_for row_seeds rows_of_this_round rows_to_reset say_check say_losses say_scores
    say_table
    scenario_path scenario_wad Score score_of segment_plans sinusoid slanted small_multiples
    snapshot_steps spread_out stage_episodes stage_folder stage_skill stage_summary StagePlayer
    Standardize standing steer surface SwappedValve take_labels Tally thing three_convolutions
    tile_pictures to_array TracedAgent train_generator unused_parameters Valve Variances
    VectorEncoder video_page Whole windows_batch Within WorkerTask would_decide write_json
    write_launcher time_left held_out with_standing power seeds_needed Planned
    measure_at_best_temperature
    full_batch Cost training_cost cost_table Case Scale meet measured_run measure_cases main
    study_names acting_of batch_time dt_for Exponent episode_memory iteration_time
    made_up_observations
    measure_dataset measure_episodes measure_sweep measure_times rate_for
    fill_states first_steps Mamba MambaMixer piece_slopes pieces selective_scan SelectiveScan
    DistanceBias ELMURConfig ELMURState Estimate Estimated Fit LongBranch LSDTConfig LSDTState
    middle PastActions positions recurrent_dt resampled rewrite ShortBranch
    action_errors action_value bellman_target check_whole_actions CodedValue Codes conservative CQL
    cql_losses Critic expectile_loss follow IQL Proposed real_cql_losses RealCQL RealValue Squashed
    Twins cases_of measure_efficiency reader assumptions measure_preservation summary thirds
    judge_claim say_deciding say_number Judged StudyPage
    join_pictures draw_items Proportion Share
    walk Walker draw_walk draw_walks NotedAgent Watched watch draw_look draw_looks step_through
    kept_task Drawn drawn
    check_length check_options own_indices start_training TrainingRun
    Restarted
""".split())

# ---- tests ----

@contextmanager
def within_limits(seconds: int = 3, gib: int = 2):
    "An error for what takes very long, or very much memory where the system tells what is in use."
    def stop(*_): raise TimeoutError(f"still at work after {seconds} s")
    before, limits = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    used = Path("/proc/self/statm")
    signal.alarm(seconds)
    if used.exists():
        most = int(used.read_text().split()[0])*resource.getpagesize() + gib*2**30
        resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


REFUSALS = ValueError, TypeError, FileNotFoundError, FloatingPointError


def is_own(error: Exception) -> bool:
    "Whether a `raise` of rate_nb worded it."
    end = error.__traceback__
    while end.tb_next is not None: end = end.tb_next
    file, line = end.tb_frame.f_code.co_filename, end.tb_lineno
    return Path(file).is_relative_to(ROOT/"rate_nb") and "raise " in linecache.getline(file, line)


def fault_of(one: Thing, argument: str, value) -> str | None:
    "What is wrong when this value is given; None if nothing is."
    try:
        with within_limits(): one.use(**one.valid | {argument: value})
    except REFUSALS as error:
        if not is_own(error): return f"not rate_nb's own words: {error!r}"
        names = re.search(rf"\b({argument}|{one.words.get(argument, argument)})\b", str(error))
        return None if names else f"its name is not in: {error}"
    except Exception as error: return f"no ValueError or TypeError: {error!r}"
    return None if fits(value, one.arguments[argument]) else "accepted"


def case(label: str, argument: str, name: str, *values):
    return pytest.param(label, argument, *values, id=f"{label} {argument} {name}")


@pytest.mark.parametrize("label", THINGS)
def test_valid_arguments_are_right(label): THINGS[label].use(**THINGS[label].valid)


@pytest.mark.parametrize("label, argument, value", [
    case(label, argument, name, value)
    for label, one in THINGS.items() for argument, allowed in one.arguments.items()
    for name, value in bad_values(argument, allowed).items()])
def test_nonsense_is_refused_by_name(label, argument, value):
    fault = fault_of(THINGS[label], argument, value)
    if fault: pytest.fail(f"{label}, {argument}={value!r}: {fault}", pytrace=False)


@pytest.mark.parametrize("label, argument", [
    case(label, argument, "numpy")
    for label, one in THINGS.items()
    for argument in one.arguments if type(one.value(argument)) in NUMPY])
def test_numbers_of_numpy_are_numbers(label, argument):
    one = THINGS[label]
    value = NUMPY[type(one.value(argument))](one.value(argument))
    ours, plain = ({argument: value}, {argument: value.item()})
    try: same = repr(one.use(**one.valid | ours)) == repr(one.use(**one.valid | plain))
    except Exception as error: pytest.fail(repr(error), pytrace=False)
    if not same: pytest.fail("something else comes out", pytrace=False)


def test_everything_with_numbers_is_here():
    "A new function or dataclass is given its use above, or is said to be inside."
    called = {getattr(one.call, "__func__", one.call) for one in THINGS.values()}
    missing = []
    for module in pkgutil.walk_packages(rate_nb.__path__, "rate_nb."):
        found = importlib.import_module(module.name)
        for name in getattr(found, "__all__", ()):
            public = getattr(found, name)
            if not callable(public) or public.__module__ != module.name: continue
            parameters = inspect.signature(public, eval_str=True).parameters.values()
            taken = set().union(*(kinds(one.annotation) for one in parameters))
            inside = name in INSIDE or module.name.startswith("rate_nb.envs.")
            inside |= module.name in COMMANDS
            if taken & {int, float, bool} and public not in called and not inside:
                missing.append(f"{module.name}.{name}")
    assert not missing, f"no use of these is tested: {', '.join(missing)}"
