"""The page of the book that lists the library's errors and their remedies: read from the `raise`
statements of its modules, so that it says what they say."""
import ast
import re
from pathlib import Path

PLACEHOLDER = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}")
CONSTANT = re.compile(r"\{([A-Z][A-Z_]+)\}")
BEGINNING = """# Troubleshooting

Errors of `rate_nb` say what is wrong, then what to do. This page lists them by module; it is made
from the source. A word in braces, such as `{path}`, stands for what your error has in its place.
Search the page for some words of your error that are not names or numbers of your own.
"""


def text_of(node: ast.AST) -> str:
    "What an expression says: strings as they are, all else as `{expression}`."
    if isinstance(node, ast.Constant) and isinstance(node.value, str): return node.value
    if isinstance(node, ast.JoinedStr): return "".join(map(text_of, node.values))
    if isinstance(node, ast.FormattedValue): return text_of(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return f"{{{ast.unparse(node)}}}"


def constants(tree: ast.Module) -> dict[str, str]:
    "Texts that a module gives a name in capitals, by that name."
    return {target.id: text_of(node.value) for node in tree.body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name) and target.id.isupper()}


def messages(tree: ast.Module, shared: dict[str, str]) -> list[str]:
    "Texts of the errors that a module makes, once each, with its own and others' constants."
    known = shared | constants(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    texts = [text_of(call.args[0]) for call in calls
             if id(call) in raised or ast.unparse(call.func).endswith("Error")]
    texts = [CONSTANT.sub(lambda name: known.get(name[1], name[0]), text) for text in texts]
    return list(dict.fromkeys(text for text in texts if says_something(text)))


def says_something(text: str) -> bool:
    "Whether a text has two words of its own; one is a name, none was put together elsewhere."
    return len(re.findall(r"[a-z]+ |\b[a-z]+$", PLACEHOLDER.sub("", text))) > 1


def remedy(text: str) -> str:
    "What a message says to do: all behind its first colon or semicolon."
    own = PLACEHOLDER.sub(lambda part: "x" * len(part[0]), text)  # not those in expressions
    found = re.search(r"[:;] ", own)
    return text[found.end():] if found else ""


def errors(package: Path) -> dict[str, list[str]]:
    "Module -> its messages."
    paths = [path for path in sorted(package.rglob("*.py")) if path.name != "_modidx.py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    shared = {name: text for tree in trees for name, text in constants(tree).items()}
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths]
    found = {name.removesuffix(".__init__"): messages(tree, shared)
             for name, tree in zip(names, trees, strict=True)}
    return {name: texts for name, texts in found.items() if texts}


def table(texts: list[str]) -> str:
    "Messages with a remedy as a Markdown table; without those that are handed one."
    def cell(text): return "`` " + text.replace("|", "\\|").replace("\n", " ") + " ``"
    rows = [f"| {cell(text[:-len(after)].rstrip(':; '))} | {cell(after)} |"
            for text in sorted(texts) if says_something(after := remedy(text))]
    return "\n".join(["| what is wrong | what to do |", "| --- | --- |", *rows]) if rows else ""


def page(package: Path) -> str:
    "The whole page, in Markdown."
    tables = {name: table(texts) for name, texts in errors(package).items()}
    parts = [f"## {name}\n\n{rows}\n" for name, rows in tables.items() if rows]
    return "\n".join([BEGINNING, *parts])
