"The command line as a shell runs it: exit codes, outputs, and what it leaves behind."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

ENTRY = "import sys; from rate_nb.engine.cli import main; sys.exit(main({words!r}))"
SMALL = ["--iterations", "3", "--trajectories", "20", "--batch", "8", "--length", "9",
         "--option", "corridor_length=1,7", "--model_option", "d_model=16", "d_head=8"]


def rate_nb(*words: str, folder: Path, code: int = 0, answer: str = "") -> str:
    "Run a command in a folder; what it printed, after a check of its exit code."
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", ENTRY.format(words=list(words))], cwd=folder,
                          input=answer, capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + (done.stderr if code == 2 else "")


def flat(text: str) -> str:
    "Without line breaks and runs of spaces."
    return " ".join(text.split())


def test_setup_installs_the_program():
    assert '"rate-nb=rate_nb.engine.cli:main"' in (ROOT/"setup.py").read_text(encoding="utf-8")


def test_every_command_has_help(tmp_path):
    listed = rate_nb("--help", folder=tmp_path)
    for name in ("tasks", "models", "collect", "train", "play", "repro", "verify", "data", "speed"):
        assert f"\n  {name} " in listed


def test_help_loads_no_torch(tmp_path):
    script = ("import sys; from rate_nb.engine.cli import main; main(['--help']); "
              "sys.exit('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_of_a_command_tells_its_options(tmp_path):
    told = flat(rate_nb("train", "--help", folder=tmp_path))
    assert "--iterations ITERATIONS batches (default: 1000)" in told
    assert "key=value" in told and "its name; `rate-nb models` lists them" in told


def test_tasks_and_models(tmp_path):
    assert "corridor_length" in rate_nb("tasks", folder=tmp_path)
    models = rate_nb("models", folder=tmp_path)
    assert all(f"\n{name} " in models for name in ("rate", "dt", "bc_lstm"))
    assert "segment_length" in rate_nb("models", "rate", folder=tmp_path)


def test_train_and_play(tmp_path):
    where = ["--folder", "runs", "--data", "data"]
    first = rate_nb("train", "tmaze", "rate", *SMALL, *where, folder=tmp_path)
    assert first.startswith("trained: rate")
    assert rate_nb("train", "tmaze", "rate", *SMALL, *where,
                   folder=tmp_path).startswith("trained already: rate")
    command = first.split("rate-nb play ")[1].split()[0]
    played = rate_nb("play", command, "--episodes", "5", "--option", "corridor_length=30",
                     "--video", "one.gif", folder=tmp_path)
    assert "'corridor_length': 30}, 5 episodes" in played and "success" in played
    assert (tmp_path/"one.gif").read_bytes()[:3] == b"GIF"
    listed = flat(rate_nb("data", "--folder", ".", folder=tmp_path))
    assert "20 episodes of tmaze (corridor_length [1, 7])" in listed
    assert "rate, seed 0, of tmaze at mine" in listed


@pytest.mark.parametrize("words, message", [
    (["train", "tmaze", "gpt"], "rate-nb train: task 'tmaze'"),
    (["train", "tmaze", "gpt", *SMALL], "rate-nb train: unknown model 'gpt'"),
    (["train", "tmaze", "dt", *SMALL, "--segments", "2"], "length is 9, and segments 2"),
    (["collect", "tmaze", "--option", "corridor_length"], "'corridor_length' is no option"),
    (["collect", "tmaze", "--seed", "one"], "invalid int value: 'one'"),
    (["play", "nowhere"], "rate-nb play: no model in nowhere"),
    (["repro", "maze"], "rate-nb repro: unknown study 'maze'"),
    (["verify", "--folder", "nowhere"], "rate-nb verify: no results store in "),
    (["trian"], "did you mean train?")], ids=lambda value: "-".join(value)[:24])
def test_errors_are_one_line(words, message, tmp_path):
    told = rate_nb(*words, folder=tmp_path, code=2)
    assert message in told.splitlines()[-1]
    assert not list(tmp_path.iterdir()), "something was done before the words were looked at"


def figure_5(folder: Path, *words: str) -> str:
    "DT's part of T-Maze's figure 5, at preset smoke."
    return rate_nb("repro", "tmaze", "--preset", "smoke", "--models", "DT", "--studies",
                   "figure 5", *words, folder=folder)


def test_repro_trains_what_is_missing_and_nothing_else(tmp_path):
    first = figure_5(tmp_path, "--folder", "out")
    assert "0 of 1 runs are in the results store; 1 are trained" in first
    assert "none at smoke" in first
    rows = {path: path.read_bytes() for path in (tmp_path/"out"/"results").rglob("*.json")}
    again = figure_5(tmp_path, "--folder", "out")
    assert "All 1 runs are in the results store already: nothing is trained" in again
    assert {path: path.read_bytes() for path in rows} == rows and len(rows) == 1


def test_fresh_seed_beside_committed_rows(tmp_path):
    figure_5(tmp_path, "--folder", "out", "--seeds", "0")
    before = sorted((tmp_path/"out"/"results").rglob("*"))
    told = figure_5(tmp_path, "--fresh", "--against", "out", "--seeds", "7")
    line = next(line for line in told.splitlines() if line.startswith("figure 5"))
    assert line.split()[2:4] == ["DT", "7"] and line.split()[5] == "1"
    assert "no interval" in line
    assert sorted((tmp_path/"out"/"results").rglob("*")) == before
    assert list((tmp_path/"out"/"fresh-tmaze"/"results").rglob("dt-s7-*.json"))
    refused = rate_nb("repro", "tmaze", "--preset", "smoke", "--fresh", "--seeds", "0",
                      folder=tmp_path, code=2)
    assert "seed 0 is one of 'figure 5' at smoke" in refused


def test_verify_tells_good_from_bad(tmp_path):
    figure_5(tmp_path, "--folder", "out")
    assert "nothing is wrong" in rate_nb("verify", "--folder", "out", "--partial", folder=tmp_path)
    assert "faults" in rate_nb("verify", "--folder", "out", folder=tmp_path, code=1)
    (row,) = (tmp_path/"out"/"results").rglob("dt-*.json")
    row.write_text(json.dumps(json.loads(row.read_text()) | {"hash": "0"*12}))
    told = rate_nb("verify", "--folder", "out", "--partial", folder=tmp_path, code=1)
    assert "does not agree with its checksum" in flat(told)


def test_data_is_deleted_after_a_yes(tmp_path):
    left = tmp_path/"data"/".tmaze_00000000_9_seed0.unfinished"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    for answer, stays in (("", True), ("n\n", True), ("y\n", False)):
        told = rate_nb("data", "--folder", ".", "--clean", folder=tmp_path, answer=answer)
        assert ("unfinished" in told, left.exists()) == (True, stays)


def test_interrupted_training_is_kept(tmp_path):
    "Ctrl-C: one line, exit code 130, and a checkpoint from which the same command goes on."
    words = ["train", "tmaze", "dt", *SMALL, "--folder", "runs", "--data", "data"]
    words[words.index("--iterations") + 1] = "100000"
    script = ("import signal, sys, threading, os; import rate_nb.training as training\n"
              "def press(*_): os.kill(os.getpid(), signal.SIGINT)\n"
              "threading.Timer(6, press).start()\n" + ENTRY.format(words=words))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True,
                          text=True, timeout=300, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 130, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("rate-nb train: stopped")
    assert list((tmp_path/"runs").rglob("checkpoint*")), "nothing was kept"


def test_a_reader_may_stop_reading(tmp_path):
    "As `rate-nb tasks | head -1` does."
    command = [sys.executable, "-uc", ENTRY.format(words=["models"])]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path})
    started.stdout.close()
    assert (started.stderr.read(), started.wait(60)) == (b"", 141)
