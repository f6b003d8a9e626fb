"""A loss for wordsight: InfoNCE that gives little weight to pairs that are already easy.

Use it in a configuration: ``[loss]  name = "focal"  gamma = 2.0``.
"""

import torch
from torch import Tensor

from wordsight import EncodedPairs, Loss


class Focal(Loss):
    """Mean of -(1 - p)^gamma log p, where p is a pair's softmax among its batch, for images and for texts.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4.
    """

    def __init__(self, gamma: float = 2.0, temperature: float = 0.05) -> None:
        super().__init__()
        self.gamma, self.temperature = gamma, temperature  # settings are attributes of their name

    def forward(self, pairs: EncodedPairs) -> Tensor:
        logits = pairs.scores / self.temperature  # [image, text]; pair i is in row i and column i
        logs = torch.stack([logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()])
        return (-((1 - logs.exp()) ** self.gamma) * logs).sum(0).mean()
