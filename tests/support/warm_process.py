"""Processes that begin with torch loaded: each is forked from one that loaded it once.

They are processes as any other, with a number, signals, files and memory of their own, and cost what they do
instead of two seconds of imports. A promise about the start of a process (which modules it loads, which
variables torch reads when it is loaded) needs ``subprocess``. Run as a program, this file is the process from
which the others are forked.
"""

import atexit
import gc
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

LOADED = (
    "torch._dynamo", "torch.utils.tensorboard", "sqlite3", "PIL.PngImagePlugin", "wordsight.cli.demo",
    "wordsight.cli.search", "wordsight.cli.hits_output", "wordsight.encode.cnn", "wordsight.encode.recurrent",
    "wordsight.experiments.run_cell", "wordsight.read.pictures.pixel_reader",
    "wordsight.read.validate.captions",
    "wordsight.search.engine.auto", "wordsight.search.explain", "wordsight.search.index.index",
    "wordsight.search.index.sync", "wordsight.search.searcher", "wordsight.web.server",
)  # fmt: skip
_one_at_a_time = threading.Lock()


class WarmProcess:
    """A started process; its methods are those of ``subprocess.Popen`` with text on stderr."""

    def __init__(self, pid: int, *files: IO[str]) -> None:
        self.pid, self.files = pid, files
        self.returncode: int | None = None

    @property
    def stderr(self) -> IO[str]:
        return self.files[2]

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _answer({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def communicate(self) -> tuple[str, str]:
        said = self.stderr.read()
        self.wait()
        self.files[1].seek(0)
        return self.files[1].read(), said

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            self.kill()
        self.wait()
        for file in self.files:
            file.close()


def start(
    *arguments: object, program: Sequence[str] = ("module", "wordsight"), cwd: Path | None = None,
    env: Mapping[str, str] | None = None, log: IO[Any] | None = None,
) -> WarmProcess:  # fmt: skip
    """``wordsight ARGUMENTS`` in a process of its own, or another program.

    ``program``: ("module", NAME), ("file", PATH) or ("code", TEXT). ``log`` takes stdout and stderr.
    """
    request = {
        "arguments": list(map(str, arguments)), "program": program, "path": sys.path,
        "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env),
    }  # fmt: skip
    (its_stdin, our_stdin), (our_stderr, its_stderr) = os.pipe(), os.pipe()
    stdout = TemporaryFile("w+")  # noqa: SIM115
    outputs = [stdout.fileno(), its_stderr] if log is None else [log.fileno()] * 2
    pid = _answer(request, [its_stdin, *outputs])
    os.close(its_stdin)
    os.close(its_stderr)
    return WarmProcess(pid, open(our_stdin, "w"), stdout, open(our_stderr))


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start such a process and wait for its end; see ``start``."""
    with start(*arguments, **options) as process:
        out, said = process.communicate()
        return subprocess.CompletedProcess(arguments, process.wait(), out, said)


def _answer(request: dict[str, Any], handles: Sequence[int] = ()) -> Any:
    with _one_at_a_time:
        socket.send_fds(_parent(), [json.dumps(request).encode()], handles)
        return json.loads(_parent().recv(1 << 10))


@cache
def _parent() -> socket.socket:
    """The connection to the process that forks, which ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(its.fileno())]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, env=os.environ | path)
    its.close()
    return ours


def fork_at_requests(connection: socket.socket) -> dict[str, Any]:
    """Returns in each forked process with what it is to do; this one ends with the connection."""
    while True:
        message, handles, *_ = socket.recv_fds(connection, 1 << 20, 3)
        if not message:
            os._exit(0)
        request: dict[str, Any] = json.loads(message)
        if "pid" in request:
            pid, status = os.waitpid(request["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            connection.close()
            for number, handle in enumerate(handles):
                os.dup2(handle, number)
                os.close(handle)
            return request
        for handle in handles:
            os.close(handle)
        connection.send(json.dumps(answer).encode())


def do(request: dict[str, Any]) -> None:
    """What a new process would do in its own folder, with its own variables and arguments."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:] = request["path"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    random.seed()
    kind, program = request["program"]
    sys.argv = [program if kind == "file" else kind, *request["arguments"]]
    if kind == "module":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    elif kind == "file":
        runpy.run_path(program, run_name="__main__")
    else:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


def ends(request: dict[str, Any]) -> int:
    """Do it and end as Python does, but for taking apart what was loaded; the exit code."""
    code: Any = 0
    try:
        do(request)
    except SystemExit as ended:
        code = ended.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code) if isinstance(code, int) else 1


if __name__ == "__main__":
    for module in LOADED:
        import_module(module)
    gc.freeze()  # what is loaded here is not examined again in each process
    os._exit(ends(fork_at_requests(socket.socket(fileno=int(sys.argv[1])))))
