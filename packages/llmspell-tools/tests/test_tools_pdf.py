import io
import os
import re
import zlib

import pytest

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    SecurityError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools._worker import WorkerPool
from llmspell_tools.data import PdfProcessor

pypdf = pytest.importorskip("pypdf", reason="llmspell-tools[pdf] is missing")


def document(objects, root=1, trailer=b""):
    """A PDF of numbered objects (ISO 32000-1, 7.5), written by hand."""
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    size = len(objects) + 1
    out.write(b"trailer\n<< /Size %d /Root %d 0 R %s >>\n" % (size, root, trailer))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def stream(content, extra=b""):
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), extra, content)


def pdf(*pages, info=b"", packed=False):
    """Pages of text, one line each."""
    objects = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        content = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET" % text.encode("latin-1")
        extra = b"/Filter /FlateDecode" if packed else b""
        objects.append(stream(zlib.compress(content) if packed else content, extra))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (listed, len(kids))
    trailer = b""
    if info:
        objects.append(info)
        trailer = b"/Info %d 0 R" % len(objects)
    return document(objects, trailer=trailer)


INFO = (
    b"<< /Title (On Cats) /Author (Ada) /Subject (Felines) /Creator (hand) /Producer (tests) "
    b"/CreationDate (D:20240102030405Z) /ModDate (nonsense) >>"
)


class TestPdfProcessorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        tool = PdfProcessor()
        yield tool
        tool.close()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        (allowed / "x.pdf").write_bytes(pdf("hello"))
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {"operation": "extract_text", "input": str(allowed / "x.pdf")}

    @pytest.fixture
    def refused(self, allowed, secret):
        return [
            {"operation": "extract_text", "input": str(secret / "key.txt")},
            {"operation": "extract_text", "input": str(allowed / "none.pdf")},
            {"operation": "extract_pages", "input": str(allowed / "x.pdf"), "pages": [2]},
            {"operation": "extract_text"},
            {"operation": "fly", "input": str(allowed / "x.pdf")},
        ]


@pytest.fixture
def read(call, allowed):
    async def run(operation, content=None, /, **parameters):
        path = str(allowed / "x.pdf")
        if content is not None:
            (allowed / "x.pdf").write_bytes(content)
        return await call("pdf-processor", **{"operation": operation, "input": path, **parameters})

    return run


@pytest.mark.parametrize("packed", [False, True])
async def test_text_is_taken_out(read, allowed, packed):
    found = await read("extract_text", pdf("Hello", "zwei äöü", packed=packed))
    assert found.value == "Hello\nzwei äöü"
    assert found.operation == "pdf_processor_execute"
    inner = {
        "text": "Hello\nzwei äöü",
        "file_path": str(allowed / "x.pdf"),
        "length": 14,
        "page_count": 2,
        "truncated": False,
    }
    assert found.result["result"] == inner
    assert {key: found.result[key] for key in inner} == inner
    assert found.result["metadata"] == {"tool": "pdf-processor", "operation": "extract_text"}
    assert found.result["operation"] == "extract_text"


@pytest.mark.parametrize("name", ["path", "file_path", "file", "input"])
async def test_the_path_has_other_names(call, allowed, name):
    (allowed / "x.pdf").write_bytes(pdf("hello"))
    assert (await call("pdf_processor", **{name: str(allowed / "x.pdf")})).value == "hello"


async def test_pages_are_chosen(read):
    five = pdf(*"abcde")
    found = await read("extract_pages", five, start_page=2, end_page=3)
    assert found.result["pages"] == [{"page": 2, "text": "b"}, {"page": 3, "text": "c"}]
    assert (found.result["start_page"], found.value) == (2, "b\nc")
    assert found.result["page_count"] == 5
    assert (await read("extract_pages")).value == "a\nb\nc\nd\ne"
    assert (await read("extract_pages", start_page=4, end_page=99)).value == "d\ne"
    assert (await read("extract_text", pages=[5, 1])).value == "e\na"
    for given in ({"start_page": 6}, {"start_page": 3, "end_page": 2}, {"pages": [0]}):
        with pytest.raises(ValidationError, match="there are 5 pages"):
            await read("extract_pages", **given)
    for given in ({"start_page": 0}, {"end_page": -1}, {"pages": ["a"]}):
        with pytest.raises(ValidationError, match="Invalid"):
            await read("extract_pages", **given)


async def test_metadata_is_that_of_the_file_and_of_the_document(read, allowed):
    content = pdf("a", "b", info=INFO)
    found = await read("extract_metadata", content)
    assert found.result["result"] == {"file_path": str(allowed / "x.pdf"), **found.value}
    assert found.value == {
        "file_size": len(content),
        "file_name": "x.pdf",
        "file_extension": "pdf",
        "modified": int((allowed / "x.pdf").stat().st_mtime),
        "page_count": 2,
        "title": "On Cats",
        "author": "Ada",
        "subject": "Felines",
        "creator": "hand",
        "producer": "tests",
        "creation_date": "2024-01-02T03:04:05+00:00",
        "modification_date": None,
        "encrypted": False,
        "pdf_version": "1.4",
    }
    silent = (await read("extract_metadata", pdf("a"))).value
    assert (silent["title"], silent["author"], silent["creation_date"]) == (None, None, None)


async def test_an_encrypted_file_needs_its_password(read, allowed):
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("hidden")))
    writer.encrypt("open sesame", algorithm="RC4-128")
    writer.write(allowed / "x.pdf")
    for given, words in (({}, "needs a password"), ({"password": "no"}, "password is wrong")):
        with pytest.raises(ValidationError, match=words):
            await read("extract_text", **given)
    found = await read("extract_text", password="open sesame")
    assert found.value == "hidden"
    about = await read("extract_metadata", password="open sesame")
    assert about.value["encrypted"] is True


async def test_long_texts_are_cut(read):
    content = pdf(*["x" * 30_000] * 40)
    for operation in ("extract_text", "extract_pages"):
        found = await read(operation, content)
        assert found.result["truncated"] is True
        assert found.value.endswith("[text truncated]")
        assert 1024**2 <= len(found.value) <= 1024**2 + 100


async def test_limits_are_configured(make_services, allowed):
    (allowed / "x.pdf").write_bytes(pdf(*"abc"))
    services = make_services(document={"max_pages": 2})
    given = {"input": str(allowed / "x.pdf")}
    found = await services.tools.invoke("pdf-processor", given, ExecutionContext(services))
    assert found.value == "a\nb"
    services = make_services(document={"max_pdf_size": 100})
    with pytest.raises(ValidationError, match="PDF file too large"):
        await services.tools.invoke("pdf-processor", given, ExecutionContext(services))


async def test_places_outside_and_links_are_refused(call, allowed, secret):
    (secret / "x.pdf").write_bytes(pdf("secret"))
    (allowed / "link.pdf").symlink_to(secret / "x.pdf")
    for path in (secret / "x.pdf", allowed / "link.pdf"):
        with pytest.raises(SecurityError):
            await call("pdf-processor", path=str(path))
    with pytest.raises(ValidationError, match=r"PDF file not found: .*none\.pdf"):
        await call("pdf-processor", path=str(allowed / "none.pdf"))
    os.mkfifo(allowed / "pipe.pdf")
    with pytest.raises(LLMSpellError):
        await call("pdf-processor", path=str(allowed / "pipe.pdf"))


# Attacks -------------------------------------------------------------------------------------

GOOD = pdf("Hello", "World", packed=True)
CYCLE = document(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>",
    ]
)
DEEP = document(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [] /Count 0 /X " + b"[" * 50_000 + b"]" * 50_000 + b" >>",
    ]
)
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 3 0 R "
    b"/Resources << /Font << /F1 5 0 R >> >> >>"
)
BOMB = document(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        stream(
            zlib.compress(zlib.compress(bytes(2_000_000_00), 9), 9),
            b"/Filter [/FlateDecode /FlateDecode]",
        ),
        PAGE,
        FONT,
    ]
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pdf at all",
        b"%PDF-1.4\n",
        GOOD[: len(GOOD) // 2],
        GOOD.replace(b"startxref", b"startxxxx").replace(b"/Root", b"/Loot"),
        CYCLE,
        DEEP,
        BOMB,
    ],
    ids=["empty", "text", "header", "half", "rootless", "cycle", "deep", "bomb"],
)
async def test_damaged_and_hostile_files_fail_with_their_reason(read, content):
    with pytest.raises(LLMSpellError) as caught:
        await read("extract_text", content)
    assert "failed" in caught.value.message or "nested" in caught.value.message
    assert len(caught.value.message) < 500


async def test_a_file_that_takes_too_long_is_given_up(services, context, allowed, monkeypatch):
    heavy = b"BT /F1 12 Tf " + b"(x) Tj 1 1 Td " * 1_000_000 + b"ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        stream(zlib.compress(heavy), b"/Filter /FlateDecode"),
        PAGE,
        FONT,
    ]
    (allowed / "x.pdf").write_bytes(document(objects))
    killed = []
    from llmspell_tools import _worker

    kill = _worker._Worker.kill
    monkeypatch.setattr(_worker._Worker, "kill", lambda self: killed.append(kill(self)))
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke(
            "pdf-processor", {"path": str(allowed / "x.pdf")}, context, timeout_seconds=1.0
        )
    assert killed


@pytest.mark.parametrize("package", ["pypdf", "cryptography"])
async def test_a_missing_package_is_named_with_the_line_that_installs_it(
    read, monkeypatch, package
):
    async def without(self, job, *arguments):
        raise ValidationError(f"MISSING:{package}")

    monkeypatch.setattr(WorkerPool, "run", without)
    with pytest.raises(ConfigurationError, match=package) as caught:
        await read("extract_text", GOOD)
    assert re.match("pip install .*pdf", caught.value.hint)


def test_reading_changes_nothing_and_the_password_is_kept_secret():
    tool = PdfProcessor()
    for operation in PdfProcessor.operations:
        assert tool.effect_of({"operation": operation}) is EffectClass.PURE
    assert tool.schema.sensitive == {"password"}
