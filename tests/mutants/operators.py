"""The mutants of a file: mutmut's operators on each function's body, without what a test can't be about.

Left out: annotations, decorators and default values (as constants of modules, they are made once, at the import), the
arguments of ``cast``, ``strict=True``, what only a log says, and sentences: literals with a space in them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[2]
KEPT_CALLS = {"len", "isinstance", "cast", "TypeVar", "NewType"}
"""As mutmut: their mutants are found by the type checker, or by every test."""
LOGS = {"log", "logger", "_log", "LOG"}


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes:
        key: Stays the same while the function's text does.
        lines: First and last line of the statement that is changed; of a compound one, of its head.
    """

    file: str
    function: str
    line: int
    lines: tuple[int, int]
    before: str
    key: str
    module: cst.Module = field(repr=False, compare=False)
    statement: cst.CSTNode = field(repr=False, compare=False)
    old: cst.CSTNode = field(repr=False, compare=False)
    new: cst.CSTNode = field(repr=False, compare=False)

    @property
    def after(self) -> str:
        """The statement, changed."""
        return _shown(self.module, self.statement.deep_replace(self.old, self.new))  # type: ignore[arg-type]


class _Finder(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: list[str] = []
        self.depth = 0  # of functions
        self.top: cst.FunctionDef | None = None
        self.statements: list[cst.CSTNode] = []
        self.found: list[tuple[str, cst.CSTNode, cst.CSTNode, cst.CSTNode, cst.FunctionDef]] = []
        self.texts = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.ClassDef):
            if not self.depth:
                self.names.append(node.name.value)
            return True
        if isinstance(node, cst.FunctionDef):
            if not self.depth:
                self.names.append(node.name.value)
                self.top = node
            self.depth += 1
        if not self.depth or self.top is None:
            return True
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement | cst.ExceptHandler):
            self.statements.append(node)
        if isinstance(node, cst.Annotation | cst.Decorator | cst.Parameters) or _is_docstring(node):
            # Lambdas keep their parameters as they are, too.
            return False
        if isinstance(node, cst.Call) and _called(node) in KEPT_CALLS:
            return False
        if isinstance(node, cst.Arg) and node.keyword and node.keyword.value == "strict":
            return False
        if isinstance(node, cst.Call) and _logs(node):
            self.texts += 1
            return False
        if isinstance(node, cst.SimpleString) and " " in node.raw_value.strip():
            self.texts += 1
            return False
        if self.statements and not isinstance(node, cst.FunctionDef):
            for kind, operator in mutation_operators:
                if isinstance(node, kind):
                    for new in operator(node):
                        if isinstance(node, cst.Call) and _is_strict(node) and not _is_strict(new):
                            continue
                        self.found.append((".".join(self.names), node, new, self.statements[-1], self.top))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        node = original_node
        if self.statements and self.statements[-1] is node:
            self.statements.pop()
        if isinstance(node, cst.FunctionDef):
            self.depth -= 1
            if not self.depth:
                self.names.pop()
                self.top = None
        elif isinstance(node, cst.ClassDef) and not self.depth:
            self.names.pop()


def _is_docstring(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Expr) and isinstance(node.value, cst.BaseString)


def _is_strict(node: cst.CSTNode) -> bool:
    """A call with ``strict=True``, as of ``zip``: it is there for what never happens."""
    return isinstance(node, cst.Call) and any(
        arg.keyword and arg.keyword.value == "strict" and cst.ensure_type(arg.value, cst.Name).value == "True"
        for arg in node.args
        if isinstance(arg.value, cst.Name)
    )


def _called(node: cst.Call) -> str:
    return node.func.value if isinstance(node.func, cst.Name) else ""


def _logs(node: cst.Call) -> bool:
    func = node.func
    return isinstance(func, cst.Attribute) and isinstance(func.value, cst.Name) and func.value.value in LOGS


def _head(statement: cst.CSTNode, places: dict[cst.CSTNode, CodeRange]) -> tuple[int, int]:
    place = places[statement]
    body = getattr(statement, "body", None)
    if isinstance(body, cst.IndentedBlock):
        return place.start.line, max(place.start.line, places[body].start.line - 1)
    return place.start.line, place.end.line


def _shown(module: cst.Module, statement: cst.CSTNode) -> str:
    """One line: the statement, or the head of a compound one."""
    if hasattr(statement, "leading_lines"):
        statement = statement.with_changes(leading_lines=[])
    if isinstance(getattr(statement, "body", None), cst.IndentedBlock):
        rest = {"orelse": None} if getattr(statement, "orelse", None) else {}
        statement = statement.with_changes(body=cst.SimpleStatementSuite([cst.Expr(cst.Ellipsis())]), **rest)
    return " ".join(module.code_for_node(statement).split())


def mutants(file: str) -> tuple[list[Mutant], int]:
    """All mutants of a file, and how many texts were left out."""
    wrapper = MetadataWrapper(cst.parse_module((ROOT / file).read_text()), unsafe_skip_copy=True)
    places = wrapper.resolve(PositionProvider)
    finder = _Finder()
    wrapper.module.visit(finder)
    module, shown = wrapper.module, dict[cst.CSTNode, str]()
    seen: Counter[tuple[str, ...]] = Counter()
    made = []
    for name, old, new, statement, function in finder.found:
        before = shown.get(statement) or shown.setdefault(statement, _shown(module, statement))
        change = module.code_for_node(old), module.code_for_node(new)
        if change[0] == change[1]:
            continue
        which = (name, before, *change)
        seen[which] += 1
        key = hashlib.sha256("\0".join((file, *which, str(seen[which]))).encode()).hexdigest()[:10]
        line, lines = places[function].start.line, _head(statement, places)
        made.append(Mutant(file, name, line, lines, before, key, module, statement, old, new))
    return made, finder.texts


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Functions of the module and its classes, in their order; not those inside of functions."""
    for part in code.co_consts:
        if isinstance(part, CodeType):
            if part.co_flags & 0x2:  # has locals of its own: a function
                yield part
            else:
                yield from _functions(part)


def compiled(mutant: Mutant) -> tuple[CodeType, CodeType]:
    """The function's code as it is, and mutated.

    Raises:
        SyntaxError: The mutant is no Python, or the same code.
    """
    path = str(ROOT / mutant.file)
    changed = mutant.module.deep_replace(mutant.old, mutant.new)
    old = list(_functions(compile(mutant.module.code, path, "exec", dont_inherit=True)))
    new = list(_functions(compile(changed.code, path, "exec", dont_inherit=True)))
    for before, after in zip(old, new, strict=True):
        if not _same(before, after):
            return before, after
    raise SyntaxError("the same code")


def _same(one: CodeType, other: CodeType) -> bool:
    return _facts(one) == _facts(other)


def _facts(code: CodeType) -> tuple[object, ...]:
    consts = [_facts(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, consts
