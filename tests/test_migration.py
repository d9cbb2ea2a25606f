"""Every row that was written before recipes, settings and measurements got today's names is found
under its new key.

`rows_before.json` lists them: old file, new file, and SHA-256 of the training's and of each
answer's numbers, taken from the old file."""
import hashlib
import json

import pytest
from conftest import ROOT
from rate_nb.engine.measurements import find_measure
from rate_nb.engine.recipes import Measurement, Paths, recipe_from
from rate_nb.engine.rows import read_row

BEFORE = json.loads((ROOT/"tests"/"rows_before.json").read_text(encoding="utf-8"))
STUDIES = sorted({place["row"].split("/")[1] for place in BEFORE.values()})


def digest(numbers) -> str:
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def test_all_rows_of_then_are_listed():
    assert len(BEFORE) == 159
    assert len({place["row"] for place in BEFORE.values()}) == len(BEFORE)


@pytest.mark.parametrize("study", STUDIES)
def test_rows_survive(study):
    "Recipe, answers and numbers."
    for place in BEFORE.values():
        path = ROOT/place["row"]
        if path.parent.parent.name != study: continue
        row = read_row(path)
        recipe = recipe_from(row["recipe"])
        assert (Paths.under(ROOT).row(recipe), recipe.hash) == (path, row["hash"])
        assert digest(row["training"]) == place["training"]
        kept = {key: digest(row["measurements"][key]) for key in place["measurements"]}
        assert kept == place["measurements"]


def test_answers_are_of_kinds_that_exist():
    for key in {key for place in BEFORE.values() for key in place["measurements"]}:
        find_measure(Measurement(*json.loads(key)))
