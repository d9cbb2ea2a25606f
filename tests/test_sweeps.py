"""A sweep whose runs, processes or machines are lost: the others end, and nothing that ended is
lost; on this machine and on a cluster, which computes the same."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from rate_nb.engine import sweeps
from rate_nb.engine.recipes import DataSpec, Measurement, Paths, Recipe
from rate_nb.engine.runs import load_rows
from rate_nb.engine.sweeps import sweep
from rate_nb.core.training_config import TrainingConfig

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
            ("peak_mib", "checksum") and not name.endswith("seconds")}


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
    with pytest.raises(RuntimeError, match="of 2 runs failed") as told:
        sweep(plan, paths, progress=False)
    assert "seed 1" in str(told.value) and "its process was killed" in str(told.value)
    for _ in range(2): # the other may have been killed with it; the same call goes on
        try: sweep(plan[:1], paths, progress=False)
        except RuntimeError: pass
    assert answered(paths) == {0: 1, 1: 0} # the other was trained, and that is kept


# ---- a cluster of this machine ----

@contextmanager
def cluster_of_two():
    "Sweeps find it; yields where to write what becomes of it."
    pytest.importorskip("ray", reason="the cluster's tests want rate_nb[ray]")
    command = [sys.executable, f"{HERE}/ray_cluster.py"]
    env = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": f"{ROOT}:{HERE}"}
    with (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                           stderr=subprocess.DEVNULL, env=env) as started,
          pytest.MonkeyPatch.context() as patch):
        patch.setenv("RAY_ADDRESS", started.stdout.readline().strip())
        patch.setattr(sweeps, "WAIT", 180.) # machines may be busy with other tests
        yield started.stdin
        started.stdin.close()


@pytest.fixture(scope="module")
def cluster():
    with cluster_of_two() as controls: yield controls


def test_a_cluster(tmp_path, cluster, lethal, capfd):
    """Its rows equal those of this machine, also where the folder is named as seen from here.

    Of two more runs one loses its process, and one fails: both are tried again, and listed."""
    here, there = Paths.under(tmp_path/"loky"), Paths.under(os.path.relpath(tmp_path/"ray"))
    bad = plan_of((1, 2), [Measurement("lethal:measure_failure")])
    with pytest.raises(RuntimeError, match="2 of 4 runs failed") as told:
        sweep([*bad, *plan_of((0, 3))], there, backend="ray", progress=False)
    first, lost, failed = sorted(str(told.value).splitlines())
    assert "seed 1" in lost and lost.endswith("machine was lost (WorkerCrashedError)")
    assert "seed 2" in failed and failed.endswith("OSError: the disk is full")
    assert answered(there) == {0: 1, 1: 0, 2: 0, 3: 1}
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.rglob(".sweep-*"))
    rows = sweep(plan_of((0, 3)), there, progress=False)
    assert without_times(rows) == without_times(sweep(plan_of((0, 3)), here, progress=False))


def no_answer(plan, paths, says):
    "How long it takes until a sweep says in one line that the cluster does not answer."
    before = time.monotonic()
    with pytest.raises(ConnectionError, match=says) as told:
        sweep(plan, paths, backend="ray", progress=False)
    assert os.environ["RAY_ADDRESS"] in str(told.value) and "\n" not in str(told.value)
    return time.monotonic() - before


def test_no_cluster(tmp_path, monkeypatch, capfd):
    "One line, in time, and nothing is left of it."
    pytest.importorskip("ray")
    monkeypatch.setattr(sweeps, "WAIT", 3.)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    says = "it did not answer within 3 seconds"
    assert no_answer(plan_of((0,)), Paths.under(tmp_path), says) < 30
    assert capfd.readouterr() == ("", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# ---- machines are lost ----

def long(seed, iterations):
    return replace(SMALL, seed=seed, training=replace(SMALL.training, iterations=iterations)), PLAY


def when_all_train(plan, paths, controls, *what):
    "In a thread: tell a cluster what becomes of it, when all runs of a plan have a checkpoint."
    def wait():
        while not all((paths.run(recipe)/"checkpoint.safetensors").exists() for recipe, _ in plan):
            time.sleep(0.1)
        controls.writelines(f"{word}\n" for word in what)
        controls.flush()
    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.slow
def test_lost_worker(tmp_path):
    "What ran on it is run once more, by the other one."
    plan, paths = [long(seed, 600) for seed in range(3)], Paths.under(tmp_path)
    with cluster_of_two() as controls:
        when_all_train(plan[:2], paths, controls, "worker")
        assert len(sweep(plan, paths, backend="ray", progress=False)) == 3
    assert answered(paths) == {0: 1, 1: 1, 2: 1}


@pytest.mark.slow
@pytest.mark.parametrize("what, says", [
    (("worker", "worker"), "did not answer within 60 seconds, or has no processor free"),
    (("head",), "it is lost|did not answer within 60 seconds")])
def test_lost_cluster(what, says, tmp_path, monkeypatch, capfd):
    "One line, instead of the end of this program by Ray; what has ended is kept."
    plan, paths = [long(seed, 10**6) for seed in (1, 2)], Paths.under(tmp_path)
    with cluster_of_two() as controls:
        sweep(plan_of((0,)), paths, backend="ray", progress=False)
        monkeypatch.setattr(sweeps, "WAIT", 60.)
        when_all_train(plan, paths, controls, *what)
        assert no_answer([*plan_of((0,)), *plan], paths, says) < 300
    assert answered(paths) == {0: 1}
    assert capfd.readouterr() == ("", "")


# ---- SLURM ----

SHIMS = {"scontrol": """case $1 in
show) hostname -I | cut -d" " -f1 ;;
requeue) echo "$2" > "$SHIMS/requeued" ;;
esac""", "srun": """shift # its option
SLURM_PROCID=0 "$@" &
first=$!
SLURM_PROCID=1 "$@" &
trap 'kill $first $!' TERM
wait""", "rate-nb": """\
exec python -c 'from rate_nb.engine.cli import main; raise SystemExit(main())' "$@\""""}


@pytest.fixture
def slurm(tmp_path):
    "The environment of a SLURM job of two nodes, which are both this machine."
    pytest.importorskip("ray")
    for name, lines in SHIMS.items():
        (tmp_path/name).write_text(f"#!/bin/bash\n{lines}\n")
        (tmp_path/name).chmod(0o755)
    told = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1",
            "SLURM_JOB_NODELIST": "node[1-2]", "SHIMS": str(tmp_path), "PYTHONPATH": str(ROOT),
            "VENV": sys.prefix, "FOLDER": str(tmp_path/"out"), "PORT": str(free_port())}
    return os.environ | told | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def free_port():
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_slurm(tmp_path, slurm):
    "The example as it is, with the programs of SLURM that it calls made up."
    script = [ROOT/"examples"/"slurm_sweep.sh", "tmaze", "smoke"]
    done = subprocess.run(["bash", *script], env=slurm, cwd=tmp_path, capture_output=True,
                          text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path/"ray.log").read_text()
    assert "none at smoke" in done.stdout and not (tmp_path/"requeued").exists()
    assert list((tmp_path/"out"/"results"/"tmaze"/"smoke").glob("rate-s0-*.json"))


@pytest.mark.slow
def test_slurm_goes_on(tmp_path, slurm):
    "Two minutes before the end of its time it is told, and asks to be started again."
    script = [ROOT/"examples"/"slurm_sweep.sh", "tmaze", "laptop"]
    started = subprocess.Popen(["bash", *script], env=slurm, cwd=tmp_path)
    while not list(tmp_path.rglob("checkpoint.safetensors")):
        assert started.poll() is None
        time.sleep(0.5)
    started.send_signal(signal.SIGUSR1)
    assert started.wait(120) != 0
    assert (tmp_path/"requeued").read_text() == "7\n"
    assert list(tmp_path.rglob("checkpoint.safetensors"))


def test_script_is_bash():
    for path in (ROOT/"examples").glob("*.sh"): subprocess.run(["bash", "-n", path], check=True)
