"""Preset `paper` as a dry run: models and training as published, with little data, for two batches.

Every method of a study's main experiment is trained, stopped and continued, and measured; what its
other experiments train besides, at all lengths, is trained, stopped and continued. What would need
a download or days, data and iterations, is small; all else is what a run of weeks would use."""
import shutil
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rate_nb.core.published import unused_parameters
from rate_nb.engine.recipes import Measurement, Paths, Recipe, build_model, recipe_data
from rate_nb.engine.runs import trained_model
from rate_nb.engine.study import Preset, Study, find_study, grids_of, study_names
from rate_nb.models.sequence_model import SequenceModel
from rate_nb.paper import load_table
from rate_nb.training import train

pytestmark = pytest.mark.slow
BRIEF = dict(iterations=2, batch_size=2, warmup=1)


@dataclass(frozen=True)
class DryRun:
    "What is small of a study at `paper`; tests are those of `smoke`, longer than a segment."
    experiment: str
    episodes: int = 8                          # of the expert
    test: dict = field(default_factory=dict)   # changes of the tests of preset smoke
    extra: dict = field(default_factory=dict)  # changes of the preset's `extra`

    def preset(self, study: Study) -> Preset:
        paper, test = study.presets["paper"], dict(study.presets["smoke"].test)
        for name, changes in self.test.items():
            test[name] = test[name] | changes if isinstance(changes, dict) else changes
        extra = paper.extra | self.extra | dict.fromkeys(numbers_of_seeds(study), 1)
        return replace(paper, data=replace(paper.data, num_trajectories=self.episodes), test=test,
                       train=replace(paper.train, **BRIEF), extra=extra, seeds=1)


def numbers_of_seeds(study: Study) -> set[str]:
    "By which names the grids of a study ask for a number of seeds."
    grids = [grid for one in (study.experiments | study.planned).values() for grid in grids_of(one)]
    return {grid.seeds for grid in grids if isinstance(grid.seeds, str)}


def local_data(name: str, *kept: str) -> dict:
    "What preset smoke has in place of a download."
    return {key: find_study(name).presets["smoke"].extra[key] for key in kept}


DRY_RUNS = {
    "atari": DryRun("table 4", 4, {"episodes": dict(max_steps=100)}, local_data(
        "atari", "games", "origin", "max_steps")),
    "memory_maze": DryRun("table 1", 2, {"episodes": dict(max_steps=64, marks=(32,))},
                          {"good": 2}),
    "minigrid": DryRun("figure 7", test=dict(mazes=(41,))),
    "mujoco": DryRun("medium and replay", extra=local_data(
        "mujoco", "robots", "episodes", "origins", "stages", "stage_steps")),
    "popgym": DryRun("good, easy", extra=dict(ids=("RepeatFirstEasy",), batch=(2, 2))),
    "retrieval": DryRun("figure 12"),
    "tmaze": DryRun("figure 5", test=dict(limits=(150, 450))),
    "vizdoom": DryRun("figure 3", test={"episodes": dict(max_steps=120)})}


def test_all_studies_are_tried(): assert list(DRY_RUNS) == study_names()


# ---- the runs ----

@dataclass(frozen=True)
class Tried:
    "A method of a dry run, with its row of the results store."
    study: Study
    recipe: Recipe
    asked: list[Measurement]
    row: dict
    paths: Paths

    @property
    def name(self): return f"{self.study.name}, {self.recipe.name}"


@pytest.fixture(scope="module", params=study_names())
def tried(request, tmp_path_factory) -> list[Tried]:
    "All methods of a study's main experiment, trained and measured."
    study, dry = find_study(request.param), DRY_RUNS[request.param]
    small = replace(study, presets={"paper": dry.preset(study)})
    paths = Paths.under(tmp_path_factory.mktemp(request.param))
    rows = small.run(dry.experiment, "paper", paths=paths, progress=False).rows[dry.experiment]
    plan = small.plan(dry.experiment, "paper")
    found = [Tried(small, *run, row, paths) for run, row in zip(plan, rows, strict=True)]
    for one in found: print(cost(one))
    yield found
    shutil.rmtree(paths.data.parent)


def cost(tried: Tried) -> str:
    training, answers = tried.row["training"], tried.row["measurements"].values()
    return (f"{tried.name}: {training['parameters']:,} parameters, training "
            f"{training['seconds']:.1f} s and {training['peak_mib']:.0f} MiB, measuring "
            f"{sum(answer['wall_seconds'] for answer in answers):.1f} s")


def test_all_methods_are_as_published(tried):
    "The recipe of the real preset differs in nothing but the number and size of batches, and data."
    assert {"RATE", "DT"} <= {one.recipe.name for one in tried}
    study = find_study(tried[0].study.name)
    for one in tried:
        real = study.recipe(one.recipe.name, "paper")
        assert one.recipe.training == replace(real.training, **BRIEF)
        assert (one.recipe.model, one.recipe.model_options) == (real.model, real.model_options)
        assert one.recipe.length == real.length


def test_training_changed_what_it_can_reach(tried):
    """Losses are finite, and all parameters moved, but those of RATE's valve.

    The published training cuts gradients at each segment, and the valve works between two."""
    for one in tried:
        losses = [entry["loss"] for entry in one.row["training"]["history"] if "loss" in entry]
        assert losses and np.isfinite(losses).all(), one.name
        model, untrained = trained_model(one.recipe, one.paths)[0], build_model(one.recipe)
        before = dict(untrained.named_parameters())
        kept = {name for name, weight in model.named_parameters()
                if weight.numel() and torch.equal(weight, before[name])}
        valve = {name for name in before if name.startswith("valve.")}
        assert (one.recipe.training.bptt, kept) == (1, valve), one.name


# ---- stopped and continued ----

def stop(batch):
    "An `augment` that changes nothing, during which somebody presses Ctrl-C."
    signal.raise_signal(signal.SIGINT)
    return batch


def continued(recipe: Recipe, paths: Paths, folder: Path) -> SequenceModel:
    "The model after a training that was stopped after its first iteration, and called again."
    data, _ = recipe_data(recipe, paths, progress=False)
    def again(**how):
        model = build_model(recipe, paths)
        return model, train(model, data, recipe.training, recipe.length, folder, recipe.fingerprint,
                            log_every=1, progress=False, **how)
    with pytest.raises(KeyboardInterrupt, match="stopped after iteration 1"): again(augment=stop)
    model, history = again()
    assert [line["iteration"] for line in history] == [1, 2]
    assert np.isfinite([line["loss"] for line in history]).all(), recipe.name
    return model


def test_continues_where_it_was_stopped(tried, tmp_path):
    "Stopped after one of two iterations, it has in the end the weights of the run in one go."
    for number, one in enumerate(tried):
        ours = continued(one.recipe, one.paths, tmp_path/str(number)).state_dict()
        for name, weight in trained_model(one.recipe, one.paths)[0].state_dict().items():
            assert torch.equal(weight, ours[name]), f"{one.name}: {name}"


def what_it_trains(recipe: Recipe) -> str:
    "What tells one training's cost and shape from another's: not its data."
    return repr((recipe.model, recipe.model_options, recipe.length, recipe.training))


def test_all_else_trains_at_its_published_length(tried, tmp_path):
    "Other methods and lengths of the study: two iterations, stopped between them."
    study, paths = tried[0].study, tried[0].paths
    cells = [recipe for name in study.experiments for recipe, *_ in study.cells(name, "paper")]
    known = {what_it_trains(one.recipe) for one in tried}
    others = {what_it_trains(recipe): recipe for recipe in cells}
    for number, key in enumerate(others.keys() - known):
        continued(others[key], paths, tmp_path/str(number))
    lengths = sorted({recipe.length for recipe in others.values()})
    print(f"{study.name}: {len(others)} kinds of training, of {lengths} steps")


# ---- measured ----

def numbers(answer) -> list[float]:
    "All numbers in an answer, however deep."
    if isinstance(answer, dict): return sum(map(numbers, answer.values()), [])
    if isinstance(answer, list): return sum(map(numbers, answer), [])
    return [answer] if isinstance(answer, (int, float)) else []


def test_every_question_is_answered(tried):
    for one in tried:
        assert one.row["measurements"].keys() == {asked.key for asked in one.asked}
        for key, answer in one.row["measurements"].items():
            assert np.isfinite(numbers(answer)).all(), f"{one.name}: {key}"


# ---- Table 12: what the authors' class has and never uses, and what it has more of ----

# study -> line, width, layers, and what else theirs has, as the notebooks of the studies tell
TABLE_12 = {
    "minigrid": ("Minigrid-Memory", 64, 8, 3*64), "tmaze": ("T-Maze", 64, 8, 64),
    "memory_maze": ("Memory Maze", 64, 6, (7744 - 1024)*64),
    "vizdoom": ("ViZDoom-Two-Colors", 128, 6, 0)}


def test_sizes_are_those_of_table_12(tried):
    if (name := tried[0].study.name) not in TABLE_12: pytest.skip("no line in Table 12")
    line, width, layers, more = TABLE_12[name]
    published = load_table("table12_parameters").set_index("environment").loc[line]
    ours = {one.recipe.name: one.row["training"]["parameters"] for one in tried}
    for method, ffn in (("RATE", False), ("DT", True)):
        assert ours[method] + unused_parameters(width, layers, ffn) + more == published[method]
