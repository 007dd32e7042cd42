import asyncio
import codecs
import json
import os
import re
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ExecutionContext,
    LLMSpellError,
    SecurityError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools.filesystem import FileConverter
from llmspell_tools.filesystem._converting import indentation, line_endings


class TestFileConverterKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return FileConverter()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        (allowed / "a.txt").write_text("hello\n")
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {"operation": "detect_encoding", "path": str(allowed / "a.txt")}

    @pytest.fixture
    def refused(self, allowed, secret):
        path = str(allowed / "a.txt")
        return [
            {"operation": "detect_encoding", "path": str(secret / "key.txt")},
            {"operation": "encoding", "path": str(allowed / "none"), "to_encoding": "utf-8"},
            {"operation": "encoding", "path": path, "to_encoding": "rot13"},
            {"operation": "encoding", "path": path},
            {"operation": "line_endings", "path": path, "line_ending": "ff"},
            {"operation": "fly", "path": path},
        ]


@pytest.fixture
def convert(call, allowed):
    async def run(operation, **parameters):
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in parameters.items()}
        return await call("file_converter", operation=operation, **plain)

    return run


@pytest.fixture
def file(allowed):
    def make(content, name="x.txt"):
        path = allowed / name
        path.write_bytes(content)
        return path

    return make


# Encodings -----------------------------------------------------------------------------------

TEXT = "Grüße, Ärger & Co\n"


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("utf8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("utf16le", "utf-16-le"),
        ("utf-16be", "utf-16-be"),
        ("windows1252", "cp1252"),
        ("Windows-1252", "cp1252"),
        ("iso88591", "latin-1"),
        ("ISO-8859-1", "latin-1"),
        ("latin1", "latin-1"),
    ],
)
async def test_every_encoding_is_written_and_read_back(convert, file, allowed, name, python):
    path = file(TEXT.encode())
    there = await convert("encoding", path=path, target_path=allowed / "y", to_encoding=name)
    assert (allowed / "y").read_bytes() == TEXT.encode(python)
    assert there.text == "File conversion completed successfully"
    assert there.value == str(allowed / "y")
    back = await convert(
        "convert_encoding",
        input=allowed / "y",
        target_path=allowed / "z",
        from_encoding=name,
        to_encoding="utf-8",
    )
    assert (allowed / "z").read_bytes() == TEXT.encode()
    assert back.result == {
        "input_path": str(allowed / "y"),
        "output_path": str(allowed / "z"),
        "operation": "encoding",
        "backup_path": None,
        "from_encoding": there.result["to_encoding"],
        "to_encoding": "UTF-8",
    }


async def test_in_place_keeps_a_backup_the_time_stamp_and_the_permissions(convert, file):
    path = file(TEXT.encode("cp1252"))
    path.chmod(0o600)
    os.utime(path, (1_000_000_000, 1_000_000_001))
    made = await convert("encoding", path=path, to_encoding="utf-8", from_encoding="windows1252")
    assert path.read_text(encoding="utf-8") == TEXT
    assert made.result["backup_path"] == f"{path}.backup"
    assert path.with_name("x.txt.backup").read_bytes() == TEXT.encode("cp1252")
    assert path.stat().st_mtime == 1_000_000_001
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
async def test_a_byte_order_mark_says_the_encoding_and_is_removed(convert, file, mark, name):
    path = file(mark + TEXT.encode(name))
    found = await convert("detect_encoding", path=path)
    assert (found.result["has_bom"], found.result["confidence"]) == (True, 1.0)
    await convert("encoding", path=path, to_encoding="utf-8")
    assert path.read_bytes() == TEXT.encode()


async def test_what_is_not_utf8_is_guessed_wherever_it_stands(convert, file):
    words = "Der Bär aß fünf Äpfel über dem Fluß und hörte schöne Töne. " * 30
    path = file(b"plain ascii\n" * 300_000 + words.encode("cp1252"))
    await convert("encoding", path=path, to_encoding="utf8")
    assert path.read_text(encoding="utf-8").endswith(words)


async def test_what_an_encoding_cannot_hold_is_an_error_and_leaves_the_file(convert, file):
    path = file("Preis: 5 €".encode())
    for target, words in (("iso88591", "'€' \\(U\\+20AC\\)"), ("ascii", "does not exist in ASCII")):
        with pytest.raises(ValidationError, match=words):
            await convert("encoding", path=path, to_encoding=target)
    assert path.read_bytes() == "Preis: 5 €".encode()
    path = file(b"caf\xe9 ol\xe9")
    with pytest.raises(ValidationError, match="is not UTF-8: byte 0xe9 near position 3"):
        await convert("encoding", path=path, from_encoding="utf-8", to_encoding="utf16le")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"plain\n", ("ASCII", 1.0, "LF")),
        ("ä\r\nö\r\n".encode(), ("UTF-8", 1.0, "CRLF")),
        (b"a\rb\r", ("ASCII", 1.0, "CR")),
        (b"a\nb\r\n", ("ASCII", 1.0, "Mixed")),
        (b"a\nb\r", ("ASCII", 1.0, "Mixed")),
        (b"", ("ASCII", 1.0, "None")),
        ("wide\n".encode("utf-16-le"), ("UTF-16LE", 0.9, "LF")),
        ("wide\n".encode("utf-16-be"), ("UTF-16BE", 0.9, "LF")),
    ],
)
async def test_encoding_and_line_ends_are_detected(convert, file, content, expected):
    found = await convert("detect", path=file(content))
    name, confidence, ending = expected
    assert found.result == {
        "encoding": name,
        "confidence": confidence,
        "line_ending": ending,
        "has_bom": False,
    }
    assert found.value == name
    assert (await convert("detect", data=content)).result == found.result


async def test_binary_files_are_refused(convert, file):
    path = file(bytes(range(256)) * 10)
    for operation in ("detect_encoding", "indentation"):
        with pytest.raises(ValidationError, match="It is binary"):
            await convert(operation, path=path)


# Line ends and indentation -------------------------------------------------------------------


@pytest.mark.parametrize(("name", "end"), [("lf", "\n"), ("CRLF", "\r\n"), ("cr", "\r")])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-8-sig"])
async def test_all_line_ends_become_the_same(convert, file, name, end, encoding):
    path = file("ä\nb\r\nc\rd\r\n\n".encode(encoding))
    await convert("line_endings", path=path, line_ending=name)
    assert path.read_bytes() == f"ä{end}b{end}c{end}d{end}{end}".encode(encoding)


async def test_tabs_become_spaces_and_spaces_tabs(convert, file):
    path = file(b"\tone\n  \ttwo\tx\n      three\r\n\t \n")
    await convert("indentation", path=path, tab_size=4)
    assert path.read_bytes() == b"    one\n    two\tx\n      three\r\n     \n"
    await convert("indent", path=path, convert_to_spaces=False, tab_size=2)
    assert path.read_bytes() == b"\t\tone\n\t\ttwo\tx\n\t\t\tthree\r\n\t\t \n"


@for_all(st.text(alphabet="\r\n\t ab", max_size=40), st.integers(1, 7))
def test_pieces_of_any_size_give_the_same(text, size):
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    for change in (
        line_endings("\r\n"),
        indentation(4, to_spaces=True),
        indentation(3, to_spaces=False),
    ):
        assert "".join(change(iter(pieces))) == "".join(change(iter([text])))


@for_all(st.text(alphabet="\n\t ab", max_size=40))
def test_indentation_changes_only_the_beginnings_of_lines(text):
    expected = "\n".join(
        re.sub(r"^[ \t]+", lambda found: found.group().expandtabs(4), line)
        for line in text.split("\n")
    )
    assert "".join(indentation(4, to_spaces=True)(iter([text]))) == expected


# Formats -------------------------------------------------------------------------------------

RECORDS = [{"name": "ä", "n": 1, "ok": True}, {"name": "b", "n": 2.5, "ok": False}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", json.dumps(RECORDS)),
        ("x.yaml", "- {name: ä, n: 1, ok: true}\n- {name: b, n: 2.5, ok: no}\n"),
        ("x.csv", "name,n,ok\nä,1,true\nb,2.5,false\n"),
    ],
)
async def test_documents_become_other_documents(convert, file, allowed, name, text):
    path = file(text.encode(), name)
    for target in ("y.json", "y.yml", "y.csv"):
        there = await convert("convert_format", path=path, target_path=allowed / target)
        assert there.result["to_format"] == {"yml": "yaml"}.get(target[2:], target[2:])
        await convert("convert_format", path=allowed / target, target_path=allowed / "z.json")
        assert json.loads((allowed / "z.json").read_text()) == RECORDS


async def test_toml_is_read_and_written(convert, file, allowed):
    path = file(b'title = "x"\nwhen = 2024-01-02\n[a]\nb = [1, 2]\n', "x.toml")
    await convert("convert_format", path=path, target_path=allowed / "y.json")
    document = {"title": "x", "when": "2024-01-02", "a": {"b": [1, 2]}}
    assert json.loads((allowed / "y.json").read_text()) == document
    file(json.dumps({**document, "gone": None}).encode(), "y.json")
    back = {"path": allowed / "y.json", "target_path": allowed / "z", "to_format": "toml"}
    await convert("convert_format", **back)
    import tomllib

    assert tomllib.loads((allowed / "z").read_text()) == document


@pytest.mark.parametrize(
    ("name", "text", "target", "words"),
    [
        ("x.json", "{", "y.yaml", "Invalid JSON"),
        ("x.yaml", "a: [", "y.json", "Invalid YAML"),
        ("x.yaml", "!!python/object/apply:os.system [ls]", "y.json", "Invalid YAML"),
        ("x.toml", "a =", "y.json", "Invalid TOML"),
        ("x.json", "[1]", "y.toml", "TOML is a table"),
        ("x.json", "{}", "y.csv", "CSV is a list"),
        ("x.doc", "", "y.csv", "Invalid from_format: 'doc'"),
        ("x.json", "{}", "y", "Invalid to_format: none is named"),
    ],
)
async def test_documents_that_cannot_be(convert, file, allowed, name, text, target, words):
    path = file(text.encode(), name)
    with pytest.raises(ValidationError, match=words):
        await convert("convert_format", path=path, target_path=allowed / target)
    assert not (allowed / target).exists()


async def test_a_document_that_multiplies_itself_is_stopped(convert, file, allowed):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = file("\n".join(lines).encode(), "x.yaml")
    with pytest.raises(ValidationError, match="larger than 50000000 characters"):
        await convert("convert_format", path=path, target_path=allowed / "y.json")
    file(b"a: &a [*a]", "x.yaml")
    with pytest.raises(ValidationError, match=r"cannot be converted|nested too deeply"):
        await convert("convert_format", path=path, target_path=allowed / "y.json")


async def test_a_missing_package_is_named_with_the_line_that_installs_it(
    convert, file, allowed, monkeypatch
):
    from llmspell_tools._worker import WorkerPool

    async def without(self, job, *arguments):
        raise ValidationError("MISSING:pyyaml")

    monkeypatch.setattr(WorkerPool, "run", without)
    with pytest.raises(ConfigurationError) as caught:
        await convert("convert_format", path=file(b"{}", "x.json"), target_path=allowed / "y.yaml")
    assert caught.value.hint == "pip install 'llmspell-tools[formats]'"


# Rules ---------------------------------------------------------------------------------------


async def test_what_is_missing_or_wrong_is_named(convert, file, allowed):
    path = file(b"x")
    for operation, given, words in (
        ("encoding", {"to_encoding": "klingon"}, "Invalid encoding: 'klingon'"),
        ("encoding", {"to_encoding": "utf-8", "from_encoding": "zlib"}, "Invalid encoding"),
        ("encoding", {}, "Missing required parameter 'to_encoding'"),
        ("line_endings", {"line_ending": "x"}, "Invalid line ending"),
        ("line_endings", {}, "Missing required parameter 'line_ending'"),
        ("fly", {}, "Invalid operation: 'fly'"),
    ):
        with pytest.raises(ValidationError, match=words):
            await convert(operation, path=path, **given)
    with pytest.raises(ValidationError, match="Input file does not exist"):
        await convert("indentation", path=allowed / "none")
    (allowed / "d").mkdir()
    with pytest.raises(LLMSpellError, match="Is a directory"):
        await convert("indentation", path=allowed / "d")


async def test_places_outside_are_refused_on_both_sides(convert, file, secret):
    path = file(b"x")
    for given in (
        {"path": secret / "key.txt", "target_path": path},
        {"path": path, "target_path": secret / "new.txt"},
        {"path": secret / "key.txt"},
        {"path": path, "target_path": str(path.parent) + "/lib.so"},
    ):
        with pytest.raises(SecurityError):
            await convert("indentation", **given)
    with pytest.raises(SecurityError, match="Path validation failed: Path not allowed"):
        await convert("indentation", path=secret / "key.txt")
    assert os.listdir(secret) == ["key.txt"]


async def test_sizes_and_the_default_place_are_configured(make_services, file, allowed):
    section = {"max_file_size": 100, "output_dir": str(allowed / "out")}
    services = make_services(file_converter=section)

    async def run(**parameters):
        return await services.tools.invoke("file_converter", parameters, ExecutionContext(services))

    path = str(file(b"\tx"))
    made = await run(operation="indentation", path=path)
    assert made.value == str(allowed / "out" / "x_indentation.txt")
    assert (allowed / "out" / "x_indentation.txt").read_text() == "    x"
    assert made.result["backup_path"] is None
    file(bytes(101))
    with pytest.raises(ValidationError, match="File too large"):
        await run(operation="indentation", path=path)


def test_operations_say_what_they_may_do(allowed):
    tool = FileConverter()
    path = str(allowed / "x")
    detect = {"operation": "detect_encoding", "path": path}
    in_place = {"operation": "encoding", "path": path, "from_encoding": "latin1"}
    beside = {**in_place, "target_path": str(allowed / "y")}
    assert tool.effect_of(detect) is EffectClass.PURE
    assert tool.effect_of(in_place) is EffectClass.IRREVERSIBLE
    assert tool.effect_of(beside) is EffectClass.IDEMPOTENT
    assert tool.effect_of({"operation": "indentation", "path": path}) is EffectClass.IDEMPOTENT
    (allowed / "x").write_text("")
    assert tool.destructive_of(in_place)
    assert not tool.destructive_of(beside)
    assert not tool.destructive_of(detect)


async def test_a_link_put_in_the_way_while_converting_never_leads_out(convert, allowed, secret):
    folder = allowed / "d"
    folder.mkdir()
    (secret / "x.txt").write_text("secret")
    (folder / "x.txt").write_text("\tpublic")
    done = threading.Event()

    def swap():
        while not done.is_set():
            folder.rename(allowed / "aside")
            folder.symlink_to(secret)
            folder.unlink()
            (allowed / "aside").rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(100):
            try:
                await convert("indentation", path=folder / "x.txt", target_path=folder / "y.txt")
            except LLMSpellError:
                continue
    finally:
        done.set()
        await asyncio.to_thread(thread.join)
    assert sorted(os.listdir(secret)) == ["key.txt", "x.txt"]
    assert not (folder / "y.txt").exists() or "public" in (folder / "y.txt").read_text()
