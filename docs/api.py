"""The API in the book: nbdev's table of every public name, its methods below it, links between
them, and an index of all."""
import ast
import re
from functools import cached_property
from importlib import import_module
from inspect import getdoc, isclass, isfunction
from unittest.mock import patch

from nbdev.showdoc import show_doc

APART = re.compile(r"(^```.*?^```|`[^`\n]+`|\[[^\]\n]*\]\([^)\n]*\)|^#+ [^\n]*$)",
                   re.DOTALL | re.MULTILINE)  # code, links and headings


def public_names(source: str) -> list[str]:
    "The public functions and classes that an exported cell defines."
    return [node.name for node in ast.parse(source).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"]


def public_methods(symbol) -> list[str]:
    "The public methods and properties that a class defines itself and says something about."
    kinds = (classmethod, staticmethod, property, cached_property)
    return [name for name, value in vars(symbol).items()
            if name[0] != "_" and (isfunction(value) or isinstance(value, kinds))
            and getdoc(getattr(symbol, name)) and defined_here(symbol, value)
            ] if isclass(symbol) else []


def defined_here(symbol, value) -> bool:
    "Whether a member of a class was written in the class's package, not made by a decorator."
    inner = getattr(value, "__func__", None) or getattr(value, "fget", None) \
        or getattr(value, "func", None) or value
    return inner.__module__.split(".")[0] == symbol.__module__.split(".")[0]


def api_table(symbol, level: int = 3) -> str:
    "nbdev's table of a name. A dataclass that lent its options has no source for it to look into."
    lent = vars(symbol) if isfunction(symbol) else {}
    with patch.dict(lent):
        lent.pop("__delwrap__", None)
        text = show_doc(symbol, title_level=level)._repr_markdown_()
    return re.sub(r"\{target=[^}]*\}|\A-+\n+", "", text)


def summary(symbol) -> str:
    "The first sentence of what a name says of itself."
    first = (getdoc(symbol) or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("|", "\\|")


class Api:
    "All public names of the library: where each stands, and links to them."

    def __init__(self, notebooks: dict[str, list[str]]):  # module -> sources of its exported cells
        self.names = {(module, name): getattr(import_module(module), name)
                      for module, sources in notebooks.items()
                      for source in sources for name in public_names(source)}
        spelled = [name for _, name in self.names]
        self.unique = {name: self.target(module, name) for module, name in self.names
                       if spelled.count(name) == 1}

    def target(self, module: str, name: str, *method: str) -> str:
        "What links to a name lead to. Sphinx does not tell RATE from rate."
        kind = "class" if isclass(self.names[module, name]) else "function"
        return "-".join(["method" if method else kind, module, name, *method])

    def link(self, name: str) -> str:
        "A link to a name that is unique in the library, else the name as code."
        return f"[`{name}`](#{self.unique[name]})" if name in self.unique else f"`{name}`"

    def linked(self, text: str, *besides: str) -> str:
        "Markdown with links from names in code font; without names that could be plain words."
        def replaced(part):
            name = part[1:-1]
            kept = "`" in name or part[0] != "`" or name.islower() and "_" not in name
            return part if kept or name in besides else self.link(name)
        parts = APART.split(text)
        return "".join(replaced(part) if place % 2 else part for place, part in enumerate(parts))

    def entry(self, module: str, name: str) -> str:
        "A name's target, table and links, and those of its methods."
        symbol = self.names[module, name]
        table = api_table(symbol)
        asked = re.findall(r"\b[A-Z]\w+", "".join(re.findall(r"^```.*?^```", table, re.M | re.S)))
        seen = [self.link(word) for word in dict.fromkeys(asked)
                if word in self.unique and word != name]
        parts = [f"({self.target(module, name)})=\n" + self.linked(table, name)]
        if seen: parts.append("Types: " + ", ".join(seen))
        parts += [self.method(module, name, method) for method in public_methods(symbol)]
        return "\n\n".join(parts)

    def method(self, module: str, name: str, method: str) -> str:
        "A method's target, signature and what it says."
        bound = getattr(self.names[module, name], method)
        table = (api_table(bound, level=4) if callable(bound)
                 else f"#### {name}.{method}\n\n*{getdoc(bound)}*")
        return f"({self.target(module, name, method)})=\n" + self.linked(table, name)

    def documentation(self, source: str, module: str) -> str:
        "API tables of the public names that an exported cell defines."
        return "\n\n".join(self.entry(module, name) for name in public_names(source))

    def index(self) -> str:
        "The page that lists every function, class and method by name."
        found = [(name, module, name, self.target(module, name), symbol)
                 for (module, name), symbol in self.names.items()]
        found += [(method, module, f"{name}.{method}", self.target(module, name, method),
                   getattr(symbol, method))
                  for (module, name), symbol in self.names.items()
                  for method in public_methods(symbol)]
        parts, letter = ["# Index of names\n\nEvery public function, class and method."], ""
        for word, module, name, target, symbol in sorted(found, key=by_word):
            if word[0].upper() != letter:
                letter = word[0].upper()
                parts.append(f"\n## {letter}\n\n| name | module | |\n| --- | --- | --- |")
            says = self.linked(summary(symbol))
            parts.append(f"| [`{name}`](#{target}) | `{module}` | {says} |")
        return "\n".join(parts) + "\n"


def by_word(line: tuple) -> tuple[str, ...]:
    "For sorting lines of the index: by word and module, without regard to capitals."
    return tuple(part.lower() for part in line[:3])
