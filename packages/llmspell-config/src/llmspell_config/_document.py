"""A configuration file: its values, and the line of each key."""

from __future__ import annotations

import os
from typing import Any, cast

from llmspell_core import ConfigurationError

Path = tuple[str, ...]


class Document:
    """The parsed file at *path*.

    Raises:
        ConfigurationError: when it cannot be read or is not TOML (JSON, if it ends so).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = _text(path)
        self.values = _parse(path, self.text)
        self._lines: dict[Path, int] | None = None

    @property
    def name(self) -> str:
        """The path as people know it: relative where that is shorter."""
        relative = os.path.relpath(self.path)
        return self.path if relative.startswith("..") else relative

    def line(self, key: Path) -> int | None:
        """The line on which *key* is written, or the nearest table around it."""
        if self._lines is None:
            self._lines = {} if self.path.endswith(".json") else lines_of(self.text)
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[:-1]
        return None

    def where(self, key: Path) -> str:
        """``llmspell.toml, line 3``."""
        line = self.line(key)
        return self.name if line is None else f"{self.name}, line {line}"


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise ConfigurationError(
            f"Failed to read configuration file {path}: {error.strerror or error}", source=error
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"Failed to read configuration file {path}: not UTF-8 text "
            f"(byte 0x{raw[error.start]:02x}, line {line})",
            hint="Save it as UTF-8.",
        ) from error


def _parse(path: str, text: str) -> dict[str, Any]:
    if path.endswith(".json"):
        import json

        try:
            values = json.loads(text or "{}")
        except ValueError as error:
            raise ConfigurationError(f"JSON parsing error: {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"JSON parsing error: {path}: expected an object")
        return cast("dict[str, Any]", values)
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"TOML parsing error: {path}: {error}") from error


def lines_of(text: str) -> dict[Path, int]:
    """The line of every table and key of a valid TOML *text*; tables in arrays share theirs."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks over valid TOML; tomllib gives no positions, and nothing else is needed of them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        text = self._text
        while self._at < len(text):
            self._blank(newlines=True)
            if self._at >= len(text):
                break
            if text[self._at] == "[":
                while text[self._at] == "[":
                    self._at += 1
                table = self._key()
                self._note(table)
                self._to_line_end()
            else:
                self._pair(table)
        return self._found

    def _note(self, key: Path) -> None:
        self._found.setdefault(key, self._text.count("\n", 0, self._at) + 1)

    def _blank(self, *, newlines: bool) -> None:
        text = self._text
        while self._at < len(text):
            here = text[self._at]
            if here == "#":
                self._to_line_end()
            elif here in " \t\r" or (newlines and here == "\n"):
                self._at += 1
            else:
                return

    def _to_line_end(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _key(self) -> Path:
        parts: list[str] = []
        text = self._text
        while True:
            self._blank(newlines=False)
            if text[self._at] in "\"'":
                parts.append(self._string())
            else:
                start = self._at
                while text[self._at] not in " \t.=]\r\n":
                    self._at += 1
                parts.append(text[start : self._at])
            self._blank(newlines=False)
            if text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _string(self) -> str:
        """Step over a string of any of the four kinds; its text, roughly unescaped."""
        text, quote = self._text, self._text[self._at]
        mark = quote * 3 if text.startswith(quote * 3, self._at) else quote
        start = self._at = self._at + len(mark)
        while not text.startswith(mark, self._at):
            self._at += 2 if quote == '"' and text[self._at] == "\\" else 1
        found = text[start : self._at]
        # Up to two quotes may stand before the closing three.
        self._at += len(mark)
        while len(mark) == 3 and text.startswith(quote, self._at):
            self._at += 1
        return found.replace('\\"', '"')

    def _pair(self, table: Path) -> None:
        start = self._at
        key = (*table, *self._key())
        end, self._at = self._at, start
        for length in range(len(table) + 1, len(key) + 1):
            self._note(key[:length])
        self._at = self._text.index("=", end) + 1
        self._value(key)

    def _value(self, key: Path) -> None:
        self._blank(newlines=True)
        here = self._text[self._at]
        if here in "\"'":
            self._string()
        elif here == "[":
            self._at += 1
            self._array(key)
        elif here == "{":
            self._at += 1
            self._inline(key)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _array(self, key: Path) -> None:
        while True:
            self._blank(newlines=True)
            if self._text[self._at] == "]":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
            else:
                self._value(key)

    def _inline(self, key: Path) -> None:
        while True:
            self._blank(newlines=True)
            if self._text[self._at] == "}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
            else:
                self._pair(key)
