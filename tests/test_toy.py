"""A new environment with a figure is a folder in `envs` and a repro notebook.

In a copy of the repository we write these, run them, and see that nothing else has changed."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from test_house import check_floors, check_mirror, check_spelling, folders

TASK = '''
#| default_exp envs.toy.task
---
#| export
from dataclasses import dataclass
from typing import ClassVar

import gymnasium as gym
import numpy as np
from rate_nb.engine.tasks import Task
---
#| export
class ToyEnv(gym.Env):
    "Say at the fourth step what was seen at the first."
    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.cue = 0, int(self.np_random.integers(2))
        return np.float32([2*self.cue - 1]), {"cue": self.cue}

    def step(self, action):
        self.t += 1
        paid = float(self.t == 4 and action == self.cue)
        return np.float32([0]), paid, self.t == 4, False, {"cue": self.cue}
---
#| export
class ToyExpert:
    "Is told the cue."
    def reset(self, num_envs): pass
    def act(self, observations, infos): return infos["cue"]
---
#| export
@dataclass(frozen=True)
class Toy(Task):
    "Four steps."
    name: ClassVar[str] = "toy"
    observation_space: ClassVar[gym.Space] = ToyEnv.observation_space
    action_space: ClassVar[gym.Space] = ToyEnv.action_space
    max_steps: ClassVar[int] = 4
    target_return: ClassVar[float] = 1.

    def make_env(self): return ToyEnv()
    def make_expert(self): return ToyExpert()
    def success(self, returns): return returns > 0.5
---
#| export
TASK = Toy
'''

STUDY = '''
#| default_exp envs.toy.study
---
#| export
from rate_nb.engine.presets import Preset
from rate_nb.engine.recipes import DataSpec, Measurement
from rate_nb.engine.results import scores_of
from rate_nb.engine.study import Grid, Method, Study
from rate_nb.engine.verdicts import Claim, Within
from rate_nb.core.training_config import TrainingConfig
---
#| export
SMALL = dict(segment_length=2, num_segments=2, d_model=16, d_head=8, num_layers=1, num_heads=2)
SMOKE = Preset(DataSpec(16), {"transformer": SMALL},
               TrainingConfig(iterations=3, batch_size=4, warmup=1), dict(episodes=4), seeds=2)

def base(preset): return dict(task="toy", length=4)
def play(preset, run): return [Measurement("play", preset.test | dict(seed=7))]

def claims(preset):
    return [Claim("It succeeds", "–", scores_of("figure 1", "RATE"), Within(low=0.9))]
---
#| export
STUDY = Study("toy", base, {"RATE": Method("rate")}, {"smoke": SMOKE},
              {"figure 1": Grid(("RATE",), play)}, claims)
'''

REPRO = '''
preset = "smoke"  # the only one
---
from rate_nb.engine.figures import curves, verdict_table
from rate_nb.engine.parameters import check_parameters
from rate_nb.engine.style import save_figure
from rate_nb.envs.toy.study import STUDY

preset, = check_parameters(globals(), preset=STUDY.presets)
results = STUDY.run(preset=preset)
---
ax = curves(results.frame("figure 1"), "seed", "success", "name")
save_figure(ax.figure, results.figures, "figure_1", ("png",))
---
verdict_table(results.verdicts())
'''

RUN = '''
from rate_nb import find_study, make_task, play
from rate_nb.evaluation import ExpertAgent

task = make_task("toy")
assert play(ExpertAgent(task), task, episodes=8, seed=0).success_rate == 1
results = find_study("toy").run(preset="smoke", progress=False)
assert len(results.frame("figure 1")) == 2
(line,) = results.verdicts()
assert line["claim"] == "It succeeds" and line["verdict"] != "not tested", line
'''

# as `make notebooks` does; that also renews the map of notebooks, in the index and README.md
COLAB = """
import sys
sys.path.insert(0, "docs")
import generate
generate.write_colab_cells(generate.ROOT)
"""


def write_notebook(path: Path, title: str, text: str) -> None:
    "A heading, and cells that `---` divides; `parameters` of a repro notebook are in the first."
    sources = [source.strip("\n") for source in text.split("---\n")]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if path.stem.startswith("repro_"): cells[0].metadata["tags"] = ["parameters"]
    heading = nbformat.v4.new_markdown_cell(f"# {title}\n\n> To see what an environment touches")
    path.parent.mkdir(exist_ok=True)
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=[heading, *cells], metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)


def write_toy(root: Path) -> None:
    "All that a new environment needs."
    write_notebook(root/"nbs"/"envs"/"toy"/"task.ipynb", "Toy", TASK)
    write_notebook(root/"nbs"/"envs"/"toy"/"study.ipynb", "The toy's study", STUDY)
    write_notebook(root/"nbs"/"repro_toy.ipynb", "RATE on the toy", REPRO)


def tracked() -> list[str]:
    "Files that git knows, as far as they are there; without git, there is nothing to copy by."
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode: pytest.skip("not a git repository")
    return [name for name in listed.stdout.split("\0") if name and (ROOT/name).is_file()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    "The repository with a toy."
    root = tmp_path_factory.mktemp("repository")
    for name in tracked():
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, root/name)
    write_toy(root)
    return root


def run(root: Path, name: str, *arguments: str) -> None:
    "A command of this environment in the copy, which imports the copy's library."
    environment = {key: value for key, value in os.environ.items() if key != "IN_TEST"}
    done = subprocess.run([str(Path(sys.executable).with_name(name)), *arguments], cwd=root,
                          env=environment | {"PYTHONPATH": str(root)},
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_a_new_environment_touches_nothing_else(copy):
    run(copy, "nbdev_export")
    run(copy, "python", "-c", COLAB)
    run(copy, "python", "-c", RUN)
    executed = str(copy/"executed.ipynb")
    run(copy, "papermill", "nbs/repro_toy.ipynb", executed, "--cwd", "nbs", "-k", "python3",
        "-p", "preset", "smoke", "--no-progress-bar")
    assert (copy/"results"/"toy"/"figures_smoke"/"figure_1.png").exists()
    changed = [name for name in tracked() if (copy/name).read_bytes() != (ROOT/name).read_bytes()]
    assert changed == ["rate_nb/_modidx.py"], "made by nbdev_export"
    check_floors(copy)
    check_mirror(copy)
    check_spelling(copy, sorted([*folders(ROOT/"nbs"/"envs"), "toy"]))
