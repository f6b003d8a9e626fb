"""A matcher -> a folder of JSON and safetensors, and the matcher in such a folder.

A saved matcher opens in two steps. The text side is built at once; the reader and the image encoder are built
at their first use: a sentence is compared with stored vectors, and needs neither the vision model nor its
library, which take several times as long to load as everything else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight import checkpoint, registry
from wordsight.files import atomic
from wordsight.files.contained import inside
from wordsight.matcher.folders import with_paths
from wordsight.matcher.lazy_parts import Unbuilt
from wordsight.matcher.parts import PARTS, Tables, build_parts, check_tables, describe
from wordsight.presence.saved import load_presence, save_presence
from wordsight.registry.trust import addresses_in, trusting
from wordsight.runtime.allocation import TensorBudget

if TYPE_CHECKING:
    from wordsight.matcher.matcher import Matcher

IMAGE_SIDE = ("reader", "image_encoder")
TEXT_SIDE = ("tokenizer", "text_encoder", "similarity")
WEIGHTED = ("image_encoder", "text_encoder", "similarity")  # parts that have weights in the folder's file


def _call(function: Callable[[], Any]) -> Any:
    return function()


def open_saved(
    kind: "type[Matcher]",
    home: Path,
    trust_remote_code: bool = False,
    read: Callable[[Callable[[], Any]], Any] = _call,
) -> "Matcher":
    """The matcher in a folder, in evaluation mode; see the top of this file for when its parts are built.

    ``read`` calls each function that reads files of the folder, now or later; that of an index makes sure
    that the index is still the one that was opened.
    """
    parts = checkpoint.read_config(home)["parts"]
    saved = _SavedParts(
        {kind: with_paths(table, home) for kind, table in parts.items()},
        inside(home, checkpoint.WEIGHTS),
        addresses_in(parts) if trust_remote_code else [],
        str(home / checkpoint.CONFIG),
        home,
        read,
    )
    saved.check()
    later: dict[str, Any] = {part: Unbuilt(partial(saved.build_one, part)) for part in IMAGE_SIDE}
    matcher = kind(**later, **saved.build(TEXT_SIDE))
    matcher.saved_phrases = tuple(parts["reader"].get("detect") or ())
    matcher.presence = read(lambda: load_presence(home))
    return matcher.eval()


@dataclass(frozen=True)
class _SavedParts:
    """The tables of a saved matcher, its weights, and what may be imported and allocated for it."""

    tables: Tables
    weights: Path
    trusted: Sequence[str]
    config: str
    home: Path
    read: Callable[[Callable[[], Any]], Any]

    def check(self) -> None:
        """Raises InputError for tables that describe no matcher, and for weights of other parts."""
        with trusting(self.trusted, self.config):
            check_tables(self.tables)
            for kind in IMAGE_SIDE:
                registry.complete(kind, self.tables[kind])
        checkpoint.check_parts(self.weights, WEIGHTED)

    def build(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Some of the parts, with their weights; no other weights are read."""
        parts: dict[str, Any] = self.read(lambda: self._build(kinds))
        return parts

    def _build(self, kinds: Sequence[str]) -> dict[str, Any]:
        budget = TensorBudget(checkpoint.numbers_in(self.home), f"the weights in {self.home} can fill")
        with trusting(self.trusted, self.config):
            parts = build_parts(kinds, self.tables, {}, budget)
        for kind in kinds:
            if kind in WEIGHTED:
                checkpoint.load_weights(parts[kind], self.weights, f"{kind}.")
        return parts

    def build_one(self, kind: str) -> Any:
        return self.build([kind])[kind]


def save(matcher: "Matcher", folder: Path, card: Mapping[str, Any], name: str) -> None:
    """Write a folder that ``open_saved`` reads back; ``name``: what the card tells its reader to open."""
    with atomic.atomic_folder(folder) as fresh:
        parts = {kind: describe(getattr(matcher, kind), fresh) for kind in PARTS}
        checkpoint.save_weights(fresh / checkpoint.WEIGHTS, matcher.state_dict())
        config = {
            "format": checkpoint.FORMAT,
            "matcher_type": parts["similarity"]["name"],
            "parts": parts,
        }
        checkpoint.write_json(fresh / checkpoint.CONFIG, config)
        if matcher.presence is not None:
            save_presence(matcher.presence, fresh)
        (fresh / "README.md").write_text(_card(parts, card, name), encoding="utf-8")


def push(matcher: "Matcher", name: str, private: bool, token: str | None, card: Mapping[str, Any]) -> str:
    """Save to the Hugging Face Hub; returns the address of the commit."""
    import tempfile

    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "model"
        full_name = api.create_repo(name, private=private, exist_ok=True).repo_id  # with the user
        save(matcher, home, card, full_name)
        return str(api.upload_folder(repo_id=full_name, folder_path=str(home)))


def _card(parts: Tables, facts: Mapping[str, Any], name: str) -> str:
    named = "\n".join(f"- {kind.replace('_', ' ')}: {table['name']}" for kind, table in parts.items())
    lines = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    return (
        "---\nlibrary_name: wordsight\npipeline_tag: feature-extraction\ntags: [image-text-matching]\n---\n\n"
        f"# An image-text matcher\n\n{named}\n\n{lines}\n\n"
        f'```python\nfrom wordsight import Matcher\n\nmatcher = Matcher.from_pretrained("{name}")\n'
        'print(matcher.score(["photo.jpg"], ["a dog runs"]))\n```\n'
    )
