import asyncio
import gzip
import io
import os
import stat
import struct
import subprocess
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import pytest

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    ResourceLimitError,
    SecurityError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools.filesystem import ArchiveHandler
from llmspell_tools.filesystem import _archive_extracting as extracting

FORMATS = ("zip", "tar", "tar.gz", "tgz")


class TestArchiveHandlerKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return ArchiveHandler()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        (allowed / "a.txt").write_text("hello")
        with zipfile.ZipFile(allowed / "a.zip", "w") as archive:
            archive.writestr("a.txt", "hello")
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {"operation": "list", "path": str(allowed / "a.zip")}

    @pytest.fixture
    def refused(self, allowed, secret):
        return [
            {"operation": "list", "path": str(secret / "a.zip")},
            {"operation": "create", "path": str(allowed / "b.zip"), "input": str(secret)},
            {"operation": "extract", "path": str(allowed / "a.zip"), "target_path": str(secret)},
            {"operation": "extract", "path": str(allowed / "a.zip")},
            {"operation": "fly"},
        ]


@pytest.fixture
def archives(call):
    async def run(operation, **parameters):
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in parameters.items()}
        return await call("archive_handler", operation=operation, **plain)

    return run


@pytest.fixture
def tree(allowed):
    root = allowed / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "one.txt").write_text("one\n" * 100)
    (root / "sub" / "zwei ä.txt").write_bytes(b"\x00\xff" * 50)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def tar_of(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar(*arguments):
    subprocess.run(["tar", *arguments], check=True)


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


# Making, listing, unpacking ------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
async def test_what_was_packed_comes_out_again(archives, allowed, tree, form):
    archive = allowed / "new" / f"x.{form}"
    made = await archives("create", path=archive, input=[str(tree)])
    size = sum(map(len, contents(tree).values()))
    assert made.text == f"Created archive with 3 files ({size} bytes)"
    assert made.value == str(archive)
    assert made.result == {
        "archive_path": str(archive),
        "archived_files": ["tree/one.txt", "tree/run.sh", "tree/sub/zwei ä.txt"],
        "total_size": size,
        "compression_level": 6,
        "skipped": [],
    }
    listed = await archives("list", path=archive)
    kind = {"tgz": "TAR.GZ"}.get(form, form.upper())
    assert listed.text == f"Listed 3 files in {kind} archive"
    assert listed.result["format"] == kind
    assert listed.result["file_count"] == 3
    first = listed.value[0]
    assert (first["name"], first["size"], first["is_dir"]) == ("tree/one.txt", 400, False)
    assert first["compressed_size"] == {"zip": first["compressed_size"], "tar": 400}.get(form)
    out = await archives("extract", path=archive, target_path=allowed / "out")
    assert out.text == f"Extracted 3 files ({size} bytes) to {allowed / 'out'}"
    assert out.value == made.result["archived_files"]
    assert out.result == {
        "extracted_files": made.result["archived_files"],
        "total_size": size,
        "output_dir": str(allowed / "out"),
        "skipped": [],
    }
    assert contents(allowed / "out" / "tree") == contents(tree)
    assert sorted(os.listdir(allowed / "out")) == ["tree"]
    mode = stat.S_IMODE((allowed / "out" / "tree" / "run.sh").stat().st_mode)
    assert mode == 0o755
    assert (allowed / "out/tree/one.txt").stat().st_mtime == pytest.approx(
        (tree / "one.txt").stat().st_mtime, abs=2
    )


async def test_other_programs_read_our_archives_and_we_read_theirs(archives, allowed, tree):
    await archives("create", path=allowed / "ours.tar.gz", input=[str(tree)])
    await archives("create", path=allowed / "ours.zip", input=[str(tree)])
    out = allowed / "out"
    out.mkdir()
    tar("xzf", allowed / "ours.tar.gz", "-C", out)
    assert contents(out / "tree") == contents(tree)
    with zipfile.ZipFile(allowed / "ours.zip") as archive:
        assert archive.testzip() is None
    os.link(tree / "one.txt", tree / "twin.txt")
    tar("czf", allowed / "theirs.tgz", "-C", allowed, "tree")
    await archives("extract", path=allowed / "theirs.tgz", target_path=allowed / "back")
    assert contents(allowed / "back" / "tree") == contents(tree)
    assert (allowed / "back/tree/sub/empty").is_dir()
    assert (allowed / "back/tree/twin.txt").stat().st_nlink == 1


async def test_gz_holds_one_file(archives, allowed, tree):
    made = await archives("create", path=allowed / "one.txt.gz", input=tree / "one.txt")
    assert made.result["archived_files"] == ["one.txt"]
    assert gzip.decompress((allowed / "one.txt.gz").read_bytes()) == b"one\n" * 100
    listed = await archives("list", path=allowed / "one.txt.gz")
    assert listed.result["files"] == [
        {
            "name": "one.txt",
            "size": 400,
            "compressed_size": (allowed / "one.txt.gz").stat().st_size,
            "is_dir": False,
        }
    ]
    out = await archives("extract", path=allowed / "one.txt.gz", target_path=allowed / "out")
    assert contents(allowed / "out") == {"one.txt": b"one\n" * 100}
    assert out.result["total_size"] == 400
    with pytest.raises(ValidationError, match="GZ format can only compress a single file"):
        await archives("create", path=allowed / "two.gz", input=tree)
    assert not (allowed / "two.gz").exists()


async def test_parameters_have_other_names(archives, allowed, tree):
    one = str(tree / "one.txt")
    for number, parameters in enumerate(
        (
            {"archive_path": "A", "files": [one]},
            {"output_path": "A", "sources": [one]},
            {"target_path": "A", "source_path": one},
        )
    ):
        archive = str(allowed / f"{number}.zip")
        named = {k: archive if v == "A" else v for k, v in parameters.items()}
        made = await archives("Create", **named)
        assert made.result["archive_path"] == archive
        for alias in ("output_path", "destination"):
            await archives("unpack", archive_path=archive, **{alias: allowed / f"{number}{alias}"})
            assert contents(allowed / f"{number}{alias}") == {"one.txt": b"one\n" * 100}


async def test_entries_may_be_named_and_names_must_differ(archives, allowed, tree):
    both = [
        {"path": str(tree / "one.txt"), "archive_path": "docs/first.txt"},
        str(tree / "sub" / "zwei ä.txt"),
    ]
    made = await archives("create", path=allowed / "x.zip", input=both)
    assert made.result["archived_files"] == ["docs/first.txt", "zwei ä.txt"]
    with pytest.raises(ValidationError, match=r"would both be 'one\.txt'"):
        await archives("create", path=allowed / "y.zip", input=[str(tree / "one.txt")] * 2)
    evil = [{"path": str(tree / "one.txt"), "archive_path": "../evil"}]
    with pytest.raises(SecurityError, match="Path traversal detected"):
        await archives("create", path=allowed / "y.zip", input=evil)
    assert not (allowed / "y.zip").exists()


async def test_files_are_chosen_by_patterns(archives, allowed, tree):
    made = await archives(
        "create",
        path=allowed / "x.zip",
        input=tree,
        include_patterns=["*.txt"],
        exclude_patterns="sub/*",
    )
    assert made.result["archived_files"] == ["tree/one.txt"]
    await archives("create", path=allowed / "x.zip", input=tree)
    out = await archives(
        "extract", path=allowed / "x.zip", target_path=allowed / "o", include_patterns="*.sh, zwei*"
    )
    assert out.value == ["tree/run.sh", "tree/sub/zwei ä.txt"]
    assert sorted(contents(allowed / "o")) == out.value
    with pytest.raises(ValidationError, match="Invalid glob pattern"):
        await archives("create", path=allowed / "x.zip", input=tree, include_patterns=["x" * 501])


async def test_the_level_decides_how_small_it_gets_and_the_format_may_be_said(
    archives, allowed, tree
):
    (tree / "big.txt").write_text("".join(str(i) for i in range(50_000)))
    sizes = []
    for level in (0, 9):
        await archives(
            "create", path=allowed / "x.bin", format="zip", input=tree, compression_level=level
        )
        sizes.append((allowed / "x.bin").stat().st_size)
    assert sizes[0] > sizes[1] * 1.5
    assert (await archives("list", path=allowed / "x.bin", format="ZIP")).result["file_count"] == 4


async def test_an_archive_in_the_directory_it_is_made_of_does_not_hold_itself(archives, tree):
    for _ in range(2):
        made = await archives("create", path=tree / "all.zip", input=tree)
    assert "tree/all.zip" in made.result["archived_files"]  # the one of the first round
    assert len(made.result["archived_files"]) == 4
    assert sorted(os.listdir(tree)) == ["all.zip", "one.txt", "run.sh", "sub"]


async def test_what_cannot_be_read_as_an_archive_is_refused_with_its_reason(
    archives, allowed, tree
):
    (allowed / "x.zip").write_text("no archive at all")
    (allowed / "x.tar").write_text("no archive at all")
    (allowed / "x.tar.gz").write_text("no archive at all")
    (allowed / "x.gz").write_text("no archive at all")
    (allowed / "x.rar").write_text("")
    (allowed / "x").write_text("")
    for name, words in (
        ("x.zip", "Invalid ZIP archive"),
        ("x.tar", "Failed to open archive"),
        ("x.tar.gz", "Failed to open archive"),
        ("x.gz", "Failed to open archive"),
        ("x.rar", "Unsupported archive format"),
        ("x", "Cannot determine archive format"),
    ):
        with pytest.raises(ValidationError, match=words):
            await archives("list", path=allowed / name)
        with pytest.raises(ValidationError, match=words):
            await archives("extract", path=allowed / name, target_path=allowed / "out")
    for operation, missing in (("list", "path"), ("extract", "path"), ("create", "input")):
        given = {"path": allowed / "y.zip"} if operation == "create" else {}
        with pytest.raises(ValidationError, match=f"Missing '{missing}' parameter"):
            await archives(operation, **given)
    with pytest.raises(ValidationError, match="Missing 'target_path' parameter"):
        await archives("extract", path=allowed / "x.zip")
    with pytest.raises(ValidationError, match="Missing 'input' parameter"):
        await archives("create", path=allowed / "y.zip", input=[])
    with pytest.raises(LLMSpellError, match="Failed to access path"):
        await archives("create", path=allowed / "y.zip", input=[str(allowed / "none")])
    assert not (allowed / "out").exists()
    assert not (allowed / "y.zip").exists()


@pytest.mark.parametrize("form", FORMATS)
async def test_a_truncated_archive_leaves_nothing(archives, allowed, tree, form):
    (tree / "noise").write_bytes(os.urandom(200_000))
    path = allowed / f"x.{form}"
    await archives("create", path=path, input=tree)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 30_000):
        path.write_bytes(whole[:size])
        with pytest.raises((ValidationError, LLMSpellError)):
            await archives("extract", path=path, target_path=allowed / "out")
        assert not (allowed / "out").exists() or os.listdir(allowed / "out") == []


async def test_a_damaged_member_leaves_the_target_as_it_was(archives, allowed):
    path = allowed / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "first")
        archive.writestr("b.txt", "second" * 50)
    path.write_bytes(path.read_bytes().replace(b"secondsecond", b"secondSECOND", 1))
    out = allowed / "out"
    out.mkdir()
    (out / "a.txt").write_text("old")
    with pytest.raises(ValidationError, match="Invalid ZIP archive"):
        await archives("extract", path=path, target_path=out)
    assert contents(out) == {"a.txt": b"old"}
    assert os.listdir(out) == ["a.txt"]


async def test_unpacking_replaces_files_and_not_directories(archives, allowed):
    path = tar_of(allowed / "x.tar", ("a", b"new"), ("d/b", b"new"))
    out = allowed / "out"
    (out / "d").mkdir(parents=True)
    (out / "a").write_text("old")
    (out / "keep").write_text("keep")
    await archives("extract", path=path, target_path=out)
    assert contents(out) == {"a": b"new", "d/b": b"new", "keep": b"keep"}
    (out / "a").unlink()
    (out / "a").mkdir()
    with pytest.raises(LLMSpellError, match="directory stands where"):
        await archives("extract", path=path, target_path=out)


def test_operations_say_what_they_may_do(allowed):
    tool = ArchiveHandler()
    (allowed / "x.zip").write_text("")
    create = {"operation": "create", "path": str(allowed / "x.zip")}
    extract = {"operation": "extract", "target_path": str(allowed)}
    assert tool.effect_of({"operation": "list"}) is EffectClass.PURE
    assert tool.effect_of(create) is tool.effect_of(extract) is EffectClass.IDEMPOTENT
    assert tool.destructive_of(create)
    assert tool.destructive_of(extract)
    assert not tool.destructive_of({**create, "path": str(allowed / "y.zip")})
    assert not tool.destructive_of({**extract, "target_path": str(allowed / "new")})
    assert not tool.destructive_of({"operation": "list", "path": str(allowed / "x.zip")})


# Attacks -------------------------------------------------------------------------------------

ESCAPES = (
    "../evil",
    "a/../../evil",
    "/evil",
    "//evil",
    "..\\evil",
    "a\\..\\..\\evil",
    "C:\\evil",
    "c:/evil",
    "..",
    "a/..",
)


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
async def test_a_member_that_leads_out_stops_everything(archives, allowed, form, name):
    path = allowed / f"x.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.txt", "good")
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, "evil")
    else:
        tar_of(path, ("good.txt", b"good"), (name, b"evil"), mode="w:gz" if "gz" in form else "w")
    with pytest.raises(SecurityError, match="Path traversal detected"):
        await archives("extract", path=path, target_path=allowed / "deep" / "out")
    assert contents(allowed) == {f"x.{form}": path.read_bytes()}
    listed = await archives("list", path=path)
    assert listed.result["file_count"] == 2


async def test_links_and_devices_are_left_out(archives, allowed, secret):
    path = tar_of(
        allowed / "x.tar",
        entry("link", tarfile.SYMTYPE, str(secret)),
        ("link/planted.txt", b"evil"),
        entry("hard", tarfile.LNKTYPE, "../../secret/key.txt"),
        entry("absolute", tarfile.LNKTYPE, str(secret / "key.txt")),
        entry("device", tarfile.CHRTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        ("good.txt", b"good"),
    )
    with pytest.raises(SecurityError, match="Path traversal"):
        await archives("extract", path=path, target_path=allowed / "out")
    tar_of(
        path,
        entry("link", tarfile.SYMTYPE, str(secret)),
        ("link/planted.txt", b"evil"),
        entry("hard", tarfile.LNKTYPE, "nowhere"),
        entry("device", tarfile.CHRTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        ("good.txt", b"good"),
        entry("again.txt", tarfile.LNKTYPE, "good.txt"),
    )
    out = await archives("extract", path=path, target_path=allowed / "out")
    assert contents(allowed / "out") == {
        "link/planted.txt": b"evil",
        "good.txt": b"good",
        "again.txt": b"good",
    }
    assert not (allowed / "out" / "link").is_symlink()
    assert os.listdir(secret) == ["key.txt"]
    assert out.result["skipped"] == [
        {"name": "link", "reason": "symbolic link"},
        {"name": "hard", "reason": "link to something that was not unpacked"},
        {"name": "device", "reason": "neither file nor directory"},
        {"name": "pipe", "reason": "neither file nor directory"},
    ]


async def test_a_symbolic_link_in_a_zip_is_left_out(archives, allowed, secret):
    with zipfile.ZipFile(allowed / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(secret))
        archive.writestr("link/planted.txt", "evil")
    out = await archives("extract", path=allowed / "x.zip", target_path=allowed / "out")
    assert out.result["skipped"] == [{"name": "link", "reason": "symbolic link"}]
    assert os.listdir(secret) == ["key.txt"]


async def test_links_that_wait_in_the_target_are_not_followed(archives, allowed, secret):
    path = tar_of(allowed / "x.tar", ("d/key.txt", b"evil"), ("e", b"evil"))
    out = allowed / "out"
    out.mkdir()
    (out / "d").symlink_to(secret)
    with pytest.raises(SecurityError, match="Path not allowed"):
        await archives("extract", path=path, target_path=out)
    (out / "d").unlink()
    (out / "e").symlink_to(secret / "key.txt")
    with pytest.raises(SecurityError, match="Path not allowed"):
        await archives("extract", path=path, target_path=out)
    assert (secret / "key.txt").read_text() == "secret"


async def test_links_in_a_directory_are_not_packed(archives, allowed, secret, tree):
    (tree / "link.txt").symlink_to(secret / "key.txt")
    (tree / "folder").symlink_to(secret)
    os.mkfifo(tree / "pipe")
    made = await archives("create", path=allowed / "x.zip", input=tree)
    assert len(made.result["archived_files"]) == 3
    assert made.result["skipped"] == [
        {"name": "tree/folder", "reason": "symbolic link"},
        {"name": "tree/link.txt", "reason": "symbolic link"},
        {"name": "tree/pipe", "reason": "neither file nor directory"},
    ]


async def test_the_data_of_llmspell_is_not_packed(make_services, allowed):
    services = make_services(file_operations={"allowed_paths": [str(allowed.parent)]})
    home = allowed.parent / "home"
    home.mkdir()
    for name in ("state.db", "notes.txt"):
        (home / name).write_text("x")
    made = await services.tools.invoke(
        "archive_handler",
        {"operation": "create", "path": str(allowed / "x.zip"), "input": str(home)},
        ExecutionContext(services),
    )
    assert made.result["archived_files"] == ["home/notes.txt"]
    assert made.result["skipped"] == [{"name": "home/state.db", "reason": "not allowed"}]


async def test_programs_and_blocked_extensions_stay_inside(archives, allowed, tree):
    with zipfile.ZipFile(allowed / "x.zip", "w") as archive:
        archive.writestr("virus.EXE", "MZ")
        archive.writestr("photo.jpg", b"\x7fELF" + bytes(100))
        archive.writestr("ok.txt", "fine")
    out = await archives("extract", path=allowed / "x.zip", target_path=allowed / "out")
    assert contents(allowed / "out") == {"ok.txt": b"fine"}
    assert out.result["skipped"] == [
        {"name": "virus.EXE", "reason": "extension not allowed"},
        {"name": "photo.jpg", "reason": "a program"},
    ]
    (tree / "lib.so").write_text("")
    made = await archives("create", path=allowed / "y.zip", input=tree)
    assert made.result["skipped"] == [{"name": "tree/lib.so", "reason": "extension not allowed"}]


@pytest.mark.parametrize("form", ["zip", "tar.gz", "gz"])
async def test_a_bomb_is_stopped_by_its_ratio(archives, allowed, form):
    path = allowed / f"x.{form}"
    zeros = bytes(30_000_000)
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb", zeros)
    elif form == "gz":
        path.write_bytes(gzip.compress(zeros))
    else:
        tar_of(path, ("bomb", zeros), mode="w:gz")
    with pytest.raises(ResourceLimitError, match="compression ratio"):
        await archives("extract", path=path, target_path=allowed / "out")
    assert not (allowed / "out").exists() or os.listdir(allowed / "out") == []


async def test_blanks_that_are_no_bomb_come_out(archives, allowed):
    tar_of(allowed / "x.tar.gz", ("blank", bytes(900_000)), mode="w:gz")
    out = await archives("extract", path=allowed / "x.tar.gz", target_path=allowed / "out")
    assert out.result["total_size"] == 900_000


@pytest.mark.parametrize("form", FORMATS)
async def test_sizes_and_numbers_are_bounded(make_services, allowed, form):
    services = make_services(
        archive_handler={"max_files": 5, "max_total_size": 5000, "max_file_size": 2000}
    )

    async def run(operation, **parameters):
        return await services.tools.invoke(
            "archive_handler", {"operation": operation, **parameters}, ExecutionContext(services)
        )

    def pack(*sizes):
        path = allowed / f"x.{form}"
        if form == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for number, size in enumerate(sizes):
                    archive.writestr(str(number), os.urandom(size))
        else:
            files = [(str(n), os.urandom(size)) for n, size in enumerate(sizes)]
            tar_of(path, *files, mode="w" if form == "tar" else "w:gz")
        return {"path": str(path), "target_path": str(allowed / "out")}

    out = await run("extract", **pack(10, 2001, 2000))
    assert out.value == ["0", "2"]
    assert out.result["skipped"] == [{"name": "1", "reason": "larger than 2000 bytes"}]
    with pytest.raises(ResourceLimitError, match="archive files limit of 5 exceeded"):
        await run("extract", **pack(1, 1, 1, 1, 1, 1))
    with pytest.raises(ResourceLimitError, match="archive content limit of 5000 exceeded"):
        await run("extract", **pack(30_000))
    many = allowed / "many"
    many.mkdir()
    for number in range(6):
        (many / str(number)).write_bytes(bytes(900))
    with pytest.raises(ResourceLimitError, match="archive files limit"):
        await run("create", path=str(allowed / f"y.{form}"), input=str(many))
    for number in range(3):
        (many / str(number)).write_bytes(bytes(1900))
    with pytest.raises(ResourceLimitError, match="archive content limit"):
        await run("create", path=str(allowed / f"y.{form}"), input=str(many))
    (many / "5").unlink()
    (many / "0").write_bytes(bytes(2001))
    (many / "1").write_bytes(bytes(100))
    made = await run("create", path=str(allowed / f"y.{form}"), input=str(many))
    assert made.result["skipped"] == [{"name": "many/0", "reason": "larger than 2000 bytes"}]


def tar_header(name, size, kind):
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
async def test_a_header_of_absurd_size_takes_no_memory(archives, allowed, kind):
    path = allowed / "x.tar"
    path.write_bytes(tar_header("x", 6 * 1024**3, kind) + bytes(4096))
    with pytest.raises(ValidationError, match="absurd size"):
        await archives("list", path=path)


async def test_many_headers_before_a_member_take_no_memory(archives, allowed):
    path = allowed / "x.tar"
    path.write_bytes(
        (tar_header("x", 512, tarfile.XGLTYPE) + b"13 a=123456\n".ljust(512, b"\0")) * 9000
    )
    with pytest.raises(ValidationError):
        await archives("list", path=path)


async def test_a_sparse_file_is_not_blown_up(archives, allowed):
    with (allowed / "holes").open("wb") as file:
        file.truncate(3 * 1024**3)
    tar("-cSf", allowed / "x.tar", "-C", allowed, "holes")
    out = await archives("extract", path=allowed / "x.tar", target_path=allowed / "out")
    assert out.value == []
    assert out.result["skipped"] == [{"name": "holes", "reason": "neither file nor directory"}]


async def test_a_zip_that_lists_one_content_many_times_is_a_bomb(archives, allowed):
    # Its files overlap: each entry of the directory points at the same compressed bytes.
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(2_000_000)) + packer.flush()
    crc = zlib.crc32(bytes(2_000_000))
    sizes = (crc, len(packed), 2_000_000)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 1, 0) + b"a" + packed
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, 4, 0, 0, 0, 0, 0, 0)
        + b"%04d" % number
        for number in range(500)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(directory), len(local), 0)
    (allowed / "x.zip").write_bytes(local + directory + end)
    with pytest.raises((ResourceLimitError, ValidationError)):
        await archives("extract", path=allowed / "x.zip", target_path=allowed / "out")
    assert not (allowed / "out").exists()


async def test_a_zip_whose_directory_claims_gigabytes_takes_no_memory(archives, allowed):
    path = allowed / "x.zip"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
        file.seek(3_000_000_000)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 3_000_000_000, 0, 0))
    with pytest.raises(ValidationError, match="Invalid ZIP archive"):
        await archives("list", path=path)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
async def test_packings_without_a_bounded_decoder_are_refused(archives, allowed, packing):
    with zipfile.ZipFile(allowed / "x.zip", "w", packing) as archive:
        archive.writestr("a", "text")
    with pytest.raises(ValidationError, match="is packed with method"):
        await archives("extract", path=allowed / "x.zip", target_path=allowed / "out")


async def test_an_encrypted_zip_is_refused(archives, allowed):
    path = allowed / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "text")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValidationError, match="'a' is encrypted"):
        await archives("extract", path=path, target_path=allowed / "out")


async def test_a_time_out_ends_the_work_and_removes_what_was_begun(
    services, context, allowed, monkeypatch
):
    path = tar_of(allowed / "x.tar", *((str(n), bytes(100)) for n in range(50)))
    (allowed / "out").mkdir()
    reached, ended = threading.Event(), threading.Event()
    write = extracting.Extraction._write
    delete = extracting.delete_tree

    def slow(self, *given):
        reached.set()
        while not self.stop._event.wait(0.01):
            pass
        return write(self, *given)

    def deleted(*given):
        delete(*given)
        ended.set()

    monkeypatch.setattr(extracting.Extraction, "_write", slow)
    monkeypatch.setattr(extracting, "delete_tree", deleted)
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke(
            "archive_handler",
            {"operation": "extract", "path": str(path), "target_path": str(allowed / "out")},
            context,
            timeout_seconds=0.5,
        )
    assert reached.is_set()
    assert await asyncio.to_thread(ended.wait, 20)
    assert os.listdir(allowed / "out") == []


async def test_a_link_put_in_the_way_while_unpacking_never_leads_out(archives, allowed, secret):
    """Somebody swaps the target's directory for a link, over and over, while files go into it."""
    path = tar_of(allowed / "x.tar", *((f"d/e/{n}", b"evil") for n in range(20)))
    out = allowed / "out"
    (out / "d" / "e").mkdir(parents=True)
    done = threading.Event()

    def swap():
        while not done.is_set():
            try:
                (out / "d").rename(out / "aside")
                (out / "d").symlink_to(secret)
                (out / "d").unlink()
                (out / "aside").rename(out / "d")
            except OSError:
                continue

    (secret / "e").mkdir()
    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = set()
    try:
        for _ in range(20):
            try:
                await archives("extract", path=path, target_path=out)
                outcomes.add("written")
            except LLMSpellError as error:
                outcomes.add(type(error).__name__)
    finally:
        done.set()
        await asyncio.to_thread(thread.join)
    assert os.listdir(secret / "e") == []
    assert outcomes
