"""Building blocks for importers of checkpoints, and limits of settings; the rest is in ``wordsight``."""

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.system import Description, Given, System
from wordsight.importers.weight_map import Rule
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.registry.limits import Limits, OneOf
from wordsight.registry.options import takes

__all__ = ["Description", "Given", "Limits", "OneOf", "Published", "Rule", "System", "Vocabulary", "takes"]
