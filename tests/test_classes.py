"No class of the library writes an attribute that a class it is made of writes, too: the two would overwrite each other."
import ast

from conftest import ROOT

MEANT = {"labels"}  # what a labelling expert tells, whoever of its line wrote it last


def classes() -> dict[str, tuple[list[str], set[str]]]:
    "Name -> bases, and attributes that are written on self."
    found = {}
    for path in sorted((ROOT/"rate_nb").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef): continue
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            written = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
                       and isinstance(part.value, ast.Name) and part.value.id == "self"}
            found.setdefault(f"{path.stem}.{node.name}", (bases, written))
    return found


def shared(found: dict) -> list[str]:
    "Attributes that a class and one of its ancestors write."
    by_name = {}
    for place, facts in found.items(): by_name.setdefault(place.split(".")[1], []).append(facts)
    def inherited(bases, seen=()):
        for base in set(bases) - set(seen):
            for grandparents, written in by_name.get(base, []): yield from written | set(inherited(grandparents, (*seen, base)))
    return sorted(f"{place}.{name}" for place, (bases, written) in found.items() for name in (written & set(inherited(bases))) - MEANT)


def test_no_attribute_has_two_owners():
    assert shared(classes()) == []


def test_the_search_finds_them():
    assert shared({"a.Agent": ([], {"steps"}), "b.Middle": (["Agent"], set()), "b.Prompted": (["Middle"], {"steps", "taken"})}) == ["b.Prompted.steps"]
