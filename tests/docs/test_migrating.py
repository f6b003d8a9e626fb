"""docs/migrating.md names every option of the original code, and all that it names here is here."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.written_in_docs import check_command, commands_in

from wordsight import registry
from wordsight.config import TABLES, DataSplits, configs_folder

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))

SCAN = """
data_path data_name vocab_path margin num_epochs batch_size word_dim embed_size grad_clip num_layers
learning_rate lr_update workers log_step val_step logger_name model_name resume max_violation
img_dim no_imgnorm no_txtnorm raw_feature_norm cross_attn precomp_enc_type bi_gru lambda_lse
"""
OPTIONS = {
    "VSE++": """
        data_path data_name vocab_path margin num_epochs batch_size word_dim embed_size grad_clip
        crop_size num_layers learning_rate lr_update workers log_step val_step logger_name resume
        max_violation img_dim finetune cnn_type use_restval measure use_abs no_imgnorm reset_train
    """,
    "SCAN": SCAN + "agg_func lambda_softmax imgid_list input_file output_dir split",
    "VSE-infinity": """
        data_path data_name vocab_path margin num_epochs batch_size word_dim embed_size grad_clip
        learning_rate lr_update optim workers log_step val_step logger_name model_name resume
        max_violation img_dim no_imgnorm no_txtnorm precomp_enc_type backbone_path backbone_source
        vse_mean_warmup_epochs reset_start_epoch backbone_warmup_epochs embedding_warmup_epochs
        backbone_lr_factor input_scale_factor num_layers drop dataset save_results evaluate_cxc
    """,
    "CHAN": """
        data_path data_name vocab_path num_epochs batch_size word_dim embed_size num_layers
        grad_clip learning_rate lr_update optim workers log_step val_step logger_name model_name
        resume max_violation img_dim no_imgnorm no_txtnorm precomp_enc_type text_enc_type wemb_type
        vse_mean_warmup_epochs reset_start_epoch embedding_warmup_epochs input_scale_factor drop
        obj_drop_rate criterion margin temperature coding_type pooling_type alpha belta seed dataset
        model_path save_results evaluate_cxc result1 result2
    """,
    "CASC": SCAN
    + """
        t2i_agg_func i2t_agg_func lambda_softmax_avg lambda_softmax_lse caption_vocab caption_np
    """,
    "CMPL": """
        dataset_name split_name dataset_dir train_samples_dir checkpoint_dir log_dir label_smoothing
        batch_size num_epochs ckpt_steps num_classes is_training feature_size model_name model_scope
        weight_decay preprocessing_name CMPM CMPC embedding_size num_lstm_units vocab_size
        lstm_dropout_keep_prob restore_pretrain restore_path restore_scopes
        checkpoint_exclude_scopes trainable_scopes trainable_exclude_scopes optimizer learning_rate
        adam_beta1 adam_beta2 opt_epsilon end_learning_rate adadelta_rho
        adagrad_initial_accumulator_value ftrl_learning_rate_power ftrl_initial_accumulator_value
        ftrl_l1 ftrl_l2 momentum rmsprop_momentum rmsprop_decay learning_rate_decay_type
        learning_rate_decay_factor num_epochs_per_decay num_gpus sync_replicas replicas_to_aggregate
        num_clones clone_on_cpu worker_replicas num_ps_tasks task moving_average_decay
        input_queue_memory_factor num_readers num_preprocessing_threads log_device_placement
        eval_dir max_num_batches method image_dir text_dir split_dir output_dir min_word_count
        word_counts_output_file word_to_idx_file train_shards val_shards test_shards num_threads
        default_image_size
    """,
    "The PyTorch port of CMPL": """
        image_dir anno_dir checkpoint_dir log_dir model_path embedding_size num_lstm_units
        vocab_size lstm_dropout_ratio max_length bidirectional image_model resume batch_size
        num_epoches ckpt_steps feature_size img_model loss_weight CMPM CMPC cnn_dropout_keep
        constraints_text constraints_images num_classes pretrained optimizer lr wd adam_alpha
        adam_beta epsilon end_lr lr_decay_type lr_decay_ratio epoches_decay epoch_ema ema_decay gpus
        epoch_start img_root json_root out_root first min_word_count
    """,
}


@pytest.mark.parametrize("system", OPTIONS)
def test_every_option_of_the_original_stands_in_the_table_of_its_code_base(system: str) -> None:
    rows = re.findall(r"^\| (`[^|]+?) \|", SECTIONS[system], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`-{0,2}(\w+)`", row)}
    assert sorted(set(OPTIONS[system].split()) - named) == []


@pytest.mark.parametrize("system", OPTIONS)
def test_every_row_says_what_is_here_or_why_nothing_is(system: str) -> None:
    rows = [row.strip("|").split(" | ") for row in re.findall(r"^\| `.*$", SECTIONS[system], re.MULTILINE)]
    for row, here, note in ([*map(str.strip, row)] for row in rows if len(row) == 3):
        assert here.startswith("`") or (here == "-" and note), row


def commands() -> list[str]:
    inline = [code for code in CODE if re.match(r"wordsight \w+", code)]
    return sorted({*commands_in(PAGE), *inline})


@pytest.mark.parametrize("command", commands())
def test_every_command_parses(command: str) -> None:
    """A command named alone must exist; one with arguments must take them."""
    check_command(command, may_be_bare=True)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"wordsight (?:train|config show) ([a-z][\w-]+)", PAGE)))
)
def test_every_configuration_is_published(name: str) -> None:
    assert (configs_folder() / f"{name}.toml").is_file()


def settings(table: str) -> set[str]:
    """Every setting that a table may have, over all parts that may stand there."""
    from wordsight.config import SETTINGS

    if table in SETTINGS:
        return set(SETTINGS[table].__dataclass_fields__)
    known = {"name"}
    for name in registry.REGISTRY[table]:
        known |= set(registry.settings_of(registry.find(table, name)))
    return known | (set(DataSplits.__dataclass_fields__) if table == "data" else set())


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_exists(table: str) -> None:
    named = {key for code in CODE for key in re.findall(rf"(?<![\w.\-\"]){table}\.(\w+)(?!\()\b", code)}
    assert sorted(named - settings(table)) == []


RECIPES = {
    "VSE++": "vsepp-*", "SCAN": "scan-*", "VSE-infinity": "vse-infinity-*", "CHAN": "chan-*-[gb]*",
    "CASC": "casc-*", "CMPL": "cmpl-*", "The PyTorch port of CMPL": "cmpl-cuhk-pedes-*",
}  # fmt: skip
OF_ANOTHER_PART = {
    "similarity.absolute", "similarity.normalize", "similarity.temperature", "reader.mean", "reader.std",
}  # fmt: skip


@pytest.mark.parametrize("system", RECIPES)
def test_every_setting_is_one_of_the_system_whose_table_names_it(system: str) -> None:
    """But for those of a part that its row names too, and that no recipe has."""
    from wordsight.config import load_config

    recipes = [load_config(str(path)) for path in configs_folder().glob(f"{RECIPES[system]}.toml")]
    known = {f"{table}.{key}" for table in TABLES for key in settings_of(recipes, table)}
    rows = re.findall(r"^\| `.*$", SECTIONS[system], re.MULTILINE)
    told = re.findall(rf"(?<![\w.\-\"])((?:{'|'.join(TABLES)})\.\w+)(?!\()\b", "\n".join(rows))
    assert sorted(set(told) - known - OF_ANOTHER_PART) == []


def settings_of(recipes: list[Any], table: str) -> set[str]:
    """Of the parts that stand under this name in any of the recipes."""
    from wordsight.config import SETTINGS

    if table in SETTINGS:
        return settings(table)
    names = {recipe.tables[table]["name"] for recipe in recipes if table in recipe.tables}
    known = {key for name in names for key in registry.settings_of(registry.find(table, name))}
    return known | {"name"} | (set(DataSplits.__dataclass_fields__) if table == "data" else set())


def assignments() -> list[tuple[str, str, Any]]:
    found = [re.fullmatch(r"(\w+)\.(\w+) = (.+)", code) for code in CODE]
    return [(m[1], m[2], tomllib.loads(f"value = {m[3]}")["value"]) for m in found if m and m[1] in TABLES]


def test_every_value_can_be_written_so_and_every_name_is_on_the_menu() -> None:
    for table, key, value in assignments():
        if key == "name":
            assert value in registry.REGISTRY[table], (table, value)
        for kind in {key, {"pooling": "pooling", "pool": "pool"}.get(key, "")} & set(registry.REGISTRY):
            name = value if isinstance(value, str) else value["name"]
            assert name in registry.REGISTRY[kind], (table, key, value)
    assert len(assignments()) > 20
