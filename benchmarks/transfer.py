"""One file on its way over HTTP: attempts until it is whole.

The server is asked to go on where the part ends, and to send the whole file instead if it has changed meanwhile
(``If-Range``, RFC 9110). The libraries behind this take longer to import than ``bench list`` may for all it does.
"""

import http.client
import io
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.download import ByteProgress, Download, beside, defect
from benchmarks.errors import DataError
from benchmarks.files import atomic_path, write_text

_TIMEOUT = 30.0  # seconds without a single byte
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds between attempts that brought nothing
_BLOCK = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers that another attempt may change
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _DroppedError(Exception):
    """An attempt ended early for a reason that may pass."""


class Transfer:
    """One file on its way: attempts until it is whole."""

    def __init__(self, download: Download, target: Path, part: io.FileIO, report: ByteProgress) -> None:
        self.download = download
        self.target = target
        self.part = part
        self.path = beside(target, ".part")
        self.tag = beside(target, ".part.tag")  # what identifies the version that the part belongs to
        self.report = report
        self.reached = False  # whether the server has answered at all

    def run(self) -> None:
        """Fetch, check and put in place."""
        self._fetch()
        wrong = defect(self.download, self.path)
        self.tag.unlink(missing_ok=True)
        if wrong:
            self.path.unlink()
            raise self._failure(f"what it sent is not the file ({wrong}), and was removed")
        os.fsync(self.part.fileno())  # so that the name below changes at once
        with atomic_path(self.target) as temporary:
            self.path.replace(temporary)

    def _fetch(self) -> None:
        """Attempt until the part is whole; give up when several attempts in a row brought nothing new."""
        longest, failures = self._size(), 0
        while True:
            try:
                self._attempt()
                return
            except _DroppedError as error:
                failures = 0 if self._size() > longest else failures + 1
                longest = max(longest, self._size())
                if failures > len(_WAITS):
                    raise self._failure(
                        f"broke off {failures} times in a row ({error}); {self._size():,} bytes are kept, "
                        "and the same command goes on from there"
                    ) from None
                time.sleep(_WAITS[failures - 1] if failures else 0.0)

    def _attempt(self) -> None:
        """One request, from the end of the part on where that is safe."""
        start = self._size() if self.download.checked or self.tag.is_file() else 0
        try:
            response = urllib.request.urlopen(self._request(start), timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error, start)
            return
        except (OSError, http.client.HTTPException) as error:
            if self.reached:
                raise _DroppedError(_reason(error)) from error
            raise self._failure(_reason(error)) from error
        with response:
            self.reached = True
            offset, total = self._place(response, start)
            self._begin(response, offset, total)
            self._copy(response, offset, total)

    def _request(self, start: int) -> urllib.request.Request:
        """Ask for everything from byte ``start`` on."""
        headers = {"User-Agent": "detailclip-bench", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.tag.is_file():
                headers["If-Range"] = self.tag.read_text(encoding="utf-8")
        return urllib.request.Request(self.download.url, headers=headers)

    def _refused(self, error: urllib.error.HTTPError, start: int) -> None:
        """An answer that is no content: the part is whole already, it may pass, or it is final."""
        self.reached = True
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            found = _CONTENT_RANGE.fullmatch(error.headers.get("Content-Range", ""))
            if found and found[2] == str(start):
                return
            self.part.truncate(0)
            raise _DroppedError("the part was no beginning of the file")
        if error.code in _PASSING:
            raise _DroppedError(f"answered {error.code} {error.reason}")
        raise self._failure(f"answered {error.code} {error.reason}")

    def _place(self, response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
        """Where in the file the answer begins, and the file's whole size if the server tells it."""
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            return 0, response.length
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or found[1] != str(start):
            self.part.truncate(0)
            raise _DroppedError("sent another range than was asked for")
        return start, int(found[2]) if found[2] != "*" else None

    def _begin(self, response: http.client.HTTPResponse, offset: int, total: int | None) -> None:
        """Refuse what cannot be right or cannot be kept, and note the version that arrives."""
        if None not in (total, self.download.size) and total != self.download.size:
            raise self._failure(f"offers {total:,} bytes, but {self.download.size:,} are published")
        free = shutil.disk_usage(self.target.parent).free
        if total is not None and total - offset > free:
            raise DataError(
                f"{self.target}: {total - offset:,} bytes are still to come, but {free:,} are free; "
                "free some space or name another folder"
            )
        self.part.truncate(offset)
        self.part.seek(offset)
        if offset == 0:
            tag = _version(response)
            self.tag.unlink(missing_ok=True)
            if tag:
                write_text(self.tag, tag)

    def _copy(self, response: http.client.HTTPResponse, done: int, total: int | None) -> None:
        """Write the content as it arrives."""
        self.report(done, total)
        while block := self._read(response):
            self._write(memoryview(block))
            done += len(block)
            self.report(done, total)
        if total is not None and done < total:
            raise _DroppedError(f"closed after {done:,} of {total:,} bytes")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _DroppedError(_reason(error)) from error

    def _write(self, rest: memoryview) -> None:
        """Append to the part; nothing is buffered, so that a kill loses nothing that was written."""
        try:
            while rest:
                rest = rest[self.part.write(rest) :]
        except OSError as error:
            raise DataError(
                f"{self.path}: {error.strerror} after {self._size():,} bytes, which are kept; free some space, "
                "and the same command goes on from there"
            ) from error

    def _size(self) -> int:
        return os.fstat(self.part.fileno()).st_size

    def _failure(self, what: str) -> DataError:
        """The one line: the address, what happened, and the way without us."""
        return DataError(f"{self.download.url}: {what}; or download it by hand to {self.target}")


def _version(response: http.client.HTTPResponse) -> str | None:
    """What the server calls this version of the file: a strong entity tag, or its date."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return response.headers.get("Last-Modified")


def _reason(error: Exception) -> str:
    """Why there was no answer, in a few words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return "the host's name cannot be resolved; is there a network?"
    if isinstance(cause, TimeoutError):
        return f"no answer within {_TIMEOUT:.0f} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified ({cause.verify_message})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(cause).split()) or type(cause).__name__
