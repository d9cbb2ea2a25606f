"""A collecting process is killed with SIGKILL, which no program can catch, at the worst moments:
there is no dataset, what was written as a whole is kept, and the next call goes on."""
import json
import subprocess
import sys

from rate_nb.engine.collection import collect, get_dataset
from rate_nb.engine.storage import dataset_folder, load_dataset, make_manifest, save_dataset
from rate_nb.envs.tmaze.task import TMaze

SMALL, MIXED = TMaze(3), TMaze((1, 28))

SAVE = """
import os, signal, sys
import numpy as np
from rate_nb.engine.collection import collect
from rate_nb.engine.storage import make_manifest, save_dataset
from rate_nb.envs.tmaze.task import TMaze

task, save, written = TMaze(3), np.save, []
def save_or_die(path, array):
    if len(written) == 2: os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    save(path, array)
np.save = save_or_die
data = collect(task, 10, progress=False)
save_dataset(sys.argv[1], data, make_manifest(task, data, 0, 'TMazeExpert'))
"""

COLLECT = """
import os, signal, sys
from rate_nb.engine import collection, storage
from rate_nb.envs.tmaze.task import TMaze

append, countdown = storage.append_rows, iter(range(int(sys.argv[2]), -1, -1))
def append_or_die(path, array, start):
    fatal = next(countdown) == 0
    append(path, array[:len(array) // 2] if fatal else array, start)
    if fatal: os.kill(os.getpid(), signal.SIGKILL)
storage.append_rows = append_or_die
collection.get_dataset(TMaze((1, 28)), 60, 0, sys.argv[1], num_envs=10, progress=False)
"""

SHARE = """
import sys
from rate_nb.engine import collection
from rate_nb.envs.tmaze.task import TMaze

play, rounds = collection.play_round, []
collection.play_round = lambda *args: rounds.append(args) or play(*args)
data, manifest = collection.get_dataset(TMaze((1, 28)), 300, 0, sys.argv[1], num_envs=10,
                                        progress=False)
print(len(rounds), len(data), manifest['sha256'], file=sys.stderr)
"""


def command(program, *arguments):
    return [sys.executable, "-c", program, *map(str, arguments)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_while_saving(tmp_path):
    "Its hidden folder remains, but there is no dataset, and the next attempt succeeds."
    folder = tmp_path/"killed"
    assert subprocess.run(command(SAVE, folder)).returncode == -9
    assert not folder.exists()
    assert len(list(tmp_path.glob(".killed.*.unfinished/*.npy"))) == 2
    data = collect(SMALL, 10, progress=False)
    save_dataset(folder, data, make_manifest(SMALL, data, 0, "TMazeExpert"))
    assert load_dataset(folder, SMALL)[0] == data


def test_killed_again_and_again(tmp_path):
    """Six rounds of ten; the process dies when it is about to write array number `fatal` (from 0),
    with half of that array on the disk already. A round has eight arrays: so it dies in round 1,
    then (of what is left) in round 3 at its last array, then in round 2 at `terminated`."""
    folder = dataset_folder(MIXED, 60, 0, tmp_path)
    note = tmp_path/f".{folder.name}.unfinished"/"progress.json"
    left = []
    for fatal in (1, 23, 13):
        assert subprocess.run(command(COLLECT, tmp_path, fatal)).returncode == -9
        assert not folder.exists()
        left.append(json.loads(note.read_text())["episodes"] if note.exists() else 0)
    assert left == [0, 20, 30]
    get_dataset(MIXED, 60, 0, tmp_path, num_envs=8, progress=False)
    get_dataset(MIXED, 60, 0, tmp_path/"undisturbed", progress=False)
    assert contents(folder) == contents(tmp_path/"undisturbed"/folder.name)
    assert [path.name for path in tmp_path.glob(f".{folder.name}*")] == [f".{folder.name}.lock"]


def test_two_at_once(tmp_path):
    "Together they play each round once, and both end with the data."
    both = [subprocess.Popen(command(SHARE, tmp_path), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[1].split() for process in both]
    data = collect(MIXED, 300, progress=False)
    fingerprint = make_manifest(MIXED, data, 0, "TMazeExpert")["sha256"]
    assert sum(int(rounds) for rounds, *_ in answers) == 30
    assert [rest for _, *rest in answers] == [["300", fingerprint]] * 2
