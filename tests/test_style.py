"""The code reads as plain English: words of the field, and docstrings that open with a plain sentence."""

import ast
import io
import re
import statistics
import tokenize
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "wordsight"
MODULES = sorted(SOURCE.rglob("*.py"))
# Words that once named everything and therefore nothing; the field has better ones.
DIALECT = {
    "told", "asked", "asking", "kept", "beside", "looked", "mend", "mended", "held", "moment",
    "moments", "born", "seeker", "seekers", "theirs", "ours",
}  # fmt: skip
ALLOWED = {"held_out"}  # a term of the field
OPENINGS = re.compile(r"(What|The same|Of|Who|Whose|That|Which)\b")
PROSE = re.compile(
    r"\b(mend(s|ed)?|is told|are told|who asks|looked (at|through)|at the door)\b", re.IGNORECASE
)
# Rooms whose identifiers still have to be brought to the vocabulary; a clean room must leave the list.
NOT_CLEAN: tuple[str, ...] = ()
ANY = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))


def words_of(identifier: str) -> set[str]:
    """The words of an identifier in snake_case or CamelCase."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", identifier)}


def documented(path: Path) -> list[tuple[str, str]]:
    """The name and the docstring of a module and of everything in it."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [(getattr(node, "name", path.stem), text) for node in nodes if (text := ast.get_docstring(node))]


def dialect_in(path: Path) -> dict[str, set[str]]:
    """Identifiers of a module that hold words of the private dialect."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    names = {token.string for token in tokens if token.type == tokenize.NAME} - ALLOWED
    return {name: found for name in names if (found := words_of(name) & DIALECT)}


def room(path: Path) -> str:
    """The folder of a module below the package, or the module's own name at the top."""
    return path.relative_to(SOURCE).parts[0]


@ANY
def test_identifiers_are_the_words_of_the_field(path: Path) -> None:
    assert room(path) in NOT_CLEAN or not dialect_in(path)


@pytest.mark.parametrize("name", NOT_CLEAN)
def test_a_room_that_is_clean_leaves_the_list(name: str) -> None:
    assert any(dialect_in(path) for path in MODULES if room(path) == name)


@ANY
def test_docstrings_open_with_a_plain_sentence(path: Path) -> None:
    assert not [f"{name}: {text.splitlines()[0]}" for name, text in documented(path) if OPENINGS.match(text)]


@ANY
def test_strings_and_comments_use_plain_words(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    texts = [t.string for t in tokens if t.type in (tokenize.STRING, tokenize.COMMENT)]
    assert not [found.group() + " in: " + text[:90] for text in texts if (found := PROSE.search(text))]


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS, MEDIAN_LINES = 300, 50, 10, 120


def too_large(path: Path) -> set[str]:
    """A module, as "path", and its functions, as "path:function", that are beyond the sizes above."""
    name, text = path.relative_to(SOURCE).as_posix(), path.read_text()
    if path.name.startswith("triton_"):  # programs of a GPU, which take each pointer and each size by itself
        return set()
    found = {name} if len(text.splitlines()) > MOST_LINES else set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = [argument for argument in every if argument.arg not in ("self", "cls")]
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION or len(parameters) > MOST_PARAMETERS:
                found.add(f"{name}:{node.name}")
    return found


@ANY
def test_files_functions_and_signatures_are_small(path: Path) -> None:
    assert not too_large(path)


def test_most_files_are_read_at_a_glance() -> None:
    assert statistics.median(len(path.read_text().splitlines()) for path in MODULES) <= MEDIAN_LINES


def shapes_made_by_calls(path: Path) -> list[str]:
    """Inner functions whose signatures hold shapes: each call of the outer one makes classes."""
    tree = ast.parse(path.read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "jaxtyping"]
    shapes = {alias.name for node in imports for alias in node.names}
    functions = {n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    inner = {n for outer in functions for n in ast.walk(outer) if n in functions and n is not outer}
    return [
        f"line {function.lineno}: {function.name}"
        for function in inner
        for annotation in [function.returns, *(argument.annotation for argument in function.args.args)]
        if annotation is not None
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name) and node.id in shapes
    ]


@ANY
def test_no_call_makes_classes_of_shapes(path: Path) -> None:
    """They are freed only by the cyclic collector, which runs late in a server."""
    assert not shapes_made_by_calls(path)
