"A measurement that ends its process, as the system does when memory is short."
import os
import signal


def measure_end(model, recipe, paths) -> dict:
    if recipe.seed == 1: os.kill(os.getpid(), signal.SIGKILL)
    return {"score": 1.}
