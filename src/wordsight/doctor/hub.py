"""Access to the model hub: its settings, and whether it answers within two seconds."""

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from wordsight.doctor.facts import Fact, State

SECONDS = 2.0
OFFLINE_ADVICE = "models that are in the hub cache, or in folders, work all the same"


def hub() -> Iterator[Fact]:
    if find_spec("huggingface_hub") is None:
        yield Fact("hub", "huggingface-hub is not installed", State.note, "pip install huggingface-hub")
        return
    from huggingface_hub import constants, get_token

    yield Fact("address", constants.ENDPOINT)
    yield Fact("token", "set" if get_token() else "none; only private models need one")
    if constants.HF_HUB_OFFLINE:
        yield Fact("access", "switched off by HF_HUB_OFFLINE", State.note, OFFLINE_ADVICE)
        return
    proxies = [
        name
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
        if os.environ.get(name) or os.environ.get(name.lower())
    ]
    if proxies:
        yield Fact("proxy", proxies)
    yield _access(constants.ENDPOINT)


def _access(address: str) -> Fact:
    """Whether the address answers. A thread waits: looking up its name may outlast any timeout."""
    answers: list[str] = []
    waiting = Thread(target=lambda: answers.append(_answer(address)), daemon=True)
    began = time.monotonic()
    waiting.start()
    waiting.join(SECONDS)
    answer = answers[0] if answers else f"no answer in {SECONDS:.0f} s"
    if answer == "ok":
        return Fact("access", f"answers in {1000 * (time.monotonic() - began):.0f} ms")
    return Fact("access", f"not reachable: {answer}", State.note, OFFLINE_ADVICE)


def _answer(address: str) -> str:
    if not address.startswith(("https://", "http://")):
        return "the address is no URL"
    try:
        urlopen(Request(address, method="HEAD"), timeout=SECONDS).close()
    except HTTPError as error:
        return "ok" if error.code < 500 else f"it answers {error.code}"
    except URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error)
    return "ok"
