"""Every registered model keeps the protocol: a step is what the whole pass says, a training that is
interrupted goes on to the same bits, and every space goes in and comes out.

The names come from the registry, so that a new model is tested here without a line."""
import numpy as np
import pytest
import torch
from gymnasium import spaces
from rate_nb.core.spaces import actions_out, array_space
from rate_nb.models.sequence_model import accepted_options, make_model, model_names
from rate_nb.core.training_config import TrainingConfig
from rate_nb.training import train
from rate_nb.trajectories import Segment, Trajectories, select_rows
from test_spaces import MOVES, PAIRS, VECTOR

REALS = spaces.Box(-1, 1, (2,), np.float32)
WANTED = dict(d_model=8, d_head=4, d_inner=8, num_layers=2, num_heads=2, memory_tokens=2,
              memory_slots=2, segment_length=2, num_segments=3)
EXTRA = ({}, {"past_action": True}, {"cache_length": 5})  # of models that have these options
VARIANTS = [(name, changes) for name in model_names() for changes in EXTRA
            if changes.keys() <= accepted_options(name).keys()]


def moves_of(name: str) -> spaces.Space:
    "Whole numbers, or real ones for a model that takes no others."
    try: make_model(name, VECTOR, MOVES)
    except TypeError: return REALS
    return MOVES


def build(name: str, observation=VECTOR, action=None, **changes):
    "A tiny model, always with the same weights, whose windows do not overlap."
    action = action or moves_of(name)
    known = accepted_options(name)
    no_network = {"d_inner"} if "skip_ffn" in known else set() # by default it has none
    options = {key: value for key, value in (WANTED | dict(overlap=0)).items()
               if key in known.keys() - no_network}
    torch.manual_seed(0)
    return make_model(name, observation, action, **options | changes)


def members(space: spaces.Space, batch: int, steps: int) -> np.ndarray:
    "Values of an array space, (batch, steps, *space.shape)."
    space.seed(0)
    flat = np.stack([space.sample() for _ in range(batch*steps)])
    return flat.reshape(batch, steps, *space.shape)


def batch_of(model, segments: int = 3) -> Segment:
    "Three episodes of unequal lengths, padded with zeros to so many segments of the model."
    steps = segments*model.segment_length
    lengths = np.array([steps, steps - model.segment_length - 1, 1])
    real = np.arange(steps) < lengths[:, None]
    seen, done = (members(array_space(space), 3, steps)
                  for space in (model.observation_space, model.action_space))
    for part in (seen, done): part[~real] = 0
    seen, done = (torch.from_numpy(part.astype(np.float32) if part.dtype == np.float64 else part)
                  for part in (seen, done))
    clue = torch.tensor([0, 1, 1]) if model.num_clues else None
    return Segment(seen, done, torch.rand(3, steps), torch.from_numpy(real), clue)


@torch.no_grad()
def in_segments(model, whole: Segment, between=None) -> torch.Tensor:
    return torch.cat([output for _, output in model.eval().read(whole, between)], 1)


@torch.no_grad()
def in_steps(model, whole: Segment, between=None) -> torch.Tensor:
    told = {"clue": whole.clue} if model.num_clues else {}
    state, outputs = model.eval().initial_state(len(whole.mask), between=between, **told), []
    for step in range(whole.mask.shape[1]):
        before = whole.action[:, step - 1] if step else None
        seen = whole.observation[:, step], whole.return_to_go[:, step]
        output, state = model.step(*seen, before, state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def numbers(memory) -> list[torch.Tensor]:
    "All tensors of a memory, however deep."
    if memory is None: return []
    if torch.is_tensor(memory): return [memory.clone()]
    return sum(map(numbers, memory), [])


# ---- acting ----

@pytest.mark.parametrize("name, changes", VARIANTS)
def test_a_step_is_what_the_whole_pass_says(name, changes):
    "Three segments, unequal lengths; the memory at the boundaries included."
    model = build(name, **changes)
    whole, reading, acting = batch_of(model), [], []
    def noted(place):
        return lambda number, memory: place.append((number, numbers(memory))) or memory
    expected = in_segments(model, whole, noted(reading))
    found = in_steps(model, whole, noted(acting))
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert [number for number, _ in reading] == [number for number, _ in acting] == [1, 2]
    for (_, wanted), (_, there) in zip(reading, acting, strict=True):
        for one, other in zip(there, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name, changes", VARIANTS)
def test_rows_do_not_mix_and_padding_is_not_seen(name, changes):
    model = build(name, **changes)
    whole = batch_of(model)
    expected = in_segments(model, whole)
    alone = torch.cat([in_segments(model, select_rows(whole, [row])) for row in range(3)])
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        for number, (segment, output) in enumerate(model.read(whole, drop_ended=True)):
            first = number*model.segment_length
            wanted = expected[:len(output), first:first + model.segment_length]
            real = segment.mask
            torch.testing.assert_close(output[real], wanted[real], rtol=0, atol=1e-5)


# ---- training ----

class Stopped(Exception): pass


def stop(iteration, model): raise Stopped


def trained(name: str, changes: dict, folder, on_checkpoint=None) -> bytes:
    "The weights after four iterations, with the model's own dropout. The data suit values, too."
    model, rng = build(name, **changes), np.random.default_rng(0)
    steps = [2*model.segment_length, model.segment_length + 1, 1, 2]
    seen = [rng.normal(size=(n + 1, 3)).astype(np.float32) for n in steps]
    done = [members(model.action_space, 1, n)[0] for n in steps]
    episodes = [(one, taken, rng.random(len(taken))) for one, taken in zip(seen, done)]
    ends = np.array([True, False, True, True])
    data = Trajectories.from_episodes(episodes, clues=[0, 1, 1, 0], terminated=ends,
                                      truncated=~ends)
    config = TrainingConfig(iterations=4, batch_size=3, warmup=1, bptt=1)
    train(model, data, config, 2*model.segment_length, folder, checkpoint_every=2, log_every=1,
          on_checkpoint=on_checkpoint, progress=False)
    return (folder/"model.safetensors").read_bytes()


@pytest.mark.parametrize("name, changes", VARIANTS)
def test_interrupted_training_goes_on_to_the_same_bits(name, changes, tmp_path):
    with pytest.raises(Stopped): trained(name, changes, tmp_path/"stopped", stop)
    assert (trained(name, changes, tmp_path/"stopped")
            == trained(name, changes, tmp_path/"undisturbed"))


# ---- spaces; test_spaces.py collects, trains and plays with two of the models ----

@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("pair", PAIRS)
def test_space(pair, name):
    "What it says of such observations and actions, in one pass and while acting; or a refusal."
    observation, action = PAIRS[pair]
    try: model = build(name, observation, None if action == MOVES else action)
    except TypeError as refused:
        assert "action" in pair and "action" in str(refused), refused
        return
    whole = batch_of(model, segments=2)
    torch.testing.assert_close(in_steps(model, whole), in_segments(model, whole), rtol=0, atol=1e-5)
    choices = model.head.choose(in_segments(model, whole)[:, -1]).numpy()
    taken = actions_out(model.action_space, choices)
    assert all(model.action_space.contains(np.asarray(one)) for one in taken)
