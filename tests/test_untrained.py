"""Every score is tried on players that must fail and on one that must succeed.

An untrained model may do no better than the best constant action, which is measured here, in the
same episodes; an expert has to do better by the same rule, or the rule could not tell. The rule is
a test of significance, since a few episodes may differ by chance:

- successes: Fisher's exact test (the binomial one for two counts), one-sided, at 0.001. With 100
  episodes and a constant action that never succeeds, 10 successes are too many; with one that
  succeeds in half, 73.
- returns: Welch's t-test, one-sided, at 0.05. Slow simulators allow 4 to 6 episodes, with which a
  smaller level would find nothing."""
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from rate_nb.acting import Agent
from rate_nb.evaluation import ExpertAgent, play
from rate_nb.engine.measurements import measure
from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe, build_model
from rate_nb.engine.runs import trained_model
from rate_nb.analysis.probes import Prompted, memory_trace, separation
from rate_nb.models.sequence_model import make_model
from rate_nb.engine.tasks import make_task
from rate_nb.core.training_config import TrainingConfig
from scipy import stats

torch.set_num_threads(1)


def more_successes(ours: float, theirs: float, episodes: int) -> bool:
    "Whether a share of successes is above another beyond chance."
    counts = [round(share*episodes) for share in (ours, theirs)]
    return stats.fisher_exact([[count, episodes - count] for count in counts],
                              alternative="greater").pvalue < 0.001


def more_return(ours: np.ndarray, theirs: np.ndarray) -> bool:
    "Whether returns (episodes,) are above others beyond chance."
    if np.ptp(ours) == np.ptp(theirs) == 0: return ours[0] > theirs[0]
    return stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue < 0.05


def test_the_rules_can_tell():
    "As they are described above."
    assert [more_successes(count/100, 0, 100) for count in (9, 10, 100)] == [False, True, True]
    assert [more_successes(count/100, 0.5, 100) for count in (72, 73)] == [False, True]
    assert [more_return(np.array(ours), np.array([0., 0, 1, 1]))
            for ours in ([0., 1, 1, 1], [3., 1, 2, 4])] == [False, True]


# ---- tasks ----

class Constant:
    "Always the same action."
    def __init__(self, action): self.action = np.asarray(action)
    def reset(self, batch): self.batch = batch
    def act(self, observations, rewards): return np.repeat(self.action[None], self.batch, 0)


class Gait(Constant):
    "HalfCheetah's legs swing, whatever it sees: found by a random search."
    swing = np.array([0.6, 1.3, 1.1, 0.5, 0.5, 0.9])
    phase = np.array([2.8, 4.7, 2.1, 6.1, 6.7, -1.4])

    def __init__(self): self.step = 0

    def act(self, observations, rewards):
        self.action = np.clip(self.swing*np.sin(1.09*self.step + self.phase), -1,
                              1).astype(np.float32)
        self.step += 1
        return super().act(observations, rewards)


class StaysOpen(VectorWrapper):
    "Environments that the next player finds again; simulators take seconds to start."
    def close(self): pass


class Reusing:
    "A task that makes its environments once."
    def __init__(self, task): self.task, self.made = task, {}
    def __getattr__(self, name): return getattr(self.task, name)
    def for_expert(self): return self

    def make_vector_env(self, *given):
        if given not in self.made: self.made[given] = self.task.for_expert().make_vector_env(*given)
        return StaysOpen(self.made[given])

    def close(self):
        for env in self.made.values(): env.close()


def constants(space) -> list:
    "All actions, or a few vectors."
    if isinstance(space, spaces.Discrete): return list(range(int(space.n)))
    return [np.full(space.shape, value, np.float32) for value in (-1, -0.5, 0, 0.5, 1)]


def untrained(name, task):
    torch.manual_seed(0)
    return make_model(name, task.observation_space, task.action_space, segment_length=5)


EVERY, ONE = ("rate", "dt", "bc_mlp"), ("rate",)  # models; one where the simulator is slow
BY_SUCCESS = {"tmaze": dict(corridor_length=10), "retrieval": dict(episode_length=12),
              "minigrid": dict(size=11)}
BY_RETURN = {"atari": (dict(game="breakout", max_steps=300), 4, ONE),
             "vizdoom": (dict(max_steps=90, expert_noise=0.), 5, ONE),
             "memory_maze": (dict(max_steps=120, expert_noise=0.), 4, ONE),
             "mujoco": (dict(environment="halfcheetah"), 4, EVERY)}


@pytest.mark.parametrize("name", BY_SUCCESS)
def test_success_of_tasks(name):
    task = make_task(name, **BY_SUCCESS[name])
    def success(player): return play(player, task, 100, seed=0).success_rate
    best = max(success(Constant(action)) for action in constants(task.action_space))
    for model in EVERY:
        assert not more_successes(success(Agent(untrained(model, task), task.target_return)), best,
                                  100), model
    assert more_successes(success(ExpertAgent(task)), best, 100)


@pytest.mark.parametrize("name", BY_RETURN)
def test_returns_of_tasks(name):
    options, episodes, models = BY_RETURN[name]
    task = Reusing(make_task(name, **options))
    def returns(player): return play(player, task, episodes, seed=0).returns
    try:
        best = max((returns(Constant(action)) for action in constants(task.action_space)),
                   key=np.mean)
        for model in models:
            assert not more_return(returns(Agent(untrained(model, task), task.target_return)),
                                   best), model
        assert more_return(returns(Gait() if name == "mujoco" else ExpertAgent(task)), best)
    finally: task.close()


# ---- probes: who must succeed is a small RATE, trained in seconds on a short T-Maze ----

RECIPE = Recipe(name="RATE", task="tmaze", model="rate", preset="smoke", seed=0, length=9,
                data=DataSpec(400),
                task_options={"corridor_length": [1, 7]},
                model_options=dict(segment_length=3, d_model=32, d_head=16, memory_tokens=2,
                                   double_residual=False, dropout=0.,
                                   attention_dropout=0.),
                training=TrainingConfig(iterations=200, batch_size=32, warmup=20,
                                        learning_rate=3e-3))
MAZE, EPISODES = dict(corridor_length=7), 100


@pytest.fixture(scope="module")
def paths(tmp_path_factory): return Paths.under(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(scope="module")
def trained(paths): return trained_model(RECIPE, paths, progress=False)[0]


def habit(action: int):
    "A model that does the same whatever it reads."
    task = make_task("tmaze", **MAZE)
    model = make_model("bc_mlp", task.observation_space, task.action_space, segment_length=3)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(50.*torch.nn.functional.one_hot(torch.tensor(action), 4))
    return model


def answers(model, paths, kind, **options):
    return measure(Measurement(kind, MAZE | dict(seed=7) | options), model, RECIPE, paths)


@pytest.mark.parametrize("kind, options",
                         [("play", {}), ("prompted play", {}), ("prompted play", dict(steps=3))],
                         ids=str)
def test_success_of_probes(kind, options, trained, paths):
    def success(model): return answers(model, paths, kind, episodes=EPISODES, **options)["success"]
    best = max(success(habit(action)) for action in range(4))
    assert not more_successes(success(build_model(RECIPE)), best, EPISODES)
    assert more_successes(success(trained), best, EPISODES)


def test_prompted_play_leaves_the_answer_to_the_model(paths):
    "In retrieval the expert's first action is the question, and must not be the answer, too."
    task = make_task("retrieval", episode_length=30)
    def success(player): return play(player, task, EPISODES, seed=0).success_rate
    for name in EVERY:
        assert success(Prompted(untrained(name, task), 1., task.make_expert(), 1)) == 0, name
    assert success(Prompted(untrained("rate", task), 1., task.make_expert(), 30)) == 1


def test_noise(trained, paths):
    """With the memory destroyed a trained model is no better than a guess; an untrained one never
    is."""
    def success(model, alpha):
        return answers(model, paths, "noise", part="tokens", alpha=alpha,
                       episodes=EPISODES)["success"]
    best = max(answers(habit(action), paths, "play", episodes=EPISODES)["success"]
               for action in range(4))
    for alpha in (0., 1.):
        assert not more_successes(success(build_model(RECIPE), alpha), best, EPISODES)
    assert not more_successes(success(trained, 1.), 0.5, EPISODES)
    assert more_successes(success(trained, 0.), 0.5, EPISODES)


def test_noisy_episodes(trained, paths):
    def won(model, alpha): # a share
        returns = answers(model, paths, "noisy episodes", part="tokens", alpha=alpha,
                          episodes=EPISODES)["returns"]
        return np.mean(np.array(returns) > 0)
    assert not more_successes(won(build_model(RECIPE), 1.), 0, EPISODES)
    assert not more_successes(won(trained, 1.), 0.5, EPISODES)
    assert more_successes(won(trained, 0.), 0.5, EPISODES)


def test_recall(trained, paths):
    "Any player without memory has a sum of 1 at most: no margin is needed."
    def total(model): return answers(model, paths, "recall", episodes=EPISODES)["sum"]
    best = max(total(habit(action)) for action in range(4))
    assert best == pytest.approx(1, abs=1e-5)
    assert total(build_model(RECIPE)) <= best < total(trained)


def test_imitation(trained, paths):
    """Counted by episode, of which each has one step that takes memory; steps of an episode are
    no independent draws."""
    def accuracy(model):
        return measure(Measurement("imitation", dict(num_trajectories=EPISODES, data_seed=1)),
                       model, RECIPE, paths)["accuracy"]
    best = max(accuracy(habit(action)) for action in range(4))
    assert not more_successes(accuracy(build_model(RECIPE)), best, EPISODES)
    assert more_successes(accuracy(trained), best, EPISODES)


def test_readable_memory(trained):
    """With shuffled classes no memory is readable, whoever's it is. With the true ones the trained
    model's is, at the end of the episode.

    (An untrained model's shows the clue for a while, as any random function of the first step does:
    at the first border that of 76 episodes of 100, at the last one of 58.)"""
    task = make_task("tmaze", **MAZE)
    def readable(model, shuffled):
        memories, _, classes = memory_trace(model, task, EPISODES, seed=7, class_key="clue")
        if shuffled: classes = np.random.default_rng(0).permutation(classes)
        return separation(memories[:, -1], classes)[1]
    for model in (trained, build_model(RECIPE)):
        assert not more_successes(readable(model, True), 0.5, EPISODES)
    assert not more_successes(readable(build_model(RECIPE), False), 0.5, EPISODES)
    assert more_successes(readable(trained, False), 0.5, EPISODES)


def test_attention(trained, paths):
    "Weights are shares: they sum to one, whoever attends."
    for model in (trained, build_model(RECIPE)):
        assert np.allclose(np.sum(answers(model, paths, "attention")["maps"], -1), 1, atol=0.02)
