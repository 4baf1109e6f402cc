"""What a person reads in the files of the project: sentences in code, comments, docs and examples, with their lines.

Names are no sentences. A string without a space, a code span, and a word with ``_``, ``/``, ``=``, a dot or a colon
inside are left out, so a Redis key, a column, an option or an attribute may keep a name that prose must not use.
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("opsdash", "alembic", "apps", "docs", "README.md", "CONTRIBUTING.md", "mkdocs.yml", "pyproject.toml")
NAME = re.compile(
    r"``.*?``|`[^`\n]*`"  # code spans
    r"|\]\([^)\s]*\)"  # targets of links
    r"|\{[^{}]*\}"  # placeholders
    r"|--[a-z][\w-]*"  # options
    r"|^ +\w+(?=: )"  # what a docstring lists: arguments, attributes, errors
    r"|\S*(?:[_/=]|\w[.:]\w)\S*",  # paths, keys, attributes
    re.DOTALL | re.MULTILINE,
)

Sentence = tuple[int, str]


def files() -> list[Path]:
    """The files under version control that hold prose."""
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if _reader(ROOT / name)]


def sentences(path: Path, text: str) -> Iterator[Sentence]:
    """Each piece of prose of a file, with the line it begins on; names in it are blanked, lines are kept."""
    reader = _reader(path)
    for line, piece in reader(text) if reader else ():
        yield line, NAME.sub(lambda found: re.sub(r"[^\n]", "`", found[0]), piece)


def _reader(path: Path) -> Callable[[str], Iterator[Sentence]] | None:
    return READERS.get(path.suffix) or READERS.get(path.name)


def _python(text: str) -> Iterator[Sentence]:
    """Comments, docstrings, and strings of more than one word."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    parts: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            written = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            written = node.value
        else:
            continue
        if " " in written.strip():
            yield node.lineno, written


def _script(text: str) -> Iterator[Sentence]:
    """JavaScript and style sheets: comments, and strings of more than one word."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`"
    for found in re.finditer(pattern, text, re.DOTALL):
        if " " in found[0].strip("\"'` "):
            yield text.count("\n", 0, found.start()) + 1, found[0].strip("`")


def _hash(text: str) -> Iterator[Sentence]:
    """Configuration files: comments, and the summaries of alerts."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(r"(?:^|\s)#\s.*|\b(?:summary|action|site_description): .*", line):
            yield number, found[0]


def _lua(text: str) -> Iterator[Sentence]:
    for number, line in enumerate(text.splitlines(), 1):
        if "--" in line:
            yield number, line.partition("--")[2]


def _markdown(text: str) -> Iterator[Sentence]:
    """Everything outside fences."""
    yield 1, re.sub(r"^```.*?^```", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)


def _notebook(text: str) -> Iterator[Sentence]:
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "markdown":
            yield 1, re.sub(r"```.*?```", "", "".join(cell["source"]), flags=re.DOTALL)


def _dashboard(text: str) -> Iterator[Sentence]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(r'"(?:title|description)": "(.*)"', line):
            yield number, found[1]


READERS: dict[str, Callable[[str], Iterator[Sentence]]] = {
    ".py": _python,
    ".js": _script,
    ".css": _script,
    ".lua": _lua,
    ".md": _markdown,
    ".ipynb": _notebook,
    ".json": _dashboard,
} | dict.fromkeys(
    (".mako", ".yml", ".yaml", ".conf", ".cfg", ".service", ".toml", ".example", "Caddyfile", "Dockerfile"), _hash
)
