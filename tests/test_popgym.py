"""What the POPGym study takes for granted is what its rows say."""

import pytest
from rate_nb.engine.fit import NOT_LEARNT, UNDER_TRAINED
from rate_nb.envs.popgym.package import IDS
from rate_nb.envs.popgym.study import MAIN, STUDY, listed, runs_of, settled_by


@pytest.mark.parametrize("data", ["good", "poor"])
def test_settled_without_a_second_training(data):
    "The table of settings that are not trained twice is the rows'."
    found = settled_by(STUDY.run(preset="laptop"), data)
    table = {(method, id) for method in MAIN for id in listed("settled", data, method)}
    assert table == set(zip(found.name, found.id, strict=True))


@pytest.mark.parametrize("data", ["good", "poor"])
def test_under_trained(data):
    "So is that of settings that are run again, with more iterations."
    runs = runs_of(STUDY.run(preset="laptop"), data, ("",))
    found = runs[(runs.seed == 0) & (runs.standing == UNDER_TRAINED)]
    table = {(method, id) for method in MAIN for id in listed("under_trained", data, method)}
    assert table == set(zip(found.name, found.id, strict=True))


def test_still_short():
    "And that of settings that twice the iterations leave short by little."
    runs = runs_of(STUDY.run(preset="laptop"), "poor", ("", " longer"))
    found = runs[(runs.standing == UNDER_TRAINED) & (runs.gain < 0.04)]
    table = {(method, id) for method in MAIN for id in listed("still_short", "poor", method)}
    assert table == set(zip(found.name, found.id, strict=True))


def test_not_learnt():
    "And that of settings where nothing is learned, tried again to see whether that takes time."
    runs = runs_of(STUDY.run(preset="laptop"), "poor", ("",))
    found = runs[runs.standing == NOT_LEARNT]
    table = {(method, id) for method in MAIN for id in listed("not_learnt", "poor", method)}
    assert table == set(zip(found.name, found.id, strict=True))


def test_doubled_are_all_others():
    asked = {(*grid.methods, setting["id"]) for part in ("", ", cloning")
             for grid in STUDY.experiments[f"good doubled, easy{part}"]
             for setting in grid.settings(STUDY.presets["laptop"])}
    everything = {(method, id) for method in MAIN for id in IDS if id.endswith("Easy")}
    settled = {(method, id) for method in MAIN for id in listed("settled", "good", method)}
    assert asked == everything - settled
