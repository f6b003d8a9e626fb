"""The setting device -> a device that torch has."""


def available_device(name: str) -> str:
    """The name itself; for "auto", the GPU if there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
