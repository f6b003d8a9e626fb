"""A published checkpoint in; a model folder of ours and an account of every weight out."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight import checkpoint, registry
from wordsight.errors import AlreadyExistsError, InputError, MissingFileError
from wordsight.files.atomic import atomic_folder
from wordsight.importers import casc, chan, cmpl_pytorch, scan, vse_infinity, vsepp
from wordsight.importers.checkpoint_reader import Published, read_published
from wordsight.importers.system import Given, System
from wordsight.importers.weight_map import Line, carry_over
from wordsight.learn.warm_start import BROUGHT, IMPORTED
from wordsight.matcher import PARTS, Matcher
from wordsight.registry.entry_points import installed, installed_object
from wordsight.registry.trust import addresses_in, trusting

_ALL = (chan, vse_infinity, scan, casc, vsepp, cmpl_pytorch)
SYSTEMS: dict[str, System] = {module.SYSTEM.name: module.SYSTEM for module in _ALL}
NESTED = {"pooling": "pooling", "similarity": "similarity", "words": "similarity", "regions": "similarity"}


@dataclass(frozen=True, eq=False)
class Imported:
    """A matcher with published weights, and what became of each of them."""

    matcher: Matcher
    system: str
    published: Published
    lines: Sequence[Line]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        used = [line.to_dict() for line in self.lines if line.target is not None]
        unused = [line.to_dict() for line in self.lines if line.target is None]
        return {
            "system": self.system,
            "checkpoint": self.published.path.name,
            **self.published.facts,
            "options": _printable(self.published.options),
            "notes": list(self.notes),
            "weights": used,
            "unused": unused,
        }

    def card(self) -> dict[str, Any]:
        """Facts for the model's README."""
        facts = {"imported from": f"{self.published.path.name}, a checkpoint of {self.system}"}
        described = {"epoch": "epochs", "best_rsum": "best rsum on validation, as its own code measured it"}
        return facts | {
            name: self.published.facts[key] for key, name in described.items() if key in self.published.facts
        }

    def to_text(self) -> str:
        """Unused, made and changed weights; plain moves are counted here and listed in import.json."""
        used = sum(line.target is not None for line in self.lines)
        named = [line.to_text() for line in self.lines if line.target is None or line.reason or line.is_made]
        total = f"{used} weights have their places, {len(self.lines) - used} unused; import.json lists each"
        return "\n".join([*named, *self.notes, total])


def import_checkpoint(
    path: str | Path,
    system: str,
    out: str | Path,
    vocabulary: str | Path | None = None,
    bert: str | Path | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    average: bool | None = None,
    trust_remote_code: bool = False,
) -> Imported:
    """Write the model folder ``out``, import.json in it; nothing is written if anything does not fit.

    ``tables``: of a configuration; they may say what the checkpoint does not, and not what it contradicts.
    ``average``: whether to take the running average of the weights, see ``read_published``.
    ``trust_remote_code``: whether parts from outside wordsight that ``tables`` names may be imported.
    """
    out = Path(out)
    found = find_system(system)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyExistsError(f"{out} is there already and not empty; give a new folder with --out")
    allowed = addresses_in(tables) if trust_remote_code else ()
    with tempfile.TemporaryDirectory() as work, trusting(allowed):
        given = Given(Path(work), *(None if file is None else Path(file) for file in (vocabulary, bert)))
        imported = adopt(read_published(path, average), found, given, tables or {})
        facts = imported.to_dict()
        with atomic_folder(out) as fresh:
            imported.matcher.save_pretrained(fresh, imported.card())
            checkpoint.write_json(fresh / IMPORTED, facts)
    return imported


def find_system(name: str) -> System:
    """A published system by name, ours or an installed package's; an unknown name lists the known ones."""
    found = SYSTEMS.get(name) or installed_object("importer", name, System)
    if found is None:
        known = [*SYSTEMS, *installed("importer")]
        raise InputError(
            f"system {name} is not known{registry.nearest(name, known)}; known: {', '.join(known)}"
        )
    return found


def adopt(
    published: Published, system: System, given: Given, configured: Mapping[str, Mapping[str, Any]]
) -> Imported:
    """The matcher that a checkpoint describes, with its weights, in evaluation mode."""
    _check_system(published, system)
    _check_bert(published, given.bert)
    described = system.describe(published, given)
    parts = {
        kind: together(kind, described.parts[kind], configured.get(kind, {}), published) for kind in PARTS
    }
    matcher = Matcher.build(
        parts, **({} if described.vocabulary is None else {"vocabulary": described.vocabulary})
    )
    state, lines = carry_over(described.published, system.rules, matcher.state_dict())
    matcher.load_state_dict(state)
    return Imported(matcher.eval(), system.name, published, lines, described.notes)


def _check_system(published: Published, system: System) -> None:
    if system.recognizes(published):
        return
    like = [other.name for other in SYSTEMS.values() if other.recognizes(published)]
    some = ", ".join(weight.source for weight in list(published.weights.values())[:4])
    which = f"they look like {' or '.join(like)}: give --from {like[0]}" if like else "nor of any other"
    raise InputError(f"{published.path} is not a checkpoint of {system.name} (keys {some}, ...); {which}")


def _check_bert(published: Published, bert: Path | None) -> None:
    if bert is None:
        return
    if not bert.is_dir():
        raise MissingFileError(f"there is no folder {bert}; --bert wants one with config.json and vocab.txt")
    if not published.has("txt.bert."):
        raise InputError(
            f"{published.path} reads words with a GRU or LSTM, not with a BERT; leave --bert out"
        )


def together(
    kind: str, described: Mapping[str, Any], configured: Mapping[str, Any], published: Published
) -> dict[str, Any]:
    """Join the checkpoint's settings of a part with the configuration's for the rest of it."""
    configured = {key: value for key, value in configured.items() if key not in BROUGHT}
    if not described and not configured:
        raise InputError(
            f"{published.path} holds no options, so its {kind} is not known; give --config with the "
            f"[{kind}] of the run it is from"
        )
    for key, value in described.items():
        if key in configured and not _same(_whole(key, configured[key]), _whole(key, value)):
            raise InputError(
                f"--config says {kind}.{key} = {configured[key]}, but {published.path} has {value}; "
                "take that line out, or give the configuration of the run it is from"
            )
    lists = {
        key: configured[key] for key in described if isinstance(configured.get(key), list)
    }  # names of labels, say
    return {**configured, **described, **lists}


def _whole(key: str, value: Any) -> Any:
    """A part inside a part as its full table, however it was written."""
    if key not in NESTED or not isinstance(value, str | Mapping):
        return value
    table = registry.complete(NESTED[key], {"name": value} if isinstance(value, str) else value)
    return {inner: _whole(inner, item) for inner, item in table.items() if inner != "direction"}


def _same(configured: Any, described: Any) -> bool:
    """Whether they mean the same; TOML has 0.1111 for 1 / 9, and names of labels for how many there are."""
    if isinstance(configured, Mapping) and isinstance(described, Mapping):
        return configured.keys() == described.keys() and all(
            _same(configured[key], described[key]) for key in configured
        )
    if isinstance(configured, float) and isinstance(described, float):
        return math.isclose(configured, described, rel_tol=1e-3)
    return bool(configured == described) or (isinstance(configured, list) and len(configured) == described)


def _printable(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The options as JSON can hold them; a whole vocabulary among them is in vocabulary.json already."""
    if options is None:
        return None
    simple = (str, int, float, bool, type(None))
    return {
        key: value if isinstance(value, simple) else f"<{type(value).__name__} of {len(value)}>"
        for key, value in options.items()
        if isinstance(value, simple) or hasattr(value, "__len__")
    }
