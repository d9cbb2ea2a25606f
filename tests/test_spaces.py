"""Environments and spaces that users bring go all the way, collect, make_model, train and play, or
are refused by name."""

from dataclasses import dataclass
from typing import Any, ClassVar

import ale_py
import gymnasium as gym
import minigrid  # noqa: F401, registers its environments
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from minigrid.wrappers import ImgObsWrapper
from rate_nb.acting import Agent
from rate_nb.engine.collection import collect
from rate_nb.engine.imitation import imitation_scores
from rate_nb.evaluation import play
from rate_nb.models.sequence_model import make_model
from rate_nb.engine.tasks import Task
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train
from rate_nb.trajectories import Trajectories

gym.register_envs(ale_py)
VECTOR, MOVES = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)


class RandomExpert:
    def __init__(self, space): self.space = space
    def reset(self, num_envs):
        self.batched = batch_space(self.space, num_envs)
        self.batched.seed(0)
    def act(self, observations, infos): return self.batched.sample()


def task_of(make, limit: int) -> Task:
    "A task around an environment, as README describes it."
    probe = make()

    @dataclass(frozen=True)
    class Mine(Task):
        name: ClassVar[str] = "mine"
        max_steps: ClassVar[int] = limit
        target_return: ClassVar[float] = 1.
        observation_space: ClassVar[Any] = probe.observation_space
        action_space: ClassVar[Any] = probe.action_space
        def make_env(self): return make()
        def make_expert(self): return RandomExpert(probe.action_space)
        def success(self, returns): return np.asarray(returns) >= 1
    return Mine()


def goes_all_the_way(task: Task, folder, models=("rate", "bc_lstm")) -> None:
    "Every action that the agent takes is checked by the environment itself or by `Strict`."
    torch.manual_seed(0)
    data = collect(task, 4, num_envs=2, progress=False)
    for name in models:
        model = make_model(name, task.observation_space, task.action_space, segment_length=5)
        config = TrainingConfig(iterations=2, batch_size=8, warmup=1)
        history = train(
            model,
            data.chunks(10),
            config,
            length=10,
            folder=folder / name,
            log_every=1,
            progress=False,
        )
        assert np.isfinite(history[-1]["loss"])
        assert play(Agent(model, 1.), task, 2, seed=0).lengths.min() > 0
        assert np.isfinite(imitation_scores(model, data.chunks(10), 10)["loss"])


STOCK = {
    "CartPole-v1": (lambda: gym.make("CartPole-v1", max_episode_steps=30), 30),
    "Acrobot-v1": (lambda: gym.make("Acrobot-v1", max_episode_steps=20), 20),
    "MountainCar-v0": (lambda: gym.make("MountainCar-v0", max_episode_steps=20), 20),
    "MountainCarContinuous-v0": (
        lambda: gym.make("MountainCarContinuous-v0", max_episode_steps=20),
        20,
    ),
    "Pendulum-v1": (lambda: gym.make("Pendulum-v1", max_episode_steps=20), 20),
    "FrozenLake-v1": (lambda: gym.make("FrozenLake-v1"), 100),
    "Blackjack-v1": (lambda: gym.make("Blackjack-v1"), 100),
    "CliffWalking-v1": (lambda: gym.make("CliffWalking-v1", max_episode_steps=20), 20),
    "Taxi-v4": (lambda: gym.make("Taxi-v4", max_episode_steps=20), 20),
    "InvertedPendulum-v5": (lambda: gym.make("InvertedPendulum-v5", max_episode_steps=20), 20),
    "Hopper-v5": (lambda: gym.make("Hopper-v5", max_episode_steps=20), 20),
    "Reacher-v5": (lambda: gym.make("Reacher-v5", max_episode_steps=20), 20),
    "ALE/Pong-v5, RAM": (lambda: gym.make("ALE/Pong-v5", obs_type="ram", max_episode_steps=10), 10),
    "ALE/Pong-v5, RGB": (lambda: gym.make("ALE/Pong-v5", max_episode_steps=6), 6),
    "ALE/Pong-v5, grey": (
        lambda: gym.make("ALE/Pong-v5", obs_type="grayscale", max_episode_steps=6),
        6,
    ),
    "MiniGrid-MemoryS7-v0, images": (
        lambda: ImgObsWrapper(gym.make("MiniGrid-MemoryS7-v0", max_steps=20)),
        400,
    ),
}


@pytest.mark.parametrize("name", STOCK)
def test_stock_environment(name, tmp_path):
    goes_all_the_way(task_of(*STOCK[name]), tmp_path, models=("rate",))


def test_text_is_refused_by_name(tmp_path):
    task = task_of(lambda: gym.make("MiniGrid-MemoryS7-v0", max_steps=20), 400)
    for refused in (
        lambda: make_model("rate", task.observation_space, task.action_space),
        lambda: collect(task, 2, progress=False),
    ):
        with pytest.raises(TypeError, match="wrap the environment"): refused()


PAIRS = {
    "Discrete actions from 1": (VECTOR, spaces.Discrete(3, start=1)),
    "MultiDiscrete actions": (VECTOR, spaces.MultiDiscrete([3, 2])),
    "MultiDiscrete actions from 5": (VECTOR, spaces.MultiDiscrete([3, 2], start=[5, 0])),
    "MultiBinary actions": (VECTOR, spaces.MultiBinary(3)),
    "Box actions (2, 3)": (VECTOR, spaces.Box(-1, 1, (2, 3), np.float32)),
    "Box action ()": (VECTOR, spaces.Box(-1, 1, (), np.float32)),
    "Box actions float64": (VECTOR, spaces.Box(-0.1, 0.1, (2,), np.float64)),
    "Discrete observations": (spaces.Discrete(16), MOVES),
    "Discrete observations from 3": (spaces.Discrete(5, start=3), MOVES),
    "MultiDiscrete observations": (spaces.MultiDiscrete([5, 2]), MOVES),
    "MultiBinary observations": (spaces.MultiBinary((2, 3)), MOVES),
    "Tuple observations": (spaces.Tuple((VECTOR, MOVES)), MOVES),
    "Dict observations": (
        spaces.Dict(a=VECTOR, b=MOVES, c=spaces.Dict(d=spaces.MultiDiscrete([2, 3]))),
        MOVES,
    ),
    "Dict with an image": (
        spaces.Dict(view=spaces.Box(0, 255, (40, 40, 3), np.uint8), place=VECTOR),
        MOVES,
    ),
    "number": (spaces.Box(-1, 1, (), np.float32), MOVES),
    "float64 observations": (spaces.Box(-np.inf, np.inf, (3,), np.float64), MOVES),
    "whole observations": (spaces.Box(-5, 5, (3,), np.int32), MOVES),
    "bytes": (spaces.Box(0, 255, (8,), np.uint8), MOVES),
    "channels last": (spaces.Box(0, 255, (40, 44, 3), np.uint8), MOVES),
    "float images": (spaces.Box(0, 1, (3, 40, 44), np.float32), MOVES),
}


@pytest.mark.parametrize("name", PAIRS)
def test_space(name, tmp_path):
    observation, action = PAIRS[name]

    class Strict(gym.Env):
        "Refuses actions that are not in its space."
        observation_space, action_space = observation, action
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return self.observation_space.sample(), {}
        def step(self, taken):
            taken = np.asarray(taken)
            assert self.action_space.contains(taken), f"{taken!r} is not in {self.action_space}"
            self.t += 1
            return self.observation_space.sample(), 1., self.t >= 6, False, {}
    goes_all_the_way(task_of(Strict, 6), tmp_path)


REFUSED = {
    "whole real actions": (VECTOR, spaces.Box(0, 3, (2,), np.int64), "MultiDiscrete"),
    "text actions": (VECTOR, spaces.Text(4), "no action (encoder|head)"),
    "Dict actions": (VECTOR, spaces.Dict(a=MOVES), "no action (encoder|head)"),
    "images without bounds": (
        spaces.Box(-np.inf, np.inf, (3, 64, 64), np.float32),
        MOVES,
        "finite",
    ),
    "stacks of images": (spaces.Box(0, 255, (4, 64, 64, 3), np.uint8), MOVES, "join the others"),
    "sequences": (spaces.Sequence(VECTOR), MOVES, "no observation encoder"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("model", ["rate", "bc_lstm"])
def test_space_is_refused_by_name(name, model):
    observation, action, message = REFUSED[name]
    with pytest.raises(TypeError, match=message): make_model(model, observation, action)


@pytest.mark.parametrize(
    "form",
    [
        lambda a: a[:, None],
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.uint8),
        lambda a: a.astype(np.int32),
        lambda a: a.astype(np.float64)[:, None],
    ],
)
def test_discrete_actions_in_any_form(form, tmp_path):
    "They are what they would be as whole numbers, to the bit."
    rng, results = np.random.default_rng(0), []
    episodes = [(rng.normal(size=(6, 3)), rng.integers(0, 4, 6), np.ones(6)) for _ in range(10)]
    for change, folder in ((lambda a: a, "plain"), (form, "formed")):
        data = Trajectories.from_episodes(
            [(seen, change(taken), paid) for seen, taken, paid in episodes]
        )
        torch.manual_seed(0)
        model = make_model("rate", VECTOR, MOVES, segment_length=6)
        config = TrainingConfig(iterations=3, batch_size=8, warmup=1)
        results.append(
            train(model, data, config, 6, tmp_path / folder, log_every=1, progress=False)[-1][
                "loss"
            ]
        )
    assert results[0] == results[1]


def test_training_reads_observations_on_disk_only_as_it_learns(tmp_path, monkeypatch):
    "The scan of a dataset happens when it is made; training takes its result from the manifest."
    from rate_nb.core import facts
    from rate_nb.engine.collection import get_dataset
    from rate_nb.engine.tasks import make_task
    task = make_task("tmaze", corridor_length=7)
    get_dataset(task, 20, 0, tmp_path, progress=False)
    loaded, _ = get_dataset(task, 20, 0, tmp_path, progress=False)
    monkeypatch.setattr(facts, "find_facts", lambda *_: pytest.fail("the data were scanned again"))
    model = make_model("rate", task.observation_space, task.action_space, segment_length=3)
    train(
        model,
        loaded,
        TrainingConfig(iterations=2, batch_size=4, warmup=1),
        9,
        tmp_path / "run",
        progress=False,
    )
