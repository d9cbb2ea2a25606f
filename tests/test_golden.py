"""Every model computes the numbers of golden.json, to 1e-9, or `NUMERICS` was raised.

A change of the arithmetic makes weights and rows of before incomparable. These tests see it."""
import json

import golden
import pytest
import torch
from rate_nb.attention import RelativeAttention
from rate_nb.engine.provenance import NUMERICS
from rate_nb.models import rate_steps
from rate_nb.models.attention_steps import step_attention
from rate_nb.models.layers import GRUGate, TrXLLayer
from rate_nb.models.sequence_model import RecurrentModel

STORED, CASES = golden.read(), golden.cases()


def differences(name: str) -> list[str]:
    return golden.differences(golden.compute(CASES[name]), STORED["cases"][name])


def test_numbers_are_those_of_this_arithmetic():
    assert STORED["numerics"] == NUMERICS, "NUMERICS was raised: run python tests/golden.py"
    missing = CASES.keys() - STORED["cases"].keys()
    assert not missing, "run python tests/golden.py, which adds them"


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    "Outputs, acting, gradients, and three steps of training."
    assert not differences(name), ("the arithmetic has changed: if that is wanted, raise NUMERICS "
                                   "in nbs/engine/provenance.ipynb and run python tests/golden.py")


# ---- what the numbers see ----

def scaled_biases(monkeypatch):
    "u and v act √d_head times too strongly: the fault of arithmetic 1."
    forward = RelativeAttention.forward
    def mutated(self, x, seen, table, biases, plan):
        return forward(self, x, seen, table, [bias*self.d_head**0.5 for bias in biases], plan)
    monkeypatch.setattr(RelativeAttention, "forward", mutated)


def scaled_acting(monkeypatch):
    "The same while acting, which has a kernel of its own."
    def scaled(attention, biases, mask):
        return step_attention(attention, [bias*attention.d_head**0.5 for bias in biases], mask)
    monkeypatch.setattr(rate_steps, "step_attention", scaled)


def other_gate(monkeypatch):
    "GTrXL's gate without its bias."
    forward = GRUGate.forward
    def mutated(self, x, update):
        self.bias.data.zero_()
        return forward(self, x, update)
    monkeypatch.setattr(GRUGate, "forward", mutated)


def one_residual(monkeypatch):
    "The attention's input is added once, though the option says twice."
    init = TrXLLayer.__init__
    def mutated(self, config):
        init(self, config)
        self.residual = 1
    monkeypatch.setattr(TrXLLayer, "__init__", mutated)


def nearly(monkeypatch):
    "Attention is off by a millionth."
    forward = RelativeAttention.forward
    monkeypatch.setattr(RelativeAttention, "forward",
                        lambda *given: forward(*given)*(1 + 1e-6))


def forgets(monkeypatch):
    "A recurrent model that acts without its memory."
    step = RecurrentModel.step
    monkeypatch.setattr(RecurrentModel, "step",
                        lambda self, *given: step(self, *given[:-1],
                                                  given[-1]._replace(memory=None)))


def slower(monkeypatch):
    "AdamW's second moment forgets faster."
    init = torch.optim.AdamW.__init__
    monkeypatch.setattr(torch.optim.AdamW, "__init__", lambda self, weights, betas, **options:
                        init(self, weights, betas=(betas[0], 0.99), **options))


MUTATIONS = {scaled_biases: ("rate", "dt", "trxl"), scaled_acting: ("rate", "oracle_dt"),
             other_gate: ("layer gtrxl, no network",), one_residual: ("rmt",),
             nearly: ("rate", "layer trxl_i, with network"),
             forgets: ("bc_lstm", "bc_gru"), slower: ("rate", "bc_mlp")}


@pytest.mark.parametrize("mutate, name", [(how, name) for how, names in MUTATIONS.items()
                                          for name in names],
                         ids=lambda part: getattr(part, "__name__", part))
def test_mutations_are_seen(mutate, name, monkeypatch):
    mutate(monkeypatch)
    assert differences(name)


def test_every_number_moves_with_the_biases(monkeypatch):
    "All outputs and losses of RATE differ, not one of them by accident."
    scaled_biases(monkeypatch)
    scaled_acting(monkeypatch)
    told = "\n".join(differences("rate"))
    assert all(f"/{part}/{i}:" in told for part, number in
               (("outputs", sum(golden.STEPS)), ("acted", golden.LENGTH), ("training/losses", 3))
               for i in range(number))


# ---- the file ----

def test_only_what_is_missing_is_written(tmp_path):
    path, wanted = tmp_path/"golden.json", {"bc_mlp": CASES["bc_mlp"]}
    assert golden.renew(path, wanted) == ["bc_mlp"]
    stored = golden.read(path)
    stored["cases"]["bc_mlp"]["outputs"][0] += 1.
    path.write_text(json.dumps(stored), encoding="utf-8")
    wanted["bc_gru"] = CASES["bc_gru"]
    assert golden.renew(path, wanted) == ["bc_gru"] and golden.renew(path, wanted) == []
    assert golden.read(path)["cases"]["bc_mlp"] == stored["cases"]["bc_mlp"], "was overwritten"


def test_a_raised_numerics_renews_all(tmp_path, monkeypatch):
    path, wanted = tmp_path/"golden.json", {"bc_mlp": CASES["bc_mlp"]}
    stored = {"numerics": NUMERICS, "cases": {"bc_mlp": {}, "gone": {}}}
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert golden.renew(path, wanted) == []
    monkeypatch.setattr(golden, "NUMERICS", NUMERICS + 1)
    assert golden.renew(path, wanted) == ["bc_mlp"]
    assert golden.read(path)["numerics"] == NUMERICS + 1
    assert list(golden.read(path)["cases"]) == ["bc_mlp"]
    monkeypatch.setattr(golden, "NUMERICS", NUMERICS)
    with pytest.raises(ValueError, match="it only rises"): golden.renew(path, wanted)


def test_differences_are_told():
    stored = {"a": [1., 100.], "b": {"c": 0.}}
    assert golden.differences(stored, stored) == []
    assert golden.differences({"a": [1., 100. + 5e-8], "b": {"c": -9e-10}}, stored) == []
    assert golden.differences({"a": [1., 100. + 2e-7], "b": {"c": 0.}}, stored) == [
        "/a/1: 100.0000002, not 100.0"]
    assert golden.differences({"a": [1., float("nan")], "b": {"c": 0.}}, stored)
    assert golden.differences({"a": [1.], "b": {"c": 0.}}, stored) == [
        "/a/1 is there in one of them only"]
