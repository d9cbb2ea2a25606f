"""RATE, the Recurrent Action Transformer with Memory: learn it, run it, extend it.

What most people need hangs on the package itself and is loaded on first use, so that
`import rate_nb` is instant:

environments and data
    make_task        an environment by name: "tmaze", "vizdoom", …, or "module:Class"
    task_names       the names that it knows
    Task             what a task of your own is a subclass of
    register_task    make it known by name
    collect          let a task's expert play: a dataset in memory
    get_dataset      the same on disk, kept and reused
    Trajectories     episodes of your own, and what collecting gives
    from_minari, to_minari  datasets of others, datasets for others

models
    make_model       "rate", "rmt", "trxl", "dt", "bc_lstm", …, or "module:function"
    model_names      the names that it knows
    register_model   make a model of your own known by name
    save_model, load_model  whole models; load_weights fills one that you have built
    load_kept        a trained model that came with the package

training and playing
    TrainingConfig   all choices of the training loop
    train            train a model on trajectories; goes on where a folder left off
    Agent            plays with a model, one step at a time
    play             whole episodes, and their scores
    rollout_video    pictures of them
    imitation_scores how well a model predicts logged actions, without an environment

experiments
    Recipe, DataSpec, Measurement, Paths  one run, written down
    run, sweep       train and measure; many runs in several processes
    Study, Method, Preset, Grid, Claim    a reproduction, written down
    find_study       one of ours, by name: find_study("tmaze").run()

The course (nbs/course) explains all of it; `rate-nb --help` is the command line.
"""
__version__ = "0.2.0"

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:  # for editors and static checkers
    from .acting import Agent
    from .core.training_config import TrainingConfig
    from .engine.checkpoints import load_model, load_weights, save_model
    from .engine.collection import collect, get_dataset
    from .engine.imitation import imitation_scores
    from .engine.minari import from_minari, to_minari
    from .engine.model_cards import load_kept
    from .engine.recipes import DataSpec, Measurement, Paths, Recipe
    from .engine.rollouts import rollout_video
    from .engine.runs import run
    from .engine.study import Grid, Method, Preset, Study, find_study
    from .engine.sweeps import sweep
    from .engine.tasks import Task, make_task, register_task, task_names
    from .engine.verdicts import Claim
    from .evaluation import play
    from .models.sequence_model import make_model, model_names, register_model
    from .training import train
    from .trajectories import Trajectories

_PLACES = {
    "acting": "Agent",
    "core.training_config": "TrainingConfig",
    "engine.checkpoints": "load_model load_weights save_model",
    "engine.collection": "collect get_dataset",
    "engine.imitation": "imitation_scores",
    "engine.minari": "from_minari to_minari",
    "engine.model_cards": "load_kept",
    "engine.recipes": "DataSpec Measurement Paths Recipe",
    "engine.rollouts": "rollout_video",
    "engine.runs": "run",
    "engine.study": "Grid Method Preset Study find_study",
    "engine.sweeps": "sweep",
    "engine.tasks": "Task make_task register_task task_names",
    "engine.verdicts": "Claim",
    "evaluation": "play",
    "models.sequence_model": "make_model model_names register_model",
    "training": "train",
    "trajectories": "Trajectories"}
_MODULE = {name: module for module, names in _PLACES.items() for name in names.split()}
__all__ = sorted(_MODULE)


def __getattr__(name):
    if name not in _MODULE:
        raise AttributeError(f"rate_nb has no {name!r}: see help(rate_nb) for what there is, and "
                             "its modules for the rest")
    found = getattr(_import_module(f"rate_nb.{_MODULE[name]}"), name)
    globals()[name] = found
    return found


def __dir__(): return sorted({*globals(), *__all__})
