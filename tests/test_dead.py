"""Nothing stands in the package that nothing uses: tests alone do not keep code alive.

A function or class is used where its own module names it outside its definition, or where a module
that imports it does: names are followed through imports, so that one of the same name elsewhere
keeps nothing alive. Of what type a value is the source does not say, so a method is used where any
attribute of its name is read. What users reach, and what overrides a method of another package's
class, is called by others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import smime_graph

ROOT = Path(smime_graph.__file__).parent
PACKAGE = smime_graph.__name__
# Beside what is read within another content, the same alone: the tests of the format and of the
# programs of others, and only they, have nothing around it. The others let a test stand where a
# program cannot: a process that is killed, a cache that is cold.
FOR_TESTS = {
    f"{PACKAGE}.batch.processes.Processes.pids",
    f"{PACKAGE}.cms.compressed_data.decompress",
    f"{PACKAGE}.pki.chain_cache.clear",
}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Key = tuple[str, str]  # a module, and what it calls something


class Module(NamedTuple):
    name: str
    is_package: bool
    tree: ast.Module

    @property
    def definitions(self) -> dict[str, Definition]:
        return {one.name: one for one in self.tree.body if isinstance(one, Definition)}

    def imported(self) -> dict[str, Key]:
        """What each imported name stands for; a module is one of its package's names."""
        found: dict[str, Key] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                around = self.name.split(".")
                kept = len(around) - node.level + self.is_package
                base = ".".join(
                    [*around[: kept if node.level else 0], *filter(None, [node.module])]
                )
                for one in node.names:
                    found[one.asname or one.name] = (base, one.name)
        return found


def read_modules(root: Path) -> list[Module]:
    found: list[Module] = []
    for path in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, is_package, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def walk_outside(node: ast.AST) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node, with the names of the definitions that it stands in."""
    todo: list[tuple[ast.AST, frozenset[str]]] = [(node, frozenset())]
    while todo:
        one, inside = todo.pop()
        yield one, inside
        if isinstance(one, Definition):
            inside = inside | {one.name}
        todo += [(child, inside) for child in ast.iter_child_nodes(one)]


def uses(modules: list[Module]) -> tuple[set[Key], set[str]]:
    """What is named outside its own definition, and every attribute likewise."""
    named: set[Key] = set()
    attributes: set[str] = set()
    tables = {module.name: module.imported() for module in modules}

    def resolve(key: Key) -> Key:
        seen: set[Key] = set()
        while key not in seen and (further := tables.get(key[0], {}).get(key[1])):
            seen.add(key)
            key = further
        return key

    for module in modules:
        own = module.definitions
        for node, inside in walk_outside(module.tree):
            if isinstance(node, ast.Name) and node.id not in inside:
                home = module.name if node.id in own else ""
                named.add((home, node.id) if home else resolve((module.name, node.id)))
            elif isinstance(node, ast.Attribute):
                is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not (is_own and node.attr in inside):
                    attributes.add(node.attr)
                if isinstance(node.value, ast.Name):
                    room, name = resolve((module.name, node.value.id))
                    named.add(resolve((f"{room}.{name}", node.attr)))
    return named, attributes


def unused(modules: list[Module]) -> set[str]:
    """The functions, classes and methods that none of the modules names."""
    named, attributes = uses(modules)
    found: set[str] = set()
    for module in modules:
        for name, node in module.definitions.items():
            if (module.name, name) not in named and not name.startswith("__"):
                found.add(f"{module.name}.{name}")
            if not isinstance(node, ast.ClassDef):
                continue
            for method in node.body:
                if (
                    isinstance(method, Definition)
                    and method.name not in attributes
                    and not method.name.startswith("__")
                ):
                    found.add(f"{module.name}.{name}.{method.name}")
    return found


def called_by_others(modules: list[Module]) -> set[str]:
    """What users reach, and what overrides a method of a class that is not ours."""
    found: set[str] = set()
    rooms = [import_module(one.name) for one in modules if one.name != f"{PACKAGE}.__main__"]
    surface = [(room, name) for room in rooms for name in getattr(room, "__all__", ())]
    for value in (getattr(room, name) for room, name in surface):
        home, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
        found.add(f"{home}.{name}")
        for one in value.__mro__ if isinstance(value, type) else ():
            public = [key for key in vars(one) if not key.startswith("_")]
            found |= {f"{one.__module__}.{one.__qualname__}.{key}" for key in public}
    for module in modules:
        for name, node in module.definitions.items():
            if not isinstance(node, ast.ClassDef):
                continue
            above = getattr(import_module(module.name), name).__mro__[1:]
            theirs = [one for one in above if one.__module__.partition(".")[0] != PACKAGE]
            for key in {key for one in theirs for key in vars(one)}:
                found.add(f"{module.name}.{name}.{key}")
    return found


def test_everything_is_used_by_the_package_or_by_its_users() -> None:
    modules = read_modules(ROOT)
    assert unused(modules) - called_by_others(modules) == FOR_TESTS


def planted(**sources: str) -> set[str]:
    modules = [
        Module(f"{PACKAGE}.{name}", False, ast.parse(source)) for name, source in sources.items()
    ]
    return {one.removeprefix(f"{PACKAGE}.") for one in unused(modules)}


def test_what_nothing_names_is_found() -> None:
    assert planted(a="def f(): ...") == {"a.f"}
    assert planted(a="def f(): f()") == {"a.f"}  # by itself alone
    assert planted(a="class C:\n    def m(self): self.m()\nC()") == {"a.C.m"}
    # another's of the same name keeps nothing alive
    assert planted(a="def f(): ...", b="def f(): ...\nf()") == {"a.f"}
    assert planted(a="def f(): ...", b="from .c import f\nf()", c="def f(): ...") == {"a.f"}
    # nor does an import that is not used
    assert planted(a="def f(): ...", b="from .a import f") == {"a.f"}


def test_what_is_named_is_not_found() -> None:
    source = "def f(): ...\nclass C:\n    def m(self): ..."
    assert planted(a=source, b="from .a import C, f as g\ng(C().m)") == set()
    assert planted(a=source, b="from . import a\na.f(a.C().m)") == set()
    assert planted(a=source, b="from .a import f, C", c="from .b import f, C\nf(C().m)") == set()
    within = "def g():\n    from smime_graph.a import C, f\n    f(C().m)\ng()"
    assert planted(a=source, b=within) == set()
