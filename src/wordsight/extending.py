"""Building blocks for importers of checkpoints; the rest that extensions need is in ``wordsight`` itself."""

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.system import Description, Given, System
from wordsight.importers.weight_map import Rule
from wordsight.read.text.vocabulary import Vocabulary

__all__ = ["Description", "Given", "Published", "Rule", "System", "Vocabulary"]
