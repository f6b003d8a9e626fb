"""Settings of a run, and how many steps it takes -> in words, which stages it ends before it reaches."""

from collections.abc import Iterator

from torch import nn

from wordsight.learn.settings import Training


def unreached_stages(settings: Training, loss: nn.Module, steps_per_epoch: int) -> list[str]:
    """One sentence per warm-up or frozen stage that lasts as long as the whole run, or longer."""
    return list(_unreached(settings, loss, steps_per_epoch))


def _unreached(settings: Training, loss: nn.Module, steps_per_epoch: int) -> Iterator[str]:
    epochs, steps = settings.epochs, settings.epochs * steps_per_epoch
    run = f"{epochs} {'epoch' if epochs == 1 else 'epochs'} of {steps_per_epoch} steps"
    if settings.warmup_steps >= steps:
        last = settings.learning_rate * steps / settings.warmup_steps
        yield (
            f"the run ends inside its warm-up: {run} are {steps} steps, and [training] warmup_steps = "
            f"{settings.warmup_steps}; the learning rate still rises at the last step ({last:.3g} of "
            f"{settings.learning_rate:.3g}). Set it to {max(steps // 10, 1)} or less, or train longer"
        )
    for prefix, frozen in settings.frozen_epochs.items():
        if frozen >= epochs:
            yield (
                f'the run ends before "{prefix}" learns: [training] frozen_epochs keeps it as it is for '
                f"{frozen} epochs of {epochs}; freeze it for fewer, or train longer"
            )
    if settings.loss_ramp_epoch is not None and settings.loss_ramp_epoch >= epochs:
        yield (
            f"the run ends before [training] loss_ramp_epoch = {settings.loss_ramp_epoch} (epochs count from "
            f"0): it has {epochs}; set an earlier epoch, or train longer"
        )
    for part in loss.modules():
        warm = getattr(part, "warmup_epochs", 0)
        if isinstance(warm, int) and warm >= epochs:
            yield (
                f"the run ends inside the warm-up of its loss: [loss] warmup_epochs = {warm} of {epochs} "
                "epochs, so all negatives count to the end; set fewer, or train longer"
            )
