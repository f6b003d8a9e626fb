"""Five parts -> a matcher; pictures and texts in, scores and reasons out."""

from wordsight.matcher.folders import model_folder, with_paths
from wordsight.matcher.matcher import Matcher
from wordsight.matcher.parts import PARTS

__all__ = ["PARTS", "Matcher", "model_folder", "with_paths"]
