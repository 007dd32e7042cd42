"""What the PDF tool lets its worker process do.

A PDF is a program of sorts, written by strangers: it may announce objects without end, or
streams that multiply. The child has bounded memory and is killed when the time is up.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmspell_tools._files import open_file
from llmspell_tools._worker_main import Refused

if TYPE_CHECKING:
    from pypdf import PdfReader

LARGEST_TEXT = 1024 * 1024
"""Characters of text; what is beyond is cut off."""
CUT = "\n… [text truncated]"

Options = Mapping[str, Any]


def text(options: Options) -> dict[str, Any]:
    """The text of the pages asked for, one after the other."""
    with _opened(options) as (reader, _):
        pages, cut = _texts(reader, _wanted(reader, options))
        joined = "\n".join(page["text"] for page in pages)
        return {
            "text": joined + CUT if cut else joined,
            "length": len(joined),
            "page_count": len(reader.pages),
            "truncated": cut,
        }


def pages(options: Options) -> dict[str, Any]:
    """The text of the pages asked for, each by itself."""
    with _opened(options) as (reader, _):
        wanted = _wanted(reader, options)
        found, cut = _texts(reader, wanted)
        joined = "\n".join(page["text"] for page in found)
        return {
            "text": joined + CUT if cut else joined,
            "start_page": wanted[0] if wanted else None,
            "pages": found,
            "page_count": len(reader.pages),
            "truncated": cut,
        }


def metadata(options: Options) -> dict[str, Any]:
    """What is known about the file and what it says of itself."""
    with _opened(options) as (reader, status):
        about: Any = reader.metadata
        name = os.path.basename(options["shown"])
        return {
            "file_size": status.st_size,
            "file_name": name,
            "file_extension": os.path.splitext(name)[1].removeprefix("."),
            "modified": int(status.st_mtime),
            "page_count": len(reader.pages),
            "title": _said(lambda: about.title),
            "author": _said(lambda: about.author),
            "subject": _said(lambda: about.subject),
            "creator": _said(lambda: about.creator),
            "producer": _said(lambda: about.producer),
            "creation_date": _said(lambda: about.creation_date.isoformat()),
            "modification_date": _said(lambda: about.modification_date.isoformat()),
            "encrypted": reader.is_encrypted,
            "pdf_version": reader.pdf_header.removeprefix("%PDF-"),
        }


def _said(read: Callable[[], Any]) -> str | None:
    """What the document says, or None: for nothing, and for a date that is none."""
    try:
        value = read()
    except (AttributeError, ValueError, TypeError):
        return None
    return None if value is None else str(value)[:10_000]


@contextmanager
def _opened(options: Options) -> Generator[tuple[PdfReader, os.stat_result]]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError
    except ImportError:
        raise Refused("MISSING:pypdf") from None
    shown = options["shown"]
    try:
        with open_file(options["path"], os.O_RDONLY) as file:
            status = os.fstat(file.fileno())
            _check(status, shown, options["limit"])
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(options["password"]):
                given = "the password is wrong" if options["password"] else "it needs a password"
                raise Refused(f"PDF text extraction failed: {shown} is encrypted, and {given}")
            yield reader, status
    except FileNotFoundError:
        raise Refused(f"PDF file not found: {shown}") from None
    except DependencyError:
        raise Refused("MISSING:cryptography") from None
    except (Refused, MemoryError, RecursionError):
        raise
    except Exception as error:
        # A damaged file may raise anything: the library trusts what it reads.
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise Refused(f"PDF text extraction failed: {shown}: {reason}") from None


def _check(status: os.stat_result, shown: str, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"PDF text extraction failed: {shown} is no file")
    if status.st_size > limit:
        raise Refused(f"PDF file too large: {shown} has {status.st_size} bytes, at most {limit}")


def _wanted(reader: PdfReader, options: Options) -> list[int]:
    """The numbers of the pages asked for, from 1."""
    count = len(reader.pages)
    most: int | None = options["max_pages"]
    given: Iterable[int] | None = options["pages"]
    if given is None:
        first, last = options["start_page"] or 1, options["end_page"] or count
        if first > max(count, 1) or last < first:
            raise Refused(f"Page {first} to {last} cannot be read: there are {count} pages")
        given = range(first, min(last, count) + 1)
    wanted = list(given)
    for number in wanted:
        if not 1 <= number <= count:
            raise Refused(f"Page {number} cannot be read: there are {count} pages")
    return wanted if most is None else wanted[:most]


def _texts(reader: PdfReader, wanted: list[int]) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    left = LARGEST_TEXT
    for number in wanted:
        content = reader.pages[number - 1].extract_text()
        found.append({"page": number, "text": content[:left]})
        if len(content) > left:
            return found, True
        left -= len(content)
    return found, False
