"""Names of the files and folders of a saved model."""

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
BEST = "best"  # the saved model in the folder of a training run
