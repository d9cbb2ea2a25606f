"The names that hang on the package, what `import rate_nb` costs, and where a class may stand."
import ast
import subprocess
import sys

import rate_nb
from conftest import ROOT


def test_every_name_is_there_and_told_of():
    for name in rate_nb.__all__: assert getattr(rate_nb, name).__name__ == name
    words = rate_nb.__doc__.replace(",", " ").split()
    assert not [name for name in rate_nb.__all__ if name not in words]
    assert set(rate_nb.__all__) <= set(dir(rate_nb))


def test_editors_see_what_is_loaded():
    "The imports for static checkers are those of the table."
    tree = ast.parse((ROOT/"rate_nb"/"__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == rate_nb._MODULE


def test_import_is_instant():
    code = ("import sys; before = set(sys.modules); import rate_nb; "
            "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
            "print(sorted(new - set(sys.stdlib_module_names) - {'rate_nb'})); "
            "print(rate_nb.make_task.__module__)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "rate_nb.engine.tasks"]
    unknown = subprocess.run([sys.executable, "-c", "import rate_nb; rate_nb.nonsense"],
                             capture_output=True, text=True, cwd=ROOT)
    assert "rate_nb has no 'nonsense': see help(rate_nb)" in unknown.stderr
