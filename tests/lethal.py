"Measurements of runs that end badly."
import os
import signal


def measure_end(model, recipe, paths) -> dict:
    "Ends its process with seed 1, as the system does when memory is short."
    if recipe.seed == 1: os.kill(os.getpid(), signal.SIGKILL)
    return {"score": 1.}


def measure_failure(model, recipe, paths) -> dict:
    "Fails with seed 2."
    if recipe.seed == 2: raise OSError("the disk is full")
    return measure_end(model, recipe, paths)
