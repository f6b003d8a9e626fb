"""A BERT inside a checkpoint in; tables of our tokenizer and text encoder out."""

import json
import re
import shutil
from typing import Any

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.system import Given
from wordsight.importers.weight_map import Rule
from wordsight.pretrained.models import MissingModel
from wordsight.read.text.wordpiece_tokenizer import find_tokenizer

STANDARD = "bert-base-uncased"  # what the published code loads
RULES = (
    Rule("txt.bert.", "text_encoder.bert."),
    Rule("txt.linear.", "text_encoder.linear."),
    Rule("txt.bert.pooler.", None, "the pooler, which no word vector passes through"),
    Rule("txt.bert.embeddings.position_ids", None, "the numbers from 0 on, which older transformers keep"),
)
HEAD = 64  # numbers per attention head in every published size of BERT


def bert(published: Published, given: Given) -> dict[str, Any]:
    """The [text_encoder] table; the architecture is written into the work folder."""
    config = _architecture(published)
    if given.bert is not None and (given.bert / "config.json").is_file():
        config = _agreeing(
            json.loads((given.bert / "config.json").read_text(encoding="utf-8")), config, given
        )
    folder = given.work / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {
        "name": "bert",
        "model": str(folder),
        "pretrained": False,
        "dim": published.size("txt.linear.weight", 2)[0],
    }


def wordpieces(given: Given) -> dict[str, Any]:
    """The [tokenizer] table: of a vocab.txt given as --vocabulary, of --bert, or the standard one's."""
    if given.vocabulary is None:
        return {"name": "wordpieces", "model": _standard() if given.bert is None else str(given.bert)}
    if given.vocabulary.suffix != ".txt" or not given.vocabulary.is_file():
        raise InputError(
            f"this checkpoint reads word pieces: to it belongs the vocab.txt of {STANDARD}, not "
            f"{given.vocabulary}; give that file as --vocabulary, or the folder of {STANDARD} as --bert"
        )
    folder = given.work / "tokenizer"
    folder.mkdir()
    shutil.copy(given.vocabulary, folder / "vocab.txt")
    return {"name": "wordpieces", "model": str(folder)}


def _standard() -> str:
    """Its name, once it is known to be here; the message names the options of an import."""
    try:
        find_tokenizer(STANDARD)
    except FileNotFoundError as error:
        raise MissingModel(
            f"the words of this checkpoint are read by {STANDARD}, which is not on this machine and could "
            f"not be fetched. On a machine with a network run: hf download {STANDARD} vocab.txt config.json "
            f"--local-dir {STANDARD}; copy that folder here and give it as --bert {STANDARD}, or its "
            f"vocab.txt as --vocabulary {STANDARD}/vocab.txt"
        ) from error
    return STANDARD


def _architecture(published: Published) -> dict[str, Any]:
    """config.json from the shapes; the rest is as in the standard BERT."""
    pieces, hidden = published.size("txt.bert.embeddings.word_embeddings.weight", 2)
    numbers = [re.match(r"txt\.bert\.encoder\.layer\.(\d+)\.", name) for name in published.weights]
    return {
        "model_type": "bert",
        "vocab_size": pieces,
        "hidden_size": hidden,
        "num_hidden_layers": len({number[1] for number in numbers if number}),
        "num_attention_heads": max(1, hidden // HEAD),
        "intermediate_size": published.size("txt.bert.encoder.layer.0.intermediate.dense.weight", 2)[0],
        "max_position_embeddings": published.size("txt.bert.embeddings.position_embeddings.weight", 2)[0],
        "type_vocab_size": published.size("txt.bert.embeddings.token_type_embeddings.weight", 2)[0],
    }


def _agreeing(configured: dict[str, Any], shapes: dict[str, Any], given: Given) -> dict[str, Any]:
    """The given configuration, which says more than shapes can, where it does not contradict them."""
    for key, value in shapes.items():
        if key != "num_attention_heads" and configured.get(key, value) != value:
            raise InputError(
                f"{given.bert}/config.json says {key} = {configured[key]}, the checkpoint has {value}; "
                "give the folder of the BERT that it was trained from"
            )
    return shapes | configured
