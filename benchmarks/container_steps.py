"""The steps of the Dockerfile, run in a clean environment on a machine where no container engine runs.

python benchmarks/container_steps.py INDEX FOLDER [--light]

INDEX is copied to where the container has its volume, and FOLDER holds everything that is made. The wheel is
built from the files that git knows, installed with the Dockerfile's extras into a new environment, and the
Dockerfile's command serves as its user (for root) until the Dockerfile's health check succeeds. ``--light``
leaves out torch and the extra train, for an index with an export. Left out: the base image, the making of the
user, and the index of torch's builds.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
HEALTHY_SECONDS = 120


def said(pattern: str) -> str:
    """The first match of a pattern in the Dockerfile."""
    found = re.search(pattern, DOCKERFILE, re.MULTILINE)
    if found is None:
        raise SystemExit(f"the Dockerfile has nothing like {pattern}")
    return found[1]


def run(*command: Any, **options: Any) -> None:
    print("+", *command, flush=True)
    subprocess.run(list(map(str, command)), check=True, **options)


def build(home: Path) -> Path:
    """The wheel of the files that git knows."""
    source = home / "source"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", home / "wheels", source)
    (wheel,) = (home / "wheels").glob("*.whl")
    return wheel


def install(home: Path, wheel: Path, light: bool) -> Path:
    """The environment of the second stage."""
    venv.create(home / "env", with_pip=True)
    pip = home / "env" / "bin" / "pip"
    extras = said(r"\[([a-z,]+)\]\"").split(",")
    if light:
        extras.remove("train")
    else:
        run(pip, "install", "--quiet", "--no-cache-dir", f"torch=={said(r'^ARG TORCH=(.+)$')}")
    run(pip, "install", "--quiet", "--no-cache-dir", f"{wheel}[{','.join(extras)}]")
    return home / "env" / "bin" / "wordsight"


def serve(home: Path, program: Path, index: Path) -> None:
    """Start the container's command as its user; raise unless its health check succeeds."""
    data, user = home / "data", int(said(r"^USER (\d+)$"))
    shutil.copytree(index, data / "index")
    (data / "pictures").mkdir()
    if os.getuid() == 0:
        run("chown", "-R", str(user), data)
        os.chmod(home, 0o755)
    own = {"user": user, "group": user, "extra_groups": []} if os.getuid() == 0 else {}
    paths = {"/data/index": str(data / "index"), "/pictures": str(data / "pictures")}
    arguments = [paths.get(one, one) for one in json.loads(said(r"^CMD (\[.+\])$"))]
    probe = json.loads(said(r"CMD (\[\"python\".+\])$"))
    probe[0] = str(program.with_name("python"))
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "WORDSIGHT_CACHE": str(data / "cache")}
    env |= {"HF_HOME": str(data / "hub"), "WORDSIGHT_TOKEN": "t" * 20, "HOME": str(data)}
    with subprocess.Popen([program, *arguments], env=env, cwd=data, **own) as server:
        try:
            began = time.monotonic()
            while subprocess.run(probe, env=env, stderr=subprocess.DEVNULL, **own).returncode:
                if server.poll() is not None or time.monotonic() - began > HEALTHY_SECONDS:
                    raise SystemExit("the server is not healthy")
                time.sleep(0.5)
            print(f"healthy after {time.monotonic() - began:.1f} s, as user {user}")
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--light", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    program = install(given.folder, build(given.folder), given.light)
    megabytes = sum(path.stat().st_size for path in (given.folder / "env").rglob("*") if path.is_file()) / 1e6
    print(f"the environment has {megabytes:.0f} MB")
    serve(given.folder, program, given.index)


if __name__ == "__main__":
    main()
