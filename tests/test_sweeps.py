"""A sweep whose runs, processes or machines are lost: the others end, and nothing that ended is
lost; on this machine and on a cluster, which computes the same."""
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rate_nb.engine import sweeps
from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe
from rate_nb.engine.runs import load_rows
from rate_nb.engine.sweeps import sweep
from rate_nb.training import TrainingConfig

HERE = str(Path(__file__).resolve().parent)
SMALL = Recipe(name="RATE", task="tmaze", model="rate", preset="smoke", seed=0, length=6,
               task_options={"corridor_length": 5}, data=DataSpec(20),
               model_options={"segment_length": 3, "d_model": 16, "d_head": 8},
               training=TrainingConfig(iterations=3, warmup=1, batch_size=4))
PLAY = [Measurement("play", {"episodes": 4})]


def plan_of(seeds, questions=PLAY):
    return [(replace(SMALL, seed=seed), questions) for seed in seeds]


def without_times(told):
    "What a row says of the run itself, and not of where and how fast it went."
    if isinstance(told, list): return [without_times(part) for part in told]
    if not isinstance(told, dict): return told
    return {name: without_times(part) for name, part in told.items() if name not in
            ("seconds", "wall_seconds", "peak_mib", "checksum")}


def answered(paths):
    "Seed -> number of answers, of all rows."
    return {row["recipe"]["seed"]: len(row["measurements"])
            for row in load_rows("tmaze", "smoke", paths)}


@pytest.fixture
def lethal(monkeypatch):
    "Every process finds the measurements that end badly."
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)


def test_killed_process(tmp_path, lethal):
    "One of two runs kills its process each time; the sweep says so, and the other one has its row."
    plan, paths = plan_of((0, 1), [Measurement("lethal:measure_end")]), Paths.under(tmp_path)
    with pytest.raises(RuntimeError, match="failed twice") as told:
        sweep(plan, paths, progress=False)
    assert "seed 1" in str(told.value) and "its process was killed" in str(told.value)
    for _ in range(2): # the other may have been killed with it; the same call goes on
        try: sweep(plan[:1], paths, progress=False)
        except RuntimeError: pass
    assert answered(paths) == {0: 1, 1: 0} # the other was trained, and that is kept


# ---- a cluster of this machine: a head without processors, and two workers with one each ----

@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the cluster's tests want rate_nb[ray]")
    from ray.cluster_utils import Cluster
    head = {"num_cpus": 0, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2): started.add_node(num_cpus=1)
            patch.setenv("RAY_ADDRESS", started.address)
            patch.setattr(sweeps, "WAIT", 120.)
            yield started
        finally: started.shutdown()


def test_equal_rows(tmp_path, cluster):
    "Also where the folder is named as seen from here."
    here, there = Paths.under(tmp_path/"loky"), Paths.under(os.path.relpath(tmp_path/"ray"))
    rows = sweep(plan_of((0, 1)), here, progress=False)
    assert without_times(sweep(plan_of((0, 1)), there, backend="ray", progress=False)) == \
        without_times(rows)
    assert answered(there) == {0: 1, 1: 1}
    assert not list(tmp_path.rglob(".sweep-*"))


def test_failures_on_a_cluster(tmp_path, cluster, lethal, capfd):
    "One run is well, one loses its process, one fails: two are tried again, and listed."
    plan = plan_of((0, 1, 2), [Measurement("lethal:measure_failure")])
    with pytest.raises(RuntimeError, match="2 of 3 runs failed twice") as told:
        sweep(plan, Paths.under(tmp_path), backend="ray", progress=False)
    first, lost, failed = str(told.value).splitlines()
    assert "seed 1" in lost and lost.endswith("machine was lost (WorkerCrashedError)")
    assert "seed 2" in failed and failed.endswith("OSError: the disk is full")
    assert answered(Paths.under(tmp_path)) == {0: 1, 1: 0, 2: 0}
    assert capfd.readouterr() == ("", "")


def test_no_cluster(tmp_path, monkeypatch, capfd):
    "One line, in time, and nothing is left but what was there."
    pytest.importorskip("ray")
    monkeypatch.setattr(sweeps, "WAIT", 3.)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    before, paths = time.monotonic(), Paths.under(tmp_path)
    with pytest.raises(ConnectionError, match="it did not answer within 3 seconds") as told:
        sweep(plan_of((0,)), paths, backend="ray", progress=False)
    assert "(127.0.0.1:9)" in str(told.value) and "\n" not in str(told.value)
    assert time.monotonic() - before < 30
    assert capfd.readouterr() == ("", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
