"""No class of the library changes an attribute that a class it is made of writes, too.

The two would overwrite each other. A value that is set once, in `__init__`, may be set anew."""
import ast

from conftest import ROOT

# what a labelling expert tells, and rows that a base makes and the part that steps them changes
MEANT = {"labels", "t", "terminated", "truncated", "begun"}


def written(node: ast.AST) -> set[str]:
    "Attributes of self that a piece of code writes."
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)
            and isinstance(part.ctx, ast.Store) and getattr(part.value, "id", None) == "self"}


def classes(source: str) -> dict[str, tuple[list[str], set[str], set[str]]]:
    "Name -> bases, attributes that are written, and those that are written outside `__init__`."
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef): continue
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        later = [part for part in node.body if getattr(part, "name", None) != "__init__"]
        found[node.name] = bases, written(node), set().union(*map(written, later))
    return found


def shared(found: list[tuple]) -> list[str]:
    "Attributes that a class and one of its ancestors write, and one of them changes."
    by_name = {}
    for name, *facts in found: by_name.setdefault(name, []).append(facts)

    def ancestors(bases, seen=frozenset()):
        for base in set(bases) - seen:
            for facts in by_name.get(base, []):
                yield from (facts, *ancestors(facts[0], seen | {base}))

    clashes = set()
    for name, bases, ours, changed in found:
        for _, theirs, changed_there in ancestors(bases):
            both = ours & theirs & (changed | changed_there)
            clashes |= {f"{name}.{attribute}" for attribute in both - MEANT}
    return sorted(clashes)


def named(source: str) -> list[tuple]:
    return [(name, *facts) for name, facts in classes(source).items()]


def test_no_attribute_has_two_owners():
    paths = sorted((ROOT/"rate_nb").rglob("*.py"))
    assert shared(sum((named(path.read_text(encoding="utf-8")) for path in paths), [])) == []


EXAMPLE = """
class Agent:
    def __init__(self): self.sample = False
    def reset(self): self.steps = 0

class Middle(Agent): pass

class Prompted(Middle):
    def __init__(self): self.sample, self.steps, self.taken = True, 3, 0
"""


def test_the_search_finds_them():
    assert shared(named(EXAMPLE)) == ["Prompted.steps"]
