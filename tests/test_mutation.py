"Tests of notebooks notice small changes of the code: mutation.py makes them, and runs alone, too."
import shutil

import nbformat
import pytest
from conftest import ROOT, notebook_id
from mutation import changes, survivors
from nbformat.v4 import new_code_cell, new_notebook

OTHERS = ("course/03_episodes", "course/04_encoders", "course/05_attention", "course/06_memory",
          "course/07_rate", "course/08_gradients_through_memory", "course/09_acting",
           "course/10_evaluation", "core/chunks", "core/joining", "core/outcomes", "core/tally",
           "core/published", "core/dropout", "core/training_config", "engine/batch_order",
           "engine/training_checks", "engine/resuming", "engine/checkpoints", "engine/recipes",
           "engine/presets", "engine/study", "engine/results", "engine/verdicts",
           "engine/imitation", "engine/measurements", "engine/rollouts", "engine/runs",
           "engine/fit", "engine/totals", "engine/power", "envs/popgym/task",
           "envs/memory_maze/state")
NOTEBOOKS = [*(ROOT/"nbs"/f"{name}.ipynb" for name in OTHERS),
             *sorted((ROOT/"nbs"/"models").glob("*.ipynb"))]


# ---- the tool ----

TESTED = "#| export\ndef half(x): return x/2"
UNTESTED = "#| export\ndef third(x): return x/3"
ENDLESS = "#| export\ndef count(n):\n    while n > 0: n -= 1"
TEST = "assert half(4) == 2\ncount(3)"


@pytest.fixture
def toy(tmp_path):
    "A repository with one notebook."
    shutil.copy(ROOT/"settings.ini", tmp_path)
    sources = dict(tested=TESTED, untested=UNTESTED, endless=ENDLESS, test=TEST)
    cells = [new_code_cell(source, id=name) for name, source in sources.items()]
    nbformat.write(new_notebook(cells=cells), tmp_path/"toy.ipynb")
    return tmp_path/"toy.ipynb"


def test_a_line_without_a_test_is_found(toy):
    before = toy.read_bytes()
    found, tried = survivors(toy, repository=toy.parent, spare=5)
    assert tried == sum(len(list(changes("", source))) for source in (TESTED, UNTESTED, ENDLESS))
    assert {change.new for change in found if change.cell == "untested"} == {
        "(x * 3)", "4", "return None"}
    assert not [change for change in found if change.cell == "tested"]
    # endless: `n > 0` may be `n >= 0`, and stops a step later; without `n -= 1` it never stops
    assert "pass" not in {change.new for change in found}
    assert toy.read_bytes() == before and len(list(toy.parent.iterdir())) == 2


def test_changes():
    "Each in its place, beside comments and wide letters; annotations and texts are left alone."
    source = 'def f(é: tuple[int, 3] = 1): # one\n    if "é" in é or not é: return f"{é + 1}" # two'
    found = list(changes("c", source))
    assert [(change.old, change.new) for change in found] == [
        ("1", "2"), ('"é" in é or not é', "(('é' in é) and (not é))"),
        ('"é" in é', "('é' not in é)"), ("not é", "é"), ('return f"{é + 1}"', "return None")]
    assert found[0].apply(source) == source.replace("= 1)", "= 2)")
    assert found[3].apply(source) == source.replace("not é", "é")
    product = next(changes("c", "(a - b) / c"))
    assert product.apply("(a - b) / c") == "((a - b) * c)"


# ---- the notebooks ----

@pytest.fixture(scope="module")
def noticed():
    "Notebook -> changes that were noticed, and all that were tried."
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=notebook_id)
def test_changes_are_noticed(path, noticed):
    "Of few changes more than half; how many of all is asked below."
    found, tried = survivors(path, count=8, seed=0)
    noticed[path] = tried - len(found), tried
    print(*found, sep="\n")
    assert noticed[path][0] > tried/2, "\n".join(map(str, found))


@pytest.mark.slow
def test_share_of_noticed_changes(noticed):
    if not noticed: pytest.skip("no notebook was changed")
    seen, tried = (sum(numbers) for numbers in zip(*noticed.values()))
    print(f"{seen} of {tried} changes noticed")
    assert seen/tried >= 0.8
