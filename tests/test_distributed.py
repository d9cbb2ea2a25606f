"""Training in two processes on a CPU, by gloo: what one process finds, two find together."""
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rate_nb.engine.checkpoints import load_tensors

HERE = Path(__file__).resolve().parent
SECONDS = 600
ENVIRONMENT = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
                            "PYTHONPATH": str(HERE.parent)}


def run(case: str, folder: Path, processes: int = 2, **environment) -> list:
    "What each process told. If they hang, they are ended, and the test fails."
    folder.mkdir(parents=True, exist_ok=True)
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    with subprocess.Popen([sys.executable, *(start if processes > 1 else []), HERE/"processes.py",
                           case, folder], env=ENVIRONMENT | environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as done:
        try: said, _ = done.communicate(timeout=SECONDS)
        finally: done.terminate()  # torchrun then ends those that it has started
    assert done.returncode == 0, said[-3000:]
    return [json.loads((folder/f"told-{n}.json").read_text()) for n in range(processes)]


def difference(one: dict, other: dict) -> float:
    "The largest difference of two models' weights."
    return max(np.abs(np.subtract(one[name], other[name])).max(initial=0) for name in one)


@pytest.fixture(scope="module")
def two(tmp_path_factory): # all cases but those that need processes of their own
    first, second = run("one_after_the_other", tmp_path_factory.mktemp("two"))
    return {case: (told, second[case]) for case, told in first.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory): return run("methods", tmp_path_factory.mktemp("one"), processes=1)[0]


def test_all_processes_have_equal_weights(two):
    first, second = two["methods"]
    for way, told in first.items(): assert told["weights"] == second[way]["weights"], way
    first, second = two["own_start"] # models that were not seeded alike
    assert first["weights"] == second["weights"]


def test_two_processes_learn_what_one_learns(two, alone):
    "Loss, norm of the gradient, and weights after four steps; episodes of 1 to 12 steps."
    first, second = two["methods"]
    for way, told in alone.items():
        assert first[way]["losses"] == second[way]["losses"], way
        np.testing.assert_allclose(first[way]["losses"], told["losses"], rtol=1e-5, err_msg=way)
        np.testing.assert_allclose(first[way]["norms"], told["norms"], rtol=1e-4, err_msg=way)
        # AdamW divides by the size of a gradient, which makes much of a rounding where it is tiny
        assert difference(first[way]["weights"], told["weights"]) < 1e-3, way
    assert len(alone) == 30


def test_one_process_plays_for_all(two):
    first, second = two["scores"]
    assert first["scores"] == second["scores"] == [2., 4.]
    assert (first["played"], second["played"], first["logs"]) == ([2, 4], [], 1)


def test_failure_of_the_one_is_told_to_all(two):
    assert two["score_fails"] == (
        "OSError: the disk is full",
        "RuntimeError: the first process failed: OSError: the disk is full")


def test_batch_smaller_than_the_number_of_processes(two):
    assert all("a batch of 1 for 2 processes" in told for told in two["too_small"])


def test_continued_to_the_same_bits(two):
    "With dropout, whose random numbers differ from process to process."
    for told in two["resumed"]:
        assert told["begun"] == 2
        assert told["parts"]["weights"] == told["whole"]["weights"]


def test_continued_by_another_number_of_processes(tmp_path):
    "Begun by one process, continued by two: the losses are those of one without a break."
    whole, = run("continued", tmp_path/"whole", processes=1)
    run("begun", tmp_path/"more", processes=1)
    first, second = run("continued", tmp_path/"more")
    np.testing.assert_allclose(first["losses"], whole["losses"], rtol=1e-5)
    assert len(first["losses"]) == 5 and first["weights"] == second["weights"]


def test_processes_that_do_not_see_the_same_folder(tmp_path):
    "As on two machines without a common disk: the second one would begin anew."
    run("begun", tmp_path, processes=1)
    for told in run("own_folders", tmp_path):
        assert "the processes of this training differ in iteration: 3, 0" in told["told"]
        assert not any("gloo" in name for name in told["threads"]) # else Python's end may abort


@pytest.mark.parametrize("case", ["killed_learning", "killed_evaluating"])
def test_killed_process_is_told_and_nothing_is_lost(case, two, tmp_path):
    "The other one ends with a clear line, and training goes on to the bits of an undisturbed one."
    start = [sys.executable, HERE/"processes.py", case, tmp_path]
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    both = [subprocess.Popen(start, env=ENVIRONMENT | {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port)}) for rank in "01"]  # torchrun would end the other one, too
    try: assert [process.wait(SECONDS) for process in both] == [0, -signal.SIGKILL]
    finally:
        for process in both: process.kill()
    told = json.loads((tmp_path/"told-0.json").read_text(encoding="utf-8"))
    assert "another process of this training has ended" in told and "\n" not in told
    assert load_tensors(tmp_path/"training"/"checkpoint.safetensors")[1]["iteration"] == 2
    first, second = run("finished", tmp_path)
    assert first["weights"] == second["weights"] == two["resumed"][0]["whole"]["weights"]


def test_study_in_several_processes_is_refused(tmp_path):
    "They would wait for each other: each run is made by one process."
    for told in run("study", tmp_path):
        assert len(told) == 3 and all("start it without torchrun" in line for line in told)


@pytest.mark.parametrize("name, value, why", [
    ("ACCELERATE_MIXED_PRECISION", "fp16", "for device cpu choose one of no, bf16"),
    ("ACCELERATE_TORCH_DEVICE", "cuda:99", "device 'cuda:99' is not there")])
def test_settings_that_make_no_sense(name, value, why, tmp_path):
    told, = run("refused", tmp_path, processes=1, **{name: value})
    assert why in told and "\n" not in told


# ---- compiled ----

@pytest.mark.slow
def test_compiled_as_accelerate_is_set(tmp_path):
    "The same losses, while all trajectories still run and when some have ended."
    plain, = run("compiled", tmp_path/"plain", processes=1)
    other, = run("compiled", tmp_path/"other", 1, ACCELERATE_DYNAMO_BACKEND="aot_eager")
    assert plain["graphs"] == 0 < other["graphs"]
    np.testing.assert_allclose(other["losses"], plain["losses"], rtol=1e-5)


# ---- precision ----

def test_half_precision_learns_the_same(alone, tmp_path):
    "All kinds of models, by a processor in bf16: losses within two percent."
    half, = run("methods", tmp_path, processes=1, ACCELERATE_MIXED_PRECISION="bf16")
    for way, told in alone.items():
        np.testing.assert_allclose(half[way]["losses"], told["losses"], rtol=0.02, err_msg=way)
    assert any(half[way]["losses"] != told["losses"] for way, told in alone.items())


@pytest.mark.slow
def test_half_precision_remembers(tmp_path):
    assert run("tmaze", tmp_path, processes=1, ACCELERATE_MIXED_PRECISION="bf16") == [[1., 1.]]
