"""A folder has one writer, and a file system without locks is called so (sysdiagnose#92, toil#4846)."""

import errno
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from support import warm_process, without_locks
from support.small_index import draw, small_model

from wordsight.files import lock
from wordsight.files.lock import CannotLock, StoreInUse, has_locks, locked

needs_seccomp = pytest.mark.skipif(not without_locks.is_possible(), reason="the kernel's filter is Linux's")


def unlocked(error: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``wordsight`` where every lock fails with this error."""
    program = ("file", without_locks.__file__)
    return warm_process.run(error, *arguments, program=program, env=os.environ | environment)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with (
        closing(locked(tmp_path)),
        pytest.raises(StoreInUse, match=rf"another process \(number {os.getpid()}\) is writing to"),
    ):
        locked(tmp_path)
    locked(tmp_path).close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES])
def test_only_these_errors_mean_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(lock, "_lock", refuse(number))
    for setting in ("", "1"):  # nor does anybody go on without a lock that another process holds
        monkeypatch.setenv(lock.NO_LOCK, setting)
        with pytest.raises(StoreInUse):
            locked(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_other_errors_are_called_by_their_name_with_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(lock, "_lock", refuse(number))
    monkeypatch.delenv(lock.NO_LOCK, raising=False)
    with pytest.raises(CannotLock, match=f"{os.strerror(number).lower()}; choose .* pass --no-lock"):
        locked(tmp_path)
    monkeypatch.setenv(lock.NO_LOCK, "1")
    locked(tmp_path).close()


def refuse(number: int):  # type: ignore[no-untyped-def]
    def act(file: object) -> None:
        raise OSError(number, os.strerror(number))

    return act


def test_here_are_locks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert has_locks(tmp_path / "file")
    assert has_locks(tmp_path / "nowhere")


@needs_seccomp
def test_an_index_is_made_followed_searched_and_checked_where_nothing_can_be_locked(tmp_path: Path) -> None:
    error = "ENOLCK"  # the other errors are known to the lock itself (above)
    model, pictures, out = small_model(tmp_path), tmp_path / "pictures", tmp_path / "index"
    draw(pictures, range(6))
    index = ("index", pictures, "--model", model, "--out", out)
    refused = unlocked(error, *index)
    assert refused.returncode == 1
    assert os.strerror(getattr(errno, error)).lower() in refused.stderr
    assert "another process" not in refused.stderr
    assert "--no-lock" in refused.stderr
    assert not out.exists()
    made = unlocked(error, *index, "--no-lock")
    assert (made.returncode, "6 added" in made.stdout) == (0, True), made.stderr
    assert made.stderr.count("make sure that no other process writes there") == 1
    (pictures / "000.png").unlink()
    followed = unlocked(error, *index, "--compact", "--verify", WORDSIGHT_NO_LOCK="1")
    assert (followed.returncode, "1 deleted" in followed.stdout) == (0, True), followed.stderr
    found = unlocked(error, "search", out, "a red ball", "-0")
    assert (found.returncode, found.stdout.count("\0")) == (0, 5), found.stderr


@needs_seccomp
def test_searching_a_folder_says_why_its_index_cannot_follow(tmp_path: Path) -> None:
    model, pictures = small_model(tmp_path), tmp_path / "pictures"
    draw(pictures, range(3))
    search = ("search", pictures, "a red ball", "--model", model, "-0")
    cache = {"WORDSIGHT_CACHE": str(tmp_path / "cache")}
    refused = unlocked("ENOLCK", *search, **cache)
    assert (refused.returncode, "no locks available" in refused.stderr) == (1, True)
    found = unlocked("ENOLCK", *search, "--no-lock", **cache)
    assert (found.returncode, found.stdout.count("\0")) == (0, 3), found.stderr
