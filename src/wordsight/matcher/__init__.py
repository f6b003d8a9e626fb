"""Five parts -> a matcher; pictures and texts in, scores and reasons out.

Where torch is not installed, ``Matcher`` is the one that runs an ONNX export (``onnx_matcher.py``).
"""

from typing import TYPE_CHECKING

from wordsight.matcher.folders import model_folder, with_paths
from wordsight.matcher.parts import PARTS
from wordsight.tensors import IS_TORCH

if TYPE_CHECKING or IS_TORCH:
    from wordsight.matcher.matcher import Matcher
    from wordsight.matcher.saved import open_saved
else:
    from wordsight.matcher.onnx_matcher import OnnxMatcher as Matcher
    from wordsight.matcher.onnx_matcher import open_exported as open_saved

__all__ = ["PARTS", "Matcher", "model_folder", "open_saved", "with_paths"]
