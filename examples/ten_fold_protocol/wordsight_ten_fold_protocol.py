"""An evaluation protocol for wordsight: R@K averaged over ten consecutive folds of 500 images.

Use it by name: ``wordsight evaluate MODEL --protocol coco-500-10fold``.
"""

from wordsight import Protocol

PROTOCOL = Protocol("coco-500-10fold", "COCO, average over ten folds of 500", 5000, 5, folds=10)
