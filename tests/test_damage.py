"""Files that lose a bit, their end or their place: refused in one line, or read as they were.

`python tests/test_damage.py 200` counts what 200 flips of one bit do to each file."""
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from rate_nb.core.files import read_json, write_json
from rate_nb.engine import runs, storage
from rate_nb.engine.checkpoints import load_tensors
from rate_nb.engine.collection import collect_to_disk, play_rounds
from rate_nb.engine.recipes import DataSpec, Paths, Recipe, recipe_from
from rate_nb.engine.rows import read_row, write_row
from rate_nb.envs.tmaze.task import TMaze
from rate_nb.core.training_config import TrainingConfig

MAZE, PLAYER = TMaze((1, 3)), "TMazeExpert"
SIZES = dict(segment_length=3, num_segments=2, d_model=4, d_head=2, num_layers=1, num_heads=2)
RECIPES = [Recipe("DT", "tmaze", "dt", "smoke", seed, 6, DataSpec(8), dict(corridor_length=[1, 3]),
                  SIZES, TrainingConfig(iterations=2, batch_size=4)) for seed in (0, 1)]


# ---- whole files, of two trainings, two datasets and two collections that were interrupted ----

@cache
def world() -> Path:
    "A folder that holds one of everything, and another of everything."
    folder = Path(tempfile.mkdtemp())
    for number, recipe in enumerate(RECIPES):
        paths = Paths.under(folder/"work")
        path = paths.run(recipe)
        row = runs.run(recipe, [], paths, progress=False)
        shutil.copytree(path, folder/"run"/str(number))
        write_row(folder/"row"/f"{number}-{recipe.hash}.json", row | {"processor": "toy"})
        collect_to_disk(folder/"set"/str(number), MAZE, 8, number, 4, progress=False)
        grown = storage.GrowingDataset(folder/"half"/str(number), MAZE, number, PLAYER)
        grown.extend([next(play_rounds(MAZE, 4, number, 4))], 8)
    return folder


def collected(path: Path):
    "What comes of a collection that goes on."
    folder = path.parent.with_name(path.parent.name.removeprefix(".").removesuffix(".unfinished"))
    collect_to_disk(folder, MAZE, 8, int(folder.name), 4, progress=False)
    data, manifest = storage.load_dataset(folder, MAZE)
    return data.fingerprint, manifest["sha256"], data.clues.tolist()


def loaded(path: Path):
    data, manifest = storage.load_dataset(path.parent, MAZE)
    return data.fingerprint, manifest, data.clues.tolist(), data.last_observations.tolist()


def tensors(path: Path):
    found, header = load_tensors(path, RECIPES[int(path.parent.name)].fingerprint)
    return {name: tensor.tolist() for name, tensor in found.items()}, header


def training(path: Path): return read_json(path, "delete its folder to train again")
def recipe_of(path: Path): return recipe_from(read_json(path, "name the task"))


class File(NamedTuple):
    "A file of the first one, and how it is read."
    name: str
    read: Callable

    @property
    def other(self) -> str:
        "The same file of the second one."
        first, second = (recipe.hash for recipe in RECIPES)
        return self.name.replace("/0", "/1").replace("/.0", "/.1").replace(first, second)


ARRAYS = "observations", "actions", "rewards", "lengths", "clues", "last_observations"
FILES = [File("run/0/model.safetensors", tensors), File("run/0/checkpoint.safetensors", tensors),
         File("run/0/training.json", training), File("run/0/recipe.json", recipe_of),
         File(f"row/0-{RECIPES[0].hash}.json", read_row),
         *(File(f"set/0/{name}.npy", loaded) for name in ARRAYS),
         File("set/0/manifest.json", loaded),
         *(File(f"half/.0.unfinished/{name}.npy", collected) for name in ARRAYS),
         File("half/.0.unfinished/progress.json", collected)]


# ---- damage ----

def outcome(file: File, damage: Callable) -> str:
    "What comes of reading a damaged copy: refused, the same, other content, or unclear words."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/file.name
        shutil.copytree((world()/file.name).parent, path.parent)
        damage(path)
        try: found = file.read(path)
        except (ValueError, FileNotFoundError) as error: return judge(file, str(error))
        except Exception as error: return f"unclear: {type(error).__name__}: {error}"
        return "the same" if found == clean(file) else "other content"


@cache
def clean(file: File):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/file.name
        shutil.copytree((world()/file.name).parent, path.parent)
        return file.read(path)


def judge(file: File, words: str) -> str:
    "Does the error name the file, and what to do, in one line?"
    named = Path(file.name).name in words or words.startswith("no dataset in")
    remedy = any(f"{word} " in words for word in ("delete", "restore", "collect", "train", "name"))
    clear = named and remedy and len(words.splitlines()) == 1
    return "refused" if clear else f"unclear: {words}"


def bits(file: File, number: int) -> list[int]:
    "So many places of a bit, spread over the whole length of the file."
    draw, width = random.Random(0), 8*(world()/file.name).stat().st_size/number
    return [int(width*(place + draw.random())) for place in range(number)]


def flip(file: File, bit: int) -> Callable:
    damaged = bytearray((world()/file.name).read_bytes())
    damaged[bit // 8] ^= 1 << bit % 8
    return lambda path: path.write_bytes(damaged)


def cuts(file: File, number: int) -> list[Callable]:
    "The empty file, and some that lost their ends."
    whole = (world()/file.name).read_bytes()
    ends = [place*len(whole)//number for place in range(number)]
    return [lambda path, end=end: path.write_bytes(whole[:end]) for end in ends]


def swap(path_of_other: Path) -> Callable:
    return lambda path: path.write_bytes(path_of_other.read_bytes())


def count(file: File, number: int) -> Counter:
    return Counter(outcome(file, flip(file, bit)) for bit in bits(file, number))


def ids(file): return file.name.replace(RECIPES[0].hash, "hash")


# ---- what must come of it ----

HEADER = 8*128 # bits of an npy file before its rows; a collection that goes on writes them anew


def check_flips(file: File, number: int) -> None:
    found = count(file, number)
    assert set(found) <= {"refused", "the same"}, found
    if file.read != collected or file.name.endswith(".json"): # a space may become another one
        assert found["refused"] >= .95*number, found
    else: assert found["the same"] == sum(bit < HEADER for bit in bits(file, number)), found


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_flipped_bits(file): check_flips(file, 12)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=ids)
def test_many_flipped_bits(file): check_flips(file, 200)


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_lost_ends(file):
    found = Counter(outcome(file, cut) for cut in cuts(file, 6))
    assert set(found) == {"refused"}, found


NEEDED = [file for file in FILES if file.read in (tensors, loaded, collected)
          and "progress" not in file.name]


@pytest.mark.parametrize("file", NEEDED, ids=ids)
def test_lost_files(file):
    assert outcome(file, os.remove) == "refused"


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_a_file_in_the_place_of_another(file):
    found = outcome(file, swap(world()/file.other))
    if file.read in (training, recipe_of): assert found == "other content" # they say whose they are
    elif "progress" in file.name: assert found == "the same" # it is collected again
    elif file.name.endswith(("lengths.npy", "clues.npy")): assert found in ("refused", "the same")
    else: assert found == "refused"


def test_arrays_in_each_others_place():
    names = [file for file in FILES if file.name.endswith(".npy")]
    for file in names:
        for other in names:
            if file.read != other.read or file == other: continue
            assert outcome(file, swap(world()/other.name)) == "refused", (file.name, other.name)


# ---- collections ----

def interrupted(folder: Path) -> storage.GrowingDataset:
    grown = storage.GrowingDataset(folder/"0", MAZE, 0, PLAYER)
    grown.extend([next(play_rounds(MAZE, 4, 0, 4))], 8)
    return grown


def the_rest(): return next(play_rounds(MAZE, 8, 0, 4, first=4))
def whole(): return clean(FILES[-1])


def test_rows_that_change_between_two_rounds(tmp_path):
    for name in ARRAYS:
        grown = interrupted(tmp_path/name)
        path = grown.path/f"{name}.npy"
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
        grown.extend([the_rest()], 8)
        with pytest.raises(ValueError, match=f"{name}.npy has lost or changed some of the"):
            grown.finish({})
        assert not grown.folder.exists()


def test_rows_that_were_written_and_not_noted(tmp_path):
    grown = interrupted(tmp_path)
    noted = (grown.path/"progress.json").read_bytes()
    grown.extend([the_rest()], 8)
    (grown.path/"progress.json").write_bytes(noted) # the power went before it was written
    assert collected(grown.path/"progress.json") == whole()


def test_rows_that_another_process_went_on_with(tmp_path):
    grown = interrupted(tmp_path)
    storage.append_round(grown.path, the_rest(), grown.progress, grown.digests)
    assert collected(grown.path/"progress.json") == whole()


def test_a_collection_of_another_seed_is_not_gone_on_with(tmp_path):
    grown = interrupted(tmp_path)
    other = grown.path.with_name(".1.unfinished")
    grown.path.rename(other)
    data, _ = collected(other/"progress.json")[:2]
    assert data == clean(FILES[-1]._replace(name="half/.1.unfinished/progress.json"))[0]


def test_a_progress_of_more_rows_than_there_are(tmp_path):
    grown = interrupted(tmp_path)
    told = json.loads((grown.path/"progress.json").read_text())
    write_json(grown.path/"progress.json", told | {"episodes": 6}, sealed=True)
    with pytest.raises(ValueError, match="has lost or changed some of the 6 rows"):
        collected(grown.path/"progress.json")


if __name__ == "__main__":
    number, total = int(sys.argv[1]), Counter()
    for file in FILES:
        found = Counter()
        for words, times in count(file, number).items(): found[words.split(":")[0]] += times
        print(f"{ids(file):36} {dict(found)}")
        total += found
    print(dict(total), "of", total.total())
