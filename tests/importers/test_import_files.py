"""What a published file may hold, and what is said of one that cannot be taken."""

import json
import os
import pickle
import re
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import warm_process
from support.published_casc import CASC, head_state
from support.published_chan import OPTIONS as CHAN
from support.published_chan import image_state as chan_image
from support.published_chan import text_state as chan_text
from support.published_checkpoints import (
    DIM,
    IN,
    WORDS,
    linear_state,
    pickled,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from support.published_cmpl import network, write
from support.published_networks import resnet_state
from support.published_scan import OPTIONS, text_state
from support.published_vse_infinity import OPTIONS as VSE_INFINITY
from support.published_vse_infinity import image_state as pooled_image
from support.published_vse_infinity import words_state as pooled_text
from support.published_vsepp import OPTIONS as VSEPP
from support.published_vsepp import states as vsepp
from torch import nn

from wordsight.importers.convert import SYSTEMS, import_checkpoint
from wordsight.importers.safe_torch_load import read_torch_file
from wordsight.importers.vocabulary_reader import read_vocabulary, read_word_ranks

FORMATS = [{}, {"_use_new_zipfile_serialization": False}]
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")


class Runs:
    """Reading it as pickle does would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


# ---------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("how", FORMATS, ids=["zip", "before 1.6"])
def test_a_checkpoint_becomes_plain_data(tmp_path: Path, how: dict[str, Any]) -> None:
    weight = torch.randn(3, 2)
    options = Namespace(
        margin=np.float64(0.5), lr=np.float32(0.25), on=True, name="x", no=None, n=np.int64(3)
    )
    content = {
        "model": [OrderedDict(w=weight), {}],
        "opt": options,
        "W": nn.Parameter(weight),
        "rsum": np.float64(4),
    }
    torch.save(content, tmp_path / "a.pth", **how)
    read = read_torch_file(tmp_path / "a.pth")
    assert read["opt"] == {"margin": 0.5, "lr": 0.25, "on": True, "name": "x", "no": None, "n": 3}
    assert [type(value) for value in (read["opt"], read["rsum"], read["model"][0])] == [dict, float, dict]
    assert torch.equal(read["model"][0]["w"], weight)
    assert torch.equal(read["W"], weight)
    assert not read["W"].requires_grad


class Tensor03:
    """Pickles as PyTorch 0.3 pickled tensors, which is what SCAN was published with."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> Any:
        storage = torch.storage.TypedStorage(
            wrap_storage=self.tensor.untyped_storage(), dtype=self.tensor.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor, (storage, 0, tuple(self.tensor.shape), self.tensor.stride())


def test_tensors_of_pytorch_0_3_from_a_gpu_are_read(tmp_path: Path) -> None:
    weight = torch.randn(3, 2)
    torch.save({"model": Tensor03(weight)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    for here, there in (
        (b"torch\nFloatStorage", b"torch.cuda\nFloatStorage"),
        (b"X\3\0\0\0cpu", b"U\6cuda:0"),
    ):
        assert content.count(here) == 1
        content = content.replace(here, there)
    (tmp_path / "a.pth").write_bytes(content)
    assert torch.equal(read_torch_file(tmp_path / "a.pth")["model"], weight)


def test_a_checkpoint_of_python_2_is_read(tmp_path: Path) -> None:
    """There, numpy wrote the bytes of a number as text: 0.1 is not ASCII, nor UTF-8."""
    torch.save({"opt": Namespace(margin=0.25), "rsum": np.float64(0.1)}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = as_python_2(entries[name])
    with zipfile.ZipFile(tmp_path / "old.pth", "w") as file:
        for entry, content in entries.items():
            file.writestr(entry, content)
    assert read_torch_file(tmp_path / "old.pth") == {"opt": {"margin": 0.25}, "rsum": 0.1}


def as_python_2(pickled: bytes) -> bytes:
    """The same with SHORT_BINSTRING for the eight bytes of the number, and numpy's old names."""
    raw = np.float64(0.1).tobytes()
    text = raw.decode("latin1").encode("utf-8")
    at = pickled.index(b"X" + len(text).to_bytes(4, "little") + text)
    start, stop = pickled.rindex(b"c_codecs\nencode\n", 0, at), pickled.index(b"R", at + len(text)) + 1
    old = pickled[:start] + b"U\x08" + raw + pickled[stop:]
    return old.replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("how", FORMATS, ids=["zip", "before 1.6"])
def test_what_would_run_is_refused_by_name(tmp_path: Path, how: dict[str, Any]) -> None:
    torch.save({"opt": Runs(tmp_path / "ran")}, tmp_path / "a.pth", **how)
    with pytest.raises(ValueError, match=r"holds an object of (posix|nt)\.mkdir"):
        read_torch_file(tmp_path / "a.pth")
    torch.save({"model": nn.Linear(2, 2)}, tmp_path / "a.pth", **how)
    with pytest.raises(ValueError, match=r"holds an object of torch\.nn\.modules\.linear\.Linear"):
        read_torch_file(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", FORMATS, ids=["zip", "before 1.6"])
def test_a_file_cut_anywhere_says_so(tmp_path: Path, how: dict[str, Any]) -> None:
    path = write_checkpoint(tmp_path / "a.pth", [linear_state(IN, DIM, "fc."), text_state()], OPTIONS, **how)
    whole = path.read_bytes()
    for length in [0, 1, 10, *range(100, len(whole) - 100, len(whole) // 40)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="copy it again"):
            import_checkpoint(path, "scan", tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("a text")
    with pytest.raises(ValueError, match="copy it again"):
        read_torch_file(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        read_torch_file(tmp_path / "b.pth")
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"none of the published checkpoints: .*; found state_dict"):
        import_checkpoint(tmp_path / "a.pth", "scan", tmp_path / "out")


# ---------------------------------------------------------------------------------------------- wrong choices


def scan_checkpoint(tmp_path: Path, **changes: Any) -> Path:
    states = [linear_state(IN, DIM, "fc."), text_state()]
    return write_checkpoint(tmp_path / "scan.pth.tar", states, OPTIONS | changes)


def test_an_unknown_system_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r'system sacn is not known \(did you mean "scan"\?\); known: .*chan'
    ):
        import_checkpoint(scan_checkpoint(tmp_path), "sacn", tmp_path / "out")


def every_checkpoint(tmp_path: Path) -> dict[str, Path]:
    """One of each system, as small as they come."""
    linear = linear_state(IN, DIM, "fc.")
    saved: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "chan": ([chan_image("selfattention"), chan_text(), {}, {}], CHAN),
        "vse-infinity": ([pooled_image(), pooled_text()], VSE_INFINITY),
        "scan": ([linear, text_state()], OPTIONS),
        "casc": ([linear, text_state(), head_state()], CASC),
        "vsepp": (vsepp(), VSEPP),
    }
    paths = {name: write_checkpoint(tmp_path / f"{name}.pth", *given) for name, given in saved.items()}
    return paths | {"cmpl-pytorch": write(tmp_path, network(resnet_state((1, 1, 1, 1)), "last", 128))[0]}


def test_the_wrong_system_says_which_is_right(tmp_path: Path) -> None:
    paths, vocabulary = every_checkpoint(tmp_path), write_vocabulary(tmp_path / "v.json")
    assert set(paths) == set(SYSTEMS)
    for asked in SYSTEMS:
        for right in set(SYSTEMS) - {asked}:
            with pytest.raises(
                ValueError, match=f"not a checkpoint of {asked} .*like {right}: give --from {right}"
            ):
                import_checkpoint(paths[right], asked, tmp_path / "out", vocabulary)
    assert not (tmp_path / "out").exists()


def test_a_missing_vocabulary_says_which_belongs(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"give the vocabulary of .* has 13 rows; take the file it was trained"
    ):
        import_checkpoint(scan_checkpoint(tmp_path), "scan", tmp_path / "out")
    text = text_state() | {"embed.weight": torch.randn(8482, 5)}
    path = write_checkpoint(tmp_path / "f30k.pth", [linear_state(IN, DIM, "fc."), text], OPTIONS)
    with pytest.raises(
        ValueError, match=r"8482 rows, as f30k_precomp_vocab\.json has words with <mask> after"
    ):
        import_checkpoint(path, "scan", tmp_path / "out")


def test_a_vocabulary_of_another_size_says_both(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "v.json")
    text = text_state() | {"embed.weight": torch.randn(20, 5)}
    path = write_checkpoint(tmp_path / "a.pth", [linear_state(IN, DIM, "fc."), text], OPTIONS)
    with pytest.raises(
        ValueError, match=r"has 13 words \(14 with <mask>\), but the word table .* has 20 rows"
    ):
        import_checkpoint(path, "scan", tmp_path / "out", vocabulary)


@pytest.mark.parametrize("file_has_mask", [False, True])
def test_the_mask_is_there_when_the_word_table_has_a_row_for_it(tmp_path: Path, file_has_mask: bool) -> None:
    vocabulary = write_vocabulary(tmp_path / "v.json", file_has_mask)
    text = text_state() | {"embed.weight": torch.randn(14, 5)}
    path = write_checkpoint(tmp_path / "a.pth", [linear_state(IN, DIM, "fc."), text], OPTIONS)
    report = import_checkpoint(path, "scan", tmp_path / "out", vocabulary)
    assert len(report.matcher.tokenizer) == 14
    assert report.matcher.tokenizer.mask_id == 13


def test_options_that_are_not_known_are_named(tmp_path: Path) -> None:
    path = scan_checkpoint(tmp_path, agg_func="Median")
    with pytest.raises(
        ValueError, match=r"agg_func = 'Median', which is not known here; known: LogSumExp, Mean"
    ):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))


@pytest.mark.parametrize(("option", "value"), [("lambda_softmax", None), ("lambda_lse", 0.0)])
def test_temperatures_that_are_none_are_named(tmp_path: Path, option: str, value: Any) -> None:
    path = scan_checkpoint(tmp_path, **{option: value})
    with pytest.raises(ValueError, match=rf"{option} = {value}, where a number above 0 was expected"):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))


def test_a_model_that_fell_apart_is_refused(tmp_path: Path) -> None:
    image = linear_state(IN, DIM, "fc.")
    image["fc.bias"][2] = torch.nan
    path = write_checkpoint(tmp_path / "a.pth", [image, text_state()], OPTIONS)
    with pytest.raises(ValueError, match=r"image_encoder\.linear\.bias has values that are not finite"):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))


def test_weights_without_a_home_and_homes_without_a_weight_are_named(tmp_path: Path) -> None:
    text = text_state()
    del text["rnn.bias_hh_l0"]
    text["rnn.extra"] = torch.ones(2)
    path = write_checkpoint(
        tmp_path / "a.pth", [linear_state(IN, DIM, "fc.") | {"new.weight": torch.ones(1)}, text], OPTIONS
    )
    told = r"img\.new\.weight has no home; txt\.rnn\.extra has no home; our text_encoder\.reader\.bias_hh_l0"
    with pytest.raises(ValueError, match=told):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_weight_that_is_absent_or_of_another_shape_is_never_passed_over(
    tmp_path: Path, system: str
) -> None:
    path, vocabulary = every_checkpoint(tmp_path)[system], write_vocabulary(tmp_path / "v.json")
    given = tmp_path / "word_to_index.pkl" if system == "cmpl-pytorch" else vocabulary
    content = torch.load(path, weights_only=False)
    states = content["model"] if "model" in content else [content["network"]]
    unused = ["num_batches_tracked", "mlp.bns.1.", *(["fc."] if system == "chan" else [])]
    for state in states:
        for name in [name for name in state if not any(part in name for part in (*unused, "image_model."))]:
            weight = state.pop(name)
            for changed in ({}, {name: weight.reshape(1, 1, -1)}):
                torch.save(content | _with(content, state, changed), path)
                with pytest.raises(ValueError, match=re.escape(str(path))):
                    import_checkpoint(path, system, tmp_path / "out", given)
            state[name] = weight
    assert not (tmp_path / "out").exists()


def _with(content: dict[str, Any], state: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """The same checkpoint, one of its states with a change."""
    if "model" not in content:
        return {"network": state | changed}
    return {"model": [one | changed if one is state else one for one in content["model"]]}


def test_two_names_of_one_weight_are_refused(tmp_path: Path) -> None:
    image = linear_state(IN, DIM, "fc.")
    both = image | {"module.fc.bias": image["fc.bias"] + 1}
    path = write_checkpoint(tmp_path / "a.pth", [both, text_state()], OPTIONS)
    with pytest.raises(ValueError, match=r"holds img\.fc\.bias and img\.module\.fc\.bias, which are one"):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))


@pytest.mark.parametrize(
    "name", ["bilstm.bilstm.0.weight_ih_l1", "bilstm.bilstm.0.bias_ih_l0", "conv_text.scale"]
)
def test_what_the_port_of_cmpl_does_not_have_is_not_passed_over(tmp_path: Path, name: str) -> None:
    state = network(resnet_state((1, 1, 1, 1)), "last", 128) | {f"module.{name}": torch.ones(20)}
    path, ranks = write(tmp_path, state)
    with pytest.raises(ValueError, match=rf"module\.{re.escape(name)} has no home"):
        import_checkpoint(path, "cmpl-pytorch", tmp_path / "out", ranks)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="is there already and not empty"):
        import_checkpoint(
            scan_checkpoint(tmp_path), "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json")
        )
    assert (tmp_path / "out" / "mine").read_text() == "precious"


# ---------------------------------------------------------------------------------------------- vocabularies


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("module", ["vocab", "lib.vocab"])
def test_a_pickled_vocabulary_is_read(tmp_path: Path, module: str, protocol: int) -> None:
    (tmp_path / "v.pkl").write_bytes(pickled(module, vocabulary_table(), protocol))
    assert read_vocabulary(tmp_path / "v.pkl").entries == (*SPECIALS, *WORDS)


def test_a_vocabulary_pickled_by_python_2_is_read(tmp_path: Path) -> None:
    """Names of attributes and specials are its byte strings, words are unicode; the class was __main__'s."""
    words = ["caf\u00e9", "dog"]
    body = b"".join(
        b"X" + len(word.encode()).to_bytes(4, "little") + word.encode() + b"K" + bytes([4 + place])
        for place, word in enumerate(words)
    )
    specials = b"".join(
        b"U" + bytes([len(word)]) + word.encode() + b"K" + bytes([n]) for n, word in enumerate(SPECIALS)
    )
    content = (
        b"\x80\x02c__main__\nVocabulary\n)\x81}(U\x08word2idx}(" + specials + body + b"uU\x03idxK\x06ub."
    )
    (tmp_path / "v.pkl").write_bytes(content)
    assert read_vocabulary(tmp_path / "v.pkl").entries == (*SPECIALS, *words)


def test_json_is_read_as_ever(tmp_path: Path) -> None:
    assert read_vocabulary(write_vocabulary(tmp_path / "v.json")).entries == (*SPECIALS, *WORDS)


def test_a_pickle_that_would_run_something_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "v.pkl").write_bytes(pickle.dumps({"word2idx": Runs(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"an object of (posix|nt)\.mkdir, and reading that could run code"):
        read_vocabulary(tmp_path / "v.pkl")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_vocabulary_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.pkl").write_bytes(pickled("vocab", vocabulary_table())[:60])
    with pytest.raises(ValueError, match="copy it again"):
        read_vocabulary(tmp_path / "v.pkl")
    (tmp_path / "v.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="holds no Vocabulary, but list"):
        read_vocabulary(tmp_path / "v.pkl")
    (tmp_path / "v.pkl").write_bytes(pickled("vocab", vocabulary_table() | {"horse": 99}))
    with pytest.raises(ValueError, match="the word 'horse' has id 99, where 13 was expected"):
        read_vocabulary(tmp_path / "v.pkl")
    with pytest.raises(FileNotFoundError, match="there is no vocabulary"):
        read_vocabulary(tmp_path / "none.pkl")


def test_a_table_of_words_is_read_in_the_order_of_its_ids(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"dog": 1, "a": 0, "runs": 2}))
    assert read_word_ranks(tmp_path / "w.pkl") == ["a", "dog", "runs"]
    (tmp_path / "w.json").write_text('{"dog": 1, "a": 0, "runs": 2}')
    assert read_word_ranks(tmp_path / "w.json") == ["a", "dog", "runs"]


# ------------------------------------------------------------------------------------------------ the command


def test_an_imported_model_is_measured_on_the_data_of_a_configuration(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "v.json")
    import_checkpoint(scan_checkpoint(tmp_path), "scan", tmp_path / "out", vocabulary)
    data = tmp_path / "f30k_precomp"
    data.mkdir()
    np.save(data / "test_ims.npy", np.random.default_rng(0).standard_normal((4, 3, IN), dtype=np.float32))
    (data / "test_caps.txt").write_text("".join(f"{a} {b}\n" for a in WORDS[:4] for b in WORDS[:5]))
    (data / "test_ids.txt").write_text("".join(f"{n}\n" for n in range(4)))
    told = warm_process.run(
        "evaluate", tmp_path / "out", "--config", "scan-f30k-t2i-lse", "--set", f"data.path={data}",
        "--protocol", "all", "--json",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["rsum"] > 0


def test_the_command_reports_to_stderr_and_the_folder_to_stdout(tmp_path: Path) -> None:
    files = ["--vocabulary", write_vocabulary(tmp_path / "v.json"), "--out", tmp_path / "out"]
    done = warm_process.run("import", scan_checkpoint(tmp_path), "--from", "scan", *files)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out")
    assert "11 weights have their places, 0 unused; import.json lists each" in done.stderr
    assert "img.fc.weight" not in done.stderr, "hundreds of plain moves would hide what is unused"
    assert "img.fc.weight" in (tmp_path / "out" / "import.json").read_text()
    assert "401.5" in (tmp_path / "out" / "README.md").read_text()
