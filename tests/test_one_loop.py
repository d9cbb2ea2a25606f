"""One function of the library goes through the segments of a trajectory and hands the memory on:
`SequenceModel.read`. A second loop would have to be kept equal to it."""
import ast

from conftest import ROOT

LIBRARY = ROOT/"rate_nb"
ALLOWED = {"trajectories.py", "models/sequence_model.py"} # where it is defined, and used


def users_of(name: str, source: str) -> bool:
    "Whether code, not its words, mentions a name."
    nodes = ast.walk(ast.parse(source))
    return any(getattr(node, "id", getattr(node, "attr", None)) == name
               or isinstance(node, ast.alias) and node.name == name for node in nodes)


def test_segments_are_read_in_one_place():
    found = {path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.py")
             if path.name != "_modidx.py"
             and users_of("split_segments", path.read_text(encoding="utf-8"))}
    loops = found - ALLOWED
    assert not loops, (f"{', '.join(sorted(loops))} cut trajectories into segments: use "
                       "SequenceModel.read")


def test_the_search_finds_uses():
    assert users_of("split_segments", "from rate_nb.trajectories import split_segments")
    assert users_of("split_segments", "for s in split_segments(t, 3): pass")
    assert users_of("split_segments", "trajectories.split_segments(t, 3)")
    assert not users_of("split_segments", '"""split_segments is not called."""')
