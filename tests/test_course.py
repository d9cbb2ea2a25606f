"""Each lesson of the course says what it teaches and what it takes, and ends with questions and an
exercise whose solution is a test."""
import re
import sys

import nbformat
import pytest
from conftest import ROOT, notebook_id

sys.path.insert(0, str(ROOT/"docs"))
import generate

LESSONS = sorted((ROOT/"nbs"/"course").glob("*.ipynb"))


def cells(path) -> dict:
    "Of a lesson, by id."
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def minutes(path) -> int:
    "Of reading, to the next five."
    return max(5, 5*round(generate.reading_minutes(path)/5))


def test_the_course_is_an_evening():
    names = [path.stem for path in LESSONS]
    assert [name[:2] for name in names] == [f"{number:02}" for number in range(1, 12)]
    assert sum(map(minutes, LESSONS)) <= 3*60


@pytest.mark.parametrize("path", LESSONS, ids=notebook_id)
def test_a_lesson_is_short(path):
    assert len(cells(path)) <= 60 and minutes(path) <= 20


@pytest.mark.parametrize("path", LESSONS, ids=notebook_id)
def test_a_lesson_opens_with_its_aim(path):
    goals = cells(path)["goals"].source
    assert goals.startswith("**After this lesson you can** ") and "**You need:** " in goals
    (told,) = re.findall(r"\*\*Time:\*\* (\d+) minutes", goals)
    assert int(told) == minutes(path)


@pytest.mark.parametrize("path", LESSONS, ids=notebook_id)
def test_a_lesson_closes_with_questions_and_a_tested_solution(path):
    *_, questions, solution = cells(path).values()
    assert (questions.id, solution.id) == ("quest", "solve")
    assert re.findall(r"^(\d)\. ", questions.source, re.M) == ["1", "2", "3"]
    assert "**Exercise.** " in questions.source
    assert "test_" in solution.source and solution.metadata.tags == ["hide-input"]
