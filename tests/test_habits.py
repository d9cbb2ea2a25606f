"What stands beside the code agrees with it: checklists, citation, versions, hooks, forms, errors."
import json
import re
import sys

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT/"docs"))
import generate
import rate_nb
import troubleshooting

SETTINGS = generate.read_settings(ROOT)
PINS = set((ROOT/"constraints.txt").read_text(encoding="utf-8").splitlines())


def text(name: str) -> str: return (ROOT/name).read_text(encoding="utf-8")
def loaded(name: str) -> dict: return yaml.safe_load(text(name))


# ---- checklists ----

def test_every_line_of_a_checklist_names_a_test():
    tests = {name for path in (ROOT/"tests").glob("test_*.py")
             for name in re.findall(r"^def (test_\w+)", text(f"tests/{path.name}"), re.MULTILINE)}
    lists = text("CONTRIBUTING.md").split("## ")[1:]
    assert [one.splitlines()[0] for one in lists] == [
        "Every change", "An environment", "A model", "A valve", "A study"]
    for line in re.findall(r"^- \[ \] .*", text("CONTRIBUTING.md"), re.MULTILINE):
        named = set(re.findall(r"`(test_\w+)`", line))
        assert named, f"no test: {line}"
        assert named <= tests, f"there is no {named - tests}"


# ---- versions and citation ----

def test_versions_agree():
    "With settings.ini."
    version = SETTINGS["version"]
    assert rate_nb.__version__ == loaded("CITATION.cff")["version"] == version
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[0] == version


def test_citation_is_the_readme_s():
    cited = loaded("CITATION.cff")
    paper, readme = cited["preferred-citation"], text("README.md")
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert (cited["cff-version"], cited["license"]) == ("1.2.0", SETTINGS["license"].upper())
    assert (cited["title"], cited["repository-code"]) == (SETTINGS["title"], SETTINGS["git_url"])
    authors = [f"{one['given-names']} {one['family-names']}" for one in paper["authors"]]
    assert f"author = {{{' and '.join(authors)}}}" in readme
    assert f"title = {{{paper['title']}}}" in readme and f"year = {{{paper['year']}}}" in readme
    assert f"note = {{{paper['identifiers'][0]['value']}}}" in readme
    assert paper["url"] == SETTINGS["paper_url"]


# ---- hooks, container, workflow, forms ----

def test_hooks_have_the_pinned_versions():
    hooks = [hook for repo in loaded(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["nbdev_clean", "ruff"]
    wanted = {one for hook in hooks for one in hook["additional_dependencies"]}
    assert wanted <= PINS, f"constraints.txt has other versions than {', '.join(wanted - PINS)}"


def test_container_and_workflow_do_what_make_does():
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert container["image"] == f"python:{SETTINGS['min_python']}"
    make, target = container["postCreateCommand"].split()
    assert make == "make" and re.search(rf"^{target}:", text("Makefile"), re.MULTILINE)
    steps = loaded(".github/workflows/tests.yml")["jobs"]["tests"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    assert {"python-version": SETTINGS["min_python"]} in [step.get("with") for step in steps]


@pytest.mark.parametrize("name", ["result", "fault"])
def test_forms(name):
    "What GitHub asks of them; and what is needed is asked for."
    form = loaded(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert sum(field.get("validations", {}).get("required", False) for field in fields) >= 3


# ---- errors ----

WITHOUT_REMEDY = """
no dict | no checksum in it | its content does not agree with its checksum | its header is no dict
no {missing[0]} in it | its encoder is not packed | another run did not get ready in time
it took more than {scale.longest} s | {place} is not of the form 'package.module:Name'
{type(self).__name__} must define {what} | {type(self).__name__} must define begin(rows)
{type(self).__name__} must define move(actions, running)
{type(self).__name__} must define observe() | lump name {name} is longer than 8 letters
each token of an attention mask must see at least one key
dropout must be at least 0 and below 1, not {p} | {what} holds {one} twice
a {self.kind} is named by a string, not by {name} | {say(space)} is no space of whole numbers
there is no file {path} | there is no row {path}
there is no row {paths.row(recipe).name} for it
encoder is to be the `config` of a recipe ({error})
wrong_clue is for an oracle that is told one of two clues
"""  # parts of other errors, and errors whose cause says what to do
BEGINNINGS = (  # of errors whose remedy is a sentence of its own, or is in what they compare
    "{file.as_posix()} did not come with", "{lacking} of {len(recipes)} runs of",
    "after step {step}", "the curriculum allows {longest}")


def test_errors_say_what_to_do():
    "Behind a colon or a semicolon. The lists of those that do not are to get no longer."
    allowed = set(re.split(r" \| |\n", WITHOUT_REMEDY.strip()))
    said = {one for texts in troubleshooting.errors(ROOT/"rate_nb").values() for one in texts}
    bare = {one for one in said if not troubleshooting.remedy(one)}
    new = [one for one in bare - allowed if not one.startswith(BEGINNINGS)]
    assert not new, f"no remedy behind a colon: {new}"
    assert not allowed - bare, f"no such error any more: {allowed - bare}"
    assert len(said) > 250


def test_the_page_of_errors():
    page = troubleshooting.page(ROOT/"rate_nb")
    terminal = page.split("## rate_nb.engine.terminal\n")[1].split("\n## ")[0]
    assert "| `` option {key} is given twice `` | `` give it once `` |" in terminal
    rows = [line for line in page.splitlines() if line.startswith("| ``")]
    assert len(rows) > 250
    assert all(row.count("``") == 4 and len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_messages_are_read(tmp_path):
    (tmp_path/"toy.py").write_text('''
LIMIT, MORE = 3, "raise it"
CURE = "take another"
def f(path):
    if path: raise ValueError(f"{path:>3} is {len(path)}, " "too long: " + CURE)
    try: g()
    except OSError as error: raise wrong(f"{error}") from None
    raise KeyError("name")
''', encoding="utf-8")
    (texts,) = troubleshooting.errors(tmp_path).values()
    assert texts == ["{path} is {len(path)}, too long: take another"]
    assert troubleshooting.remedy(texts[0]) == "take another"
    assert troubleshooting.remedy("x[{a['b: c']}] is bad; give 1") == "give 1"
    assert not troubleshooting.remedy("{', '.join(f'{a}: {b}')} is bad")
