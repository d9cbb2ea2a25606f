"""Our CQL-MLP against another program's, DiscreteCQL of d3rlpy (`pip install ".[crosscheck]"`).

Two differences are known, and kept out. d3rlpy counts a Bellman error above 1 by its size, not by
its square (Huber loss); rewards here are too small for that. And its target network is copied at
intervals, while ours moves a little with each update."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from rate_nb.acting import Agent
from rate_nb.engine.collection import collect
from rate_nb.engine.tasks import make_task
from rate_nb.evaluation import play
from rate_nb.models.sequence_model import make_model
from rate_nb.models.values import follow
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train, trajectory_losses
from rate_nb.trajectories import Trajectories

d3rlpy = pytest.importorskip("d3rlpy", reason="needs d3rlpy: pip install '.[crosscheck]'")
from d3rlpy.dataset import (BasicTransitionPicker, Episode, TransitionMiniBatch,  # noqa: E402
                            create_infinite_replay_buffer)

torch.set_num_threads(1)
WIDTH = 32  # of both networks: observation -> 32 -> 32 -> Q-values
NUM_ACTIONS = 3


# ---- the same data and the same model for both ----

def their_episode(data: Trajectories, row: int) -> Episode:
    "One of ours; where it was cut, one more step tells them the last observation."
    steps = slice(data.starts[row], data.starts[row] + data.lengths[row])
    seen, taken, paid = data.observations[steps], data.actions[steps], data.rewards[steps]
    if data.truncated[row]:
        seen = np.concatenate([seen, data.last_observations[[row]]])
        taken, paid = np.append(taken, 0), np.append(paid, np.float32(0))
    return Episode(seen, taken[:, None], paid[:, None], bool(data.terminated[row]))


def their_cql(interval: int, alpha: float, discount: float, **options):
    "Their algorithm, with a target network that is copied every `interval` updates."
    network = d3rlpy.models.VectorEncoderFactory(hidden_units=[WIDTH, WIDTH])
    config = d3rlpy.algos.DiscreteCQLConfig(
        encoder_factory=network, target_update_interval=interval, alpha=alpha, gamma=discount,
        **options)
    return config.create(device="cpu")


def copy_weights(ours, theirs) -> None:
    "Ours become theirs: three linear layers each, in the same order."
    learned = [weight for weight in ours.parameters() if weight.requires_grad]
    for weight, other in zip(learned, theirs.impl.q_function.parameters(), strict=True):
        weight.data.copy_(other.data)
    follow(ours.target, ours, 1.)


# ---- from the same weights, on the same batches ----

def small_episodes(num: int = 40) -> Trajectories:
    "Numbers that mean nothing; half of the episodes terminate, half are cut."
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 13, num)
    episodes = [(generator.normal(size=(length + 1, 4)).astype(np.float32),
                 generator.integers(0, NUM_ACTIONS, length),
                 0.1*generator.normal(size=length)) for length in lengths]
    terminated = np.arange(num) % 2 == 0
    return Trajectories.from_episodes(episodes, terminated=terminated, truncated=~terminated)


def their_batch(data: Trajectories, rows: np.ndarray) -> TransitionMiniBatch:
    "All transitions of some episodes, as their own reader picks them."
    pick, episodes = BasicTransitionPicker(), [their_episode(data, row) for row in rows]
    transitions = [pick(episode, step) for episode in episodes
                   for step in range(episode.transition_count)]
    return TransitionMiniBatch.from_transitions(transitions)


def both(alpha: float, interval: int = 10):
    "Ours and theirs, with equal weights; ours reads episodes in segments of 5 steps."
    d3rlpy.seed(0)
    theirs = their_cql(interval, alpha, 0.9, learning_rate=2e-3)
    theirs.create_impl((4,), NUM_ACTIONS)
    ours = make_model("cql_mlp", spaces.Box(-9, 9, (4,)), spaces.Discrete(NUM_ACTIONS),
                      d_model=WIDTH, segment_length=5, alpha=alpha, discount=0.9)
    copy_weights(ours, theirs)
    return ours, theirs


@pytest.mark.parametrize("alpha", [0., 1., 4.])
def test_a_hundred_updates_are_the_same(alpha):
    "Every loss, and the weights that come out; ours copies the target network when theirs does."
    data, generator = small_episodes(), np.random.default_rng(1)
    ours, theirs = both(alpha)
    start = ours.head.weight.detach().clone()
    optimizer = torch.optim.Adam(ours.parameters(), lr=2e-3)
    for update in range(100):
        rows = generator.choice(len(data), 8, replace=False)
        loss = sum(trajectory_losses(ours, data.batch(rows, 15, outcomes=True), bptt=3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 10 == 0: follow(ours.target, ours, 1.)
        told = theirs.update(their_batch(data, rows))
        assert loss.item() == pytest.approx(told["loss"], rel=2e-6), update
    learned = [weight for weight in ours.parameters() if weight.requires_grad]
    for weight, other in zip(learned, theirs.impl.q_function.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=1e-6)
    assert (ours.head.weight - start).abs().max() > 0.05  # it is not that nothing was learned


# ---- each by itself, on POPGym's cart pole ----

UPDATES, BATCH = 1200, 64
RECIPE = dict(alpha=1., discount=0.99)


def ours_trained(task, data, seed, folder):
    "By our training loop, from single steps as theirs; the target network needs 100 updates."
    torch.manual_seed(seed)
    model = make_model("cql_mlp", task.observation_space, task.action_space, d_model=WIDTH,
                       segment_length=1, target_rate=0.01, **RECIPE)
    config = TrainingConfig(iterations=UPDATES, batch_size=BATCH, learning_rate=1e-3, bptt=1,
                            weight_decay=0., warmup=0, decay="constant", seed=seed)
    train(model, data.chunks(1), config, 1, folder/str(seed), checkpoint_every=UPDATES,
          progress=False)
    return Agent(model, task.target_return)


class TheirAgent:
    "Plays greedily; sees observations as they were standardised for its training."
    def __init__(self, algorithm, mean, deviation):
        self.algorithm, self.mean, self.deviation = algorithm, mean, deviation

    def reset(self, batch): pass

    def act(self, observations, rewards):
        return self.algorithm.predict((observations - self.mean)/self.deviation)


def theirs_trained(data, seed):
    "By their training loop."
    d3rlpy.seed(seed)
    mean, deviation = data.observations.mean(0), data.observations.std(0)
    plain = replace(data, observations=(data.observations - mean)/deviation,
                    last_observations=(data.last_observations - mean)/deviation)
    algorithm = their_cql(100, learning_rate=1e-3, batch_size=BATCH, **RECIPE,
                          optim_factory=d3rlpy.optimizers.AdamFactory(clip_grad_norm=1.))
    episodes = [their_episode(plain, row) for row in range(len(plain))]
    algorithm.fit(create_infinite_replay_buffer(episodes), n_steps=UPDATES,
                  n_steps_per_epoch=UPDATES, show_progress=False,
                  logger_adapter=d3rlpy.logging.NoopAdapterFactory())
    return TheirAgent(algorithm, mean, deviation)


def greedy(agent, observations: np.ndarray) -> np.ndarray:
    "Actions (S,) in states (S, ...), each the first of an episode."
    agent.reset(len(observations))
    return agent.act(observations, None)


@pytest.mark.slow
def test_both_learn_to_balance(tmp_path):
    "From data half of whose actions are random; two of ours differ as much as ours from theirs."
    pytest.importorskip("popgym")
    task = make_task("popgym", id="VelocityOnlyCartPoleEasy", noise=0.5, labels=False)
    data, held_out = (collect(task, 60, seed, progress=False) for seed in (0, 1))
    assert data.returns.mean() < 0.7
    agents = [*(ours_trained(task, data, seed, tmp_path) for seed in (0, 1)),
              *(theirs_trained(data, seed) for seed in (0, 1))]
    returns = [play(agent, task, 100, 1_000_000).returns.mean() for agent in agents]
    assert min(returns) > 0.85, returns
    chosen = np.stack([greedy(agent, held_out.observations.copy()) for agent in agents])
    agreement = (chosen[:, None] == chosen).mean(-1)  # (4, 4), shares of states
    assert agreement.min() > 0.93, agreement
