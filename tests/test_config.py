"""A configuration says everything about a run, and what is wrong in it is said where it stands."""

from pathlib import Path

import pytest

from wordsight import registry
from wordsight.builder import Builder
from wordsight.config import Config, configs_folder, load_config

PUBLISHED = sorted(path.stem for path in configs_folder().glob("*.toml"))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_configuration_is_complete_and_known(name: str) -> None:
    complete = load_config(name).complete()
    for kind in ("data", "reader", "tokenizer", "image_encoder", "text_encoder", "similarity", "loss"):
        table = complete.tables[kind]
        assert registry.find(kind, table["name"])
        known = set(registry.complete(kind, {"name": table["name"]}))
        left_open = {"path", "split", "vocabulary", "model", "feature_dim", "vocabulary_size", "size"}
        own = {"train", "validation", "test", "features", "objects"} if kind == "data" else set()
        assert set(table) <= known | left_open | own


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_configuration_opens_with_what_it_is_and_how_to_run_it(name: str) -> None:
    text = (configs_folder() / f"{name}.toml").read_text()
    head = text.split("[data]")[0]
    assert head.startswith("# ")
    assert f"wordsight train {name}" in head or f"wordsight {name}" in head


@pytest.mark.parametrize("data", ["f30k", "coco"])
def test_the_recipes_of_chan_drop_start_and_end_where_its_code_does(data: str) -> None:
    """With a BiGRU they are dropped like words; [CLS] and [SEP] of a BERT never are."""
    assert load_config(f"chan-{data}-gru").training.drop_specials
    assert not load_config(f"chan-{data}-bert").training.drop_specials


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_saved_is_read_back(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml").tables == config.tables


def test_a_folder_of_the_same_name_does_not_hide_a_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()  # what `make demo` leaves behind
    monkeypatch.chdir(tmp_path)
    assert load_config("demo").source.endswith("demo.toml")


def test_an_empty_change_takes_a_key_or_a_table_out(tmp_path: Path) -> None:
    path = written(tmp_path, "[training]\nepochs = 3\nseed = 5\n[labels]\ncount = 7\n[reader.size]\nx = 1\n")
    tables = Config.load(path, ["training.epochs=", "labels=", "data.path=''"]).tables
    assert tables["training"] == {"seed": 5}
    assert "labels" not in tables
    assert tables["data"] == {"path": ""}
    for change, there in (("training.epoch=", "epochs, seed"), ("tokenizer=", "training, labels, reader")):
        with pytest.raises(
            ValueError, match=f"takes {change[:-1]} out, which is not there; there is {there}"
        ):
            Config.load(path, [change])


def test_changes_are_values_as_toml_writes_them_or_plain_text(tmp_path: Path) -> None:
    path = written(tmp_path, '[training]\nepochs = 3\n[data]\nname = "world"\n')
    changes = ["training.epochs=5", "training.milestones=[2, 4]", "data.name=karpathy", "loss.name='triplet'"]
    tables = Config.load(path, changes).tables
    assert tables["training"] == {"epochs": 5, "milestones": [2, 4]}
    assert tables["data"]["name"] == "karpathy"
    assert tables["loss"]["name"] == "triplet"


def test_variables_are_replaced_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", "/photos")
    path = written(tmp_path, '[data]\nname = "folder"\npath = "${PHOTOS}/a/${NONE_SUCH:-b}"\n')
    assert Config.load(path).tables["data"]["path"] == "/photos/a/b"
    path = written(tmp_path, '[data]\nname = "folder"\npath = "${NONE_SUCH}"\n')
    with pytest.raises(ValueError, match="NONE_SUCH is not set"):
        Config.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepochs = ", "is not TOML"),
        ("[trainig]\nepochs = 3", r'no table is called \[trainig\] \(did you mean "training"\?\)'),
        ("epochs = 3", r"no table is called \[epochs\]"),
        ("training = 3", "stands outside of every table"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epoch=3", r'epoch is not a setting of Training \(did you mean "epochs"\?\)'),
        ("training.epochs=0", "epochs = 0; expected at least 1"),
        ("evaluation.protocl=f30k", r'did you mean "protocol"'),
        ("vocabulary.min=3", "not a setting of LearnedVocabulary"),
        ("data.imges=3", r'imges is not a setting of World \(did you mean "images"\?\)'),
        ("training.epochs=many", r"\[training\] epochs = 'many'; expected a whole number"),
        ("training.epochs=2.5", "epochs = 2.5; expected a whole number"),
        ("training.learning_rate=true", "learning_rate = True; expected a number"),
        ("training.distinct_images=yes", "distinct_images = 'yes'; expected true or false"),
        ("training.milestones=3", "milestones = 3; expected a list, each item a whole number"),
        ("training.groups={loss='x'}", r"groups = .*; expected a table, each item a number or"),
        ("training.epochs.first=3", "epochs = 3 is no table that could hold a key"),
        ("image_encoder.dim=wide", r"\[image_encoder\] dim = 'wide'; expected a whole number"),
        ("similarity.direction=wrd", "direction = 'wrd'; expected one of word, region"),
        ("image_encoder.dim=-4", r"\[image_encoder\] dim = -4; expected at least 1; left out it is 1024"),
        (
            "image_encoder.dropout=1.5",
            r"\[image_encoder\] dropout = 1.5; expected 0 to 1; left out it is 0.0",
        ),
        ("image_encoder.dropout=nan", "dropout = nan; expected 0 to 1"),
        ("image_encoder.projection=0", r"\[image_encoder\] projection = 0; expected at least 1"),
        ("image_encoder.depth=-1", "depth = -1; expected 0 or more"),
        ("text_encoder.layers=0", r"\[text_encoder\] layers = 0; expected at least 1"),
        ("text_encoder.output_dropout=-0.1", "output_dropout = -0.1; expected 0 to 1"),
        ("reader.size=[64, 0]", r"\[reader\] size = \[64, 0\]; expected at least 1"),
        ("data.images=-3", r"\[data\] images = -3; expected at least 1"),
        ("loss.temperature=0", r"\[loss\] temperature = 0; expected more than 0"),
        ("vocabulary.min_count=-1", r"\[vocabulary\] min_count = -1; expected 0 or more"),
        ("evaluation.protocol=f9k", 'protocol "f9k"'),
        ("evaluation.batch_size=0", "batch_size = 0; expected at least 1"),
        ("evaluation.ties=fair", "ties = 'fair'; expected one of pessimistic, reference"),
    ],
)
def test_wrong_settings_are_named_before_anything_runs(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config("demo", [change]).complete()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    config = Config.load(written(tmp_path, '[data]\nname = "world"\nimages = 8\n'))
    with pytest.raises(ValueError, match=r"\[tokenizer\] is missing"):
        Builder(config).matcher(Builder(config).pairs("train"))
