"""What the POPGym study takes for granted is what its rows say."""

import pytest
from rate_nb.envs.popgym.package import IDS
from rate_nb.envs.popgym.study import MAIN, STUDY, doubled, settled, settled_by


@pytest.mark.parametrize("data", ["good", "poor"])
def test_settled_without_a_second_training(data):
    "The table of settings that are not trained twice is the rows'."
    found = settled_by(STUDY.run(preset="laptop"), data)
    table = {(method, id) for method in MAIN for id in settled(data, method)}
    assert table == set(zip(found.name, found.id, strict=True))


def test_doubled_are_all_others():
    grids = doubled("good", "Easy", MAIN)
    asked = {(*grid.methods, setting["id"]) for grid in grids
             for setting in grid.settings(STUDY.presets["laptop"])}
    everything = {(method, id) for method in MAIN for id in IDS if id.endswith("Easy")}
    assert asked == everything - {(method, id) for method in MAIN for id in settled("good", method)}
