"""Batches of picture files or texts -> embeddings, by actors of Ray on this machine or on a cluster.

The actors only read and encode; the process that updates the index writes it. A batch that a dead actor had
is encoded again by the one that takes its place. Workers need the pictures under the same paths.
"""

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from wordsight.errors import InputError, MissingPackageError, UnavailableError
from wordsight.files.atomic import removed_on_failure
from wordsight.files.fingerprint import content_of
from wordsight.files.user_cache import cache_folder
from wordsight.matcher import Matcher
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.runtime.device import find_device
from wordsight.search.index import manifest
from wordsight.search.index.candidate import CHANGED, Candidate, Made
from wordsight.search.index.encoder import Encoded, Encoder, Refusal, encode

LOCAL = "local"
BATCHES_PER_ACTOR = 2  # one that is encoded, and the next one
CONNECT_SECONDS = 10
MAX_DEATHS = 3  # of actors with the same batch
Source = tuple[str, str]  # path and content; a text and ""


class RayEncoder(Encoder):
    """Encodes on Ray: "local" starts it on this machine, any other address is that of a running cluster."""

    def __init__(
        self,
        model_folder: Path,
        address: str = LOCAL,
        actors: int = 0,
        device: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        """``actors``: 0 for one per GPU of the cluster, or without GPUs one per processor."""
        self._ray = ray = _package()
        if address != LOCAL:
            _check(address)
        self._started = not ray.is_initialized()
        if self._started:
            _start(ray, address)
        gpus, count = _free(ray, device, actors)
        identity = manifest.identity(model_folder)
        remote = ray.remote(
            num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=MAX_DEATHS
        )(EncodingActor)
        # other machines may lack the folder; an object in a list is fetched where it is needed only
        self._files = [] if address == LOCAL else [ray.put(_files(model_folder))]
        model = (str(model_folder), identity, self._files)
        self.actors = [remote.remote(*model, device, trust_remote_code) for _ in range(count)]
        self.ahead = BATCHES_PER_ACTOR * count - 1
        self._turns = itertools.cycle(self.actors)

    def prepare(self, path: Path) -> Made:
        return path

    def submit(self, batch: Sequence[Candidate]) -> Callable[[], Encoded]:
        sources = [(str(one.made), one.content if isinstance(one.made, Path) else "") for one in batch]
        ticket = next(self._turns).encode.remote(sources)

        def wait() -> Encoded:
            try:
                found: Encoded = self._ray.get(ticket)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                raise UnavailableError(
                    f"Ray lost the processes that encode {sources[0][0]} and {len(sources) - 1} more: "
                    f"{type(error).__name__}",
                    "all batches before are safe: run the same command again",
                ) from error
            return found

        return wait

    def close(self) -> None:
        for actor in self.actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()


class EncodingActor:
    """A process on some machine of the cluster that holds the model."""

    def __init__(
        self, folder: str, identity: str, files: Sequence[Any], device: str, trust_remote_code: bool
    ) -> None:
        model = _model_here(Path(folder), identity, files)
        self.matcher = Matcher.from_pretrained(model, trust_remote_code=trust_remote_code).eval()
        self.matcher.to(find_device(device))

    def process(self) -> int:
        """Id of this process on its machine."""
        return os.getpid()

    def encode(self, sources: Sequence[Source]) -> Encoded:
        """Embeddings of texts, or of files that have this content."""
        made: list[Any] = []
        refused: dict[int, Refusal] = {}
        for number, (source, content) in enumerate(sources):
            try:
                made.append(self._prepared(Path(source), content) if content else source)
            except UnreadablePicture as error:
                refused[number] = Refusal(error.reason, error.reason != CHANGED)
            except OSError as error:
                refused[number] = Refusal((error.strerror or str(error)).lower(), False)
        found = encode(self.matcher, made, refused)
        on_cpu = None if found.embeddings is None else found.embeddings.to("cpu")
        return Encoded(on_cpu, found.sizes, refused)

    def _prepared(self, path: Path, content: str) -> Any:
        prepared = self.matcher.reader.prepare(path)
        if content_of(path) != content:  # it would be stored under another hash
            raise UnreadablePicture(str(path), CHANGED)
        return prepared


def _files(model_folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(model_folder).as_posix(): path.read_bytes()
        for path in manifest.model_files(model_folder)
    }


def _model_here(folder: Path, identity: str, files: Sequence[Any]) -> Path:
    """The model on this machine: where the driver has it, else in the cache, where it is written once."""
    if (folder / "config.json").is_file() and manifest.identity(folder) == identity:
        return folder
    import ray

    cached = cache_folder() / "models" / identity
    if not cached.is_dir():
        partial = cached.with_name(f".{uuid4().hex}")
        with removed_on_failure(partial):
            for name, data in ray.get(files[0]).items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).write_bytes(data)
            try:
                partial.rename(cached)
            except OSError:  # another actor of this machine was quicker
                if not cached.is_dir():
                    raise
    return cached


def _free(ray: Any, device: str, wanted: int) -> tuple[int, int]:
    """GPUs to use, and the number of actors. Raises UnavailableError if there is room for none."""
    resources = ray.available_resources()
    gpus, processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device == "cpu" or not ray.cluster_resources().get("GPU"):
        room, gpus = processors, 0
    else:
        room = min(processors, gpus)
    if not room:
        raise UnavailableError(
            "the Ray cluster has no free processor or GPU", "wait until other work on it ends"
        )
    return gpus, min(wanted or room, room)


def _package() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError("--ray needs the package ray", "pip install 'wordsight[ray]'") from error
    return ray


def _check(address: str) -> None:
    """Raise InputError or UnavailableError at once where Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--ray {address} is no address", "give local, or HOST:PORT of a cluster's head")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address}: {error}", "check the address, or give --ray local"
        ) from error


def _start(ray: Any, address: str) -> None:
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == LOCAL:
        settings["include_dashboard"] = False
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        raise UnavailableError(f"Ray at {address} cannot be used: {error}") from error
