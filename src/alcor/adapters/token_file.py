"""The file of access tokens: JSON, replaced as a whole, read again when it changed.

{"tokens": [{"id": ..., "sha256": ..., "project_id": ..., "user_id": ..., "roles": [...], ...}]}
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from alcor.management_plane.identity import tokens
from alcor.management_plane.identity.tokens import TokenRecord
from alcor.model import errors
from alcor.runtime.event_log import EventLog

NAME = "tokens.json"
_SIZE_MAX = 16 * 1024 * 1024
_Mark = tuple[int, int, int] | None  # what tells one content from another; None: there is no file


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[TokenRecord]


_decoder = msgspec.json.Decoder(_Document)
_NEVER: _Mark = (-1, -1, -1)


class TokenFile:
    """Reads and replaces one file. Owner of the mark of what it gave last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = _NEVER

    def read(self) -> tuple[TokenRecord, ...]:
        """Give all tokens; none when there is no file. Raises Invalid for a file that cannot be believed."""
        try:
            found = self._path.stat()
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise errors.Invalid(f"others may write {self._path}: chmod 600 it, and look at what is in it")
            if found.st_size > _SIZE_MAX:
                raise errors.Invalid(f"{self._path} is longer than {_SIZE_MAX} bytes")
            return tokens.checked(_decoder.decode(self._path.read_bytes()).tokens)
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.Invalid(f"{self._path} cannot be read as a file of tokens: {error}") from error

    def changed(self) -> tuple[TokenRecord, ...] | None:
        """Give all tokens if the file is another than last time, otherwise None. Raises Invalid."""
        mark = self._look()
        if mark == self._mark:
            return None
        records = self.read()
        self._mark = mark  # only now: what could not be read is tried again
        return records

    @contextlib.contextmanager
    def replacing(self) -> Iterator[list[TokenRecord]]:
        """Change the tokens in a list; nobody else changes them meanwhile. Raises Invalid, Unavailable."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                records = list(self.read())
                yield records
                self._write(tokens.checked(records))
        except OSError as error:
            raise errors.Unavailable(f"{self._path} cannot be written: {error}", retry_after_s=1) from error

    def _look(self) -> _Mark:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def _write(self, records: tuple[TokenRecord, ...]) -> None:
        # Written beside and renamed: whoever reads sees the old file or the new one, also after a crash.
        following = self._path.with_suffix(".next")
        following.unlink(missing_ok=True)
        with open(os.open(following, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_Document(list(records)))))
            file.flush()
            os.fsync(file.fileno())
        following.rename(self._path)


def following(file: TokenFile, log: EventLog) -> Callable[[], tuple[TokenRecord, ...] | None]:
    """Give what changed in a file; while it cannot be read, what was read last stays in force."""
    refused = ""

    def changed() -> tuple[TokenRecord, ...] | None:
        nonlocal refused
        try:
            records = file.changed()
            refused = ""
            return records
        except errors.Invalid as error:
            if error.message != refused:  # said once, not at every look
                refused = error.message
                log.error("token_file_refused", reason=refused)
            return None

    return changed
