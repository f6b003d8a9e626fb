"""An index that torch made or updated -> an ONNX export of its model in it: searches start without torch."""

import importlib.util
import logging
import os
from typing import TYPE_CHECKING

from wordsight.cli.choose_export import has_own_parts
from wordsight.cli.stderr import say
from wordsight.files.model_folder import WEIGHTS

if TYPE_CHECKING:
    from wordsight.search.index.interface import SearchableIndex

NO_EXPORT = "WORDSIGHT_NO_EXPORT"  # the environment variable that stands for --no-export
MAX_BYTES = 500_000_000  # of weights: writing larger ones again takes long, and is left to `wordsight export`
_log = logging.getLogger("wordsight.export")


def leave_export(opened: "SearchableIndex", wanted: bool = True) -> None:
    """Export the model of an index in a folder, once; what cannot be exported is passed over.

    A failure costs the export and nothing else: the index is complete before.
    """
    try:
        reason = (_reason(opened) or _exported(opened)) if wanted else "--no-export"
    except Exception as error:  # whatever a model of others does to the tracer
        reason = f"{type(error).__name__}: {error}"
    if reason:
        _log.debug("the model of %s is not exported: %s", opened.name, reason)


def _reason(opened: "SearchableIndex") -> str:
    """Why the model is left as it is; empty if it is to be exported."""
    from wordsight.exported import has_export
    from wordsight.runtime.device import PROCESSOR
    from wordsight.search.index.index import Index
    from wordsight.tensors import IS_TORCH

    home = opened.model_folder
    if os.environ.get(NO_EXPORT, "") not in ("", "0"):
        return NO_EXPORT
    if not isinstance(opened, Index) or not IS_TORCH or has_export(home):
        return "it is on a server, has an export, or was run by one"
    if importlib.util.find_spec("onnx") is None:
        return "onnx is not installed"
    if not has_own_parts(home):
        return "it has parts of other packages"
    if opened.matcher.device.type != PROCESSOR:
        return f"it runs on {opened.matcher.device}"
    size = (home / WEIGHTS).stat().st_size
    return f"its weights are {size / 1e6:,.0f} MB" if size > MAX_BYTES else ""


def _exported(opened: "SearchableIndex") -> str:
    """Export the model and say so; no reason why not."""
    from wordsight.exporters.onnx_export import export_onnx

    report = export_onnx(opened.model_folder, matcher=opened.matcher)
    say(f"the model is exported ({report.megabytes:.1f} MB): searches of this index start without torch")
    return ""
