import asyncio
import json
import os
import resource
import stat
import sys
import threading
from pathlib import Path

import pytest

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    LLMTimeoutError,
    SecurityError,
    StorageError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools.filesystem import FileOperations
from llmspell_tools.filesystem import _file_operations as implementation


class TestFileOperationsKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return FileOperations()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        (allowed / "a.txt").write_text("hello")
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {"operation": "read", "path": str(allowed / "a.txt")}

    @pytest.fixture
    def refused(self, secret):
        path = str(secret / "key.txt")
        return [
            {"operation": "read", "path": path},
            {"operation": "write", "path": path, "input": "x"},
            {"operation": "fly", "path": path},
            {"operation": "read"},
        ]


@pytest.fixture
def files(call):
    async def run(operation, **parameters):
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in parameters.items()}
        return await call("file_operations", operation=operation, **plain)

    return run


def peak_kilobytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


# Reading and writing -------------------------------------------------------------------------


async def test_what_was_written_is_read_back(files, allowed):
    path = allowed / "new" / "deep" / "ä.txt"
    written = await files("write", path=path, input="grüße\n")
    assert written.text == written.message == f"Wrote 8 bytes to {path}"
    assert written.result == {"path": str(path), "size": 8}
    assert written.value == str(path)
    read = await files("read", path=path)
    assert read.text == read.value == "grüße\n"
    assert read.result == {
        "input": "grüße\n",
        "content": "grüße\n",
        "text": "grüße\n",
        "path": str(path),
        "size": 8,
    }
    assert read.metadata["file_path"] == str(path)
    assert read.metadata["file_size"] == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("alias", ["file", "file_path", "filename"])
@pytest.mark.parametrize("content", ["content", "data", "text"])
async def test_parameters_have_other_names(files, allowed, alias, content):
    await files("write", **{alias: allowed / "x.txt", content: "1"})
    assert (allowed / "x.txt").read_text() == "1"


async def test_preset_names_fill_in_the_operation_and_an_explicit_one_wins(call, allowed):
    path = str(allowed / "x.txt")
    await call("file-writer", path=path, input="1")
    assert (await call("File_Reader", path=path)).text == "1"
    assert (await call("directory-scanner", path=str(allowed))).result["count"] == 1
    assert (await call("file-reader", operation="exists", path=path)).value is True


async def test_tables_and_numbers_are_written_as_json_and_bytes_as_they_are(files, allowed):
    path = allowed / "x"
    await files("write", path=path, input={"a": [1, "ä"]})
    assert json.loads(path.read_text()) == {"a": [1, "ä"]}
    await files("write", path=path, input=5)
    assert path.read_text() == "5"
    await files("write", path=path, input=b"\xff\x00")
    assert path.read_bytes() == b"\xff\x00"


async def test_other_encodings_and_base64(files, allowed):
    path = allowed / "x"
    await files("write", path=path, input="ä", encoding="latin-1")
    assert path.read_bytes() == b"\xe4"
    assert (await files("read", path=path, encoding="Latin-1")).value == "ä"
    with pytest.raises(StorageError, match="File contains invalid UTF-8"):
        await files("read", path=path)
    assert (await files("read", path=path, encoding="base64")).value == "5A=="
    await files("write", path=path, input="AAE=", encoding="base64")
    assert path.read_bytes() == b"\x00\x01"
    for encoding in ("nonsense", "rot13", "zlib"):
        with pytest.raises(ValidationError, match="Invalid encoding"):
            await files("read", path=path, encoding=encoding)
    for content, encoding in (("ä", "ascii"), ("?", "base64")):
        result = await files("write", path=path, input=content, encoding=encoding)
        assert result.result["error_type"] == "validation_error"


async def test_append_adds_and_creates(files, allowed):
    path = allowed / "sub" / "log.txt"
    first = await files("append", path=path, input="a")
    assert first.text == f"Appended 1 bytes to {path}"
    assert first.result["appended_size"] == 1
    await files("append", path=path, input="bc")
    second = await files("write", path=path, input="d", mode="append")
    assert second.operation == "append"
    assert path.read_text() == "abcd"


async def test_overwriting_keeps_permissions_and_leaves_no_temporary_file(files, allowed):
    path = allowed / "x.txt"
    path.write_text("old")
    path.chmod(0o600)
    await files("write", path=path, input="new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert os.listdir(allowed) == ["x.txt"]


async def test_writing_in_place_when_atomic_writes_are_off(make_services, allowed):
    services = make_services(file_operations={"atomic_writes": False})
    path = allowed / "sub" / "x.txt"
    context = ExecutionContext(services)
    for content in ("longer text", "short"):
        await services.tools.invoke(
            "file_operations", {"operation": "write", "path": str(path), "input": content}, context
        )
    assert path.read_text() == "short"


async def test_failed_write_leaves_the_old_file_whole(files, allowed, monkeypatch):
    path = allowed / "x.txt"
    path.write_text("old")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = await files("write", path=path, input="new")
    assert not result.success
    assert "No space left on device" in result.error
    assert result.result == {"path": str(path), "error_type": "execution_error"}
    assert result.error_details["retryable"] is True
    assert path.read_text() == "old"
    assert os.listdir(allowed) == ["x.txt"]


async def test_concurrent_writers_leave_one_whole_content(files, allowed):
    path = allowed / "x.txt"
    contents = [str(i) * 200_000 for i in range(8)]
    await asyncio.gather(*(files("write", path=path, input=content) for content in contents))
    assert path.read_text() in contents
    assert os.listdir(allowed) == ["x.txt"]


async def test_write_failures_are_soft_with_their_kind(files, allowed, secret):
    outside = await files("write", path=secret / "x", input="1")
    assert (outside.success, outside.result["error_type"]) == (False, "security_violation")
    assert "Path not allowed" in outside.error
    assert outside.error_details["code"] == "SECURITY_VIOLATION"
    missing = await files("write", path=allowed / "x")
    assert missing.result["error_type"] == "validation_error"
    assert "Write operation requires 'input' parameter" in missing.error
    folder = await files("write", path=allowed, input="1")
    assert not folder.success


# Other operations ----------------------------------------------------------------------------


async def test_listing_is_sorted_and_complete(files, allowed):
    (allowed / "b.txt").write_text("12")
    (allowed / "a").mkdir()
    (allowed / "c").symlink_to("b.txt")
    os.mkfifo(allowed / "pipe")
    result = await files("ls", path=allowed)
    entries = result.result["entries"]
    assert [(e["name"], e["type"]) for e in entries] == [
        ("a", "directory"),
        ("b.txt", "file"),
        ("c", "symlink"),
        ("pipe", "unknown"),
    ]
    assert entries[1]["path"] == str(allowed / "b.txt")
    assert entries[1]["size"] == 2
    assert entries[1]["modified"].endswith("Z")
    assert result.text == f"Found 4 entries in {allowed}"


async def test_recursive_listing_stops_at_the_depth_and_follows_no_links(make_services, allowed):
    services = make_services(file_operations={"max_depth": 2})
    (allowed / "a" / "b" / "c").mkdir(parents=True)
    (allowed / "a" / "up").symlink_to(allowed)
    result = await services.tools.invoke(
        "file_operations",
        {"operation": "list_dir", "path": str(allowed), "recursive": True},
        ExecutionContext(services),
    )
    assert [e["name"] for e in result.value] == ["a", "a/b", "a/up"]


async def test_at_most_a_thousand_entries_are_listed(files, allowed):
    for number in range(1001):
        (allowed / f"{number:04}").touch()
    result = await files("list_dir", path=allowed)
    assert (result.result["count"], result.metadata["truncated"]) == (1000, True)


async def test_create_dir_needs_its_parent_unless_recursive(files, allowed):
    assert (await files("mkdir", path=allowed / "a")).text == f"Created directory: {allowed / 'a'}"
    assert (await files("mkdir", path=allowed / "a")).success
    with pytest.raises(StorageError, match="Parent directory does not exist"):
        await files("mkdir", path=allowed / "x" / "y")
    assert not (allowed / "x").exists()
    result = await files("create_directory", path=allowed / "x" / "y", recursive=True)
    assert result.result == {"recursive": True, "path": str(allowed / "x" / "y")}
    assert (allowed / "x" / "y").is_dir()
    (allowed / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        await files("mkdir", path=allowed / "file")


async def test_delete(files, allowed):
    (allowed / "x").touch()
    assert (await files("rm", path=allowed / "x")).text == f"Deleted file: {allowed / 'x'}"
    with pytest.raises(StorageError, match="Failed to access path") as caught:
        await files("delete", path=allowed / "x")
    assert caught.value.code == "NOT_FOUND"
    (allowed / "d" / "e").mkdir(parents=True)
    (allowed / "d" / "e" / "f").touch()
    with pytest.raises(ValidationError, match="Cannot delete directory"):
        await files("delete", path=allowed / "d")
    await files("delete", path=allowed / "d", recursive=True)
    assert os.listdir(allowed) == []


async def test_deleting_a_link_leaves_its_target(files, allowed, secret):
    (allowed / "target").write_text("1")
    (allowed / "link").symlink_to("target")
    (allowed / "out").symlink_to(secret)
    (allowed / "tree").mkdir()
    (allowed / "tree" / "out").symlink_to(secret)
    await files("delete", path=allowed / "link")
    await files("delete", path=allowed / "out")
    await files("delete", path=allowed / "tree", recursive=True)
    assert (allowed / "target").read_text() == "1"
    assert (secret / "key.txt").read_text() == "secret"
    assert os.listdir(allowed) == ["target"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("source_path", "target_path"),
        ("from", "to"),
        ("from_path", "to_path"),
        ("source", "destination"),
        ("path", "target"),
    ],
)
async def test_copy_and_move_have_many_names(files, allowed, source, target):
    (allowed / "a").write_text("1")
    copied = await files("cp", **{source: allowed / "a", target: allowed / "sub" / "b"})
    assert copied.text == f"Copied {allowed / 'a'} to {allowed / 'sub' / 'b'}"
    moved = await files("mv", **{source: allowed / "a", target: allowed / "new" / "c"})
    assert moved.result == {"source": str(allowed / "a"), "target": str(allowed / "new" / "c")}
    assert not (allowed / "a").exists()
    assert (allowed / "sub" / "b").read_text() == (allowed / "new" / "c").read_text() == "1"


async def test_copy_into_a_folder_and_onto_itself(files, allowed):
    (allowed / "a").write_text("1")
    (allowed / "d").mkdir()
    await files("copy", source=allowed / "a", target=allowed / "d")
    assert (allowed / "d" / "a").read_text() == "1"
    await files("copy", source=allowed / "a", target=allowed / "a")
    assert (allowed / "a").read_text() == "1"
    with pytest.raises(StorageError, match="Is a directory"):
        await files("copy", source=allowed / "d", target=allowed / "e")
    await files("move", source=allowed / "d", target=allowed / "f")
    assert (allowed / "f" / "a").read_text() == "1"


async def test_move_between_devices_copies_and_deletes(files, allowed, monkeypatch):
    (allowed / "a").write_text("1")
    real = os.rename

    def rename(source, target, **folders):
        if source == "a":
            raise OSError(18, "Invalid cross-device link")
        return real(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename)
    await files("move", source=allowed / "a", target=allowed / "b")
    assert os.listdir(allowed) == ["b"]
    assert (allowed / "b").read_text() == "1"


async def test_moving_what_is_missing_makes_nothing(files, allowed):
    with pytest.raises(StorageError, match="Failed to access path"):
        await files("move", source=allowed / "a", target=allowed / "new" / "b")
    assert os.listdir(allowed) == []


async def test_metadata_and_exists(files, allowed):
    path = allowed / "x.txt"
    path.write_text("123")
    path.chmod(0o444)
    found = (await files("stat", path=path)).result
    assert (found["path"], found["type"], found["size"], found["readonly"]) == (
        str(path),
        "file",
        3,
        True,
    )
    for name in ("created", "modified", "accessed"):
        assert found[name].endswith("Z")
    assert (await files("metadata", path=allowed)).result["type"] == "directory"
    yes = await files("exists", path=path)
    assert (yes.value, yes.text) == (True, f"Path {path} exists")
    no = await files("exists", path=allowed / "no")
    assert (no.value, no.text) == (False, f"Path {allowed / 'no'} does not exist")


# Limits --------------------------------------------------------------------------------------


async def test_size_limit_holds_for_every_operation(make_services, allowed):
    services = make_services(file_operations={"max_file_size": 10})
    context = ExecutionContext(services)

    async def run(**parameters):
        return await services.tools.invoke("file_operations", parameters, context)

    big, small = str(allowed / "big"), str(allowed / "small")
    (allowed / "big").write_text("x" * 11)
    (allowed / "small").write_text("x" * 10)
    assert (await run(operation="read", path=small)).success
    for parameters in (
        {"operation": "read", "path": big},
        {"operation": "append", "path": small, "input": "1"},
        {"operation": "copy", "source": big, "target": small},
    ):
        with pytest.raises(ValidationError, match="exceeds maximum allowed size"):
            await run(**parameters)
    result = await run(operation="write", path=small, input="x" * 11)
    assert "exceeds maximum allowed size" in result.error
    assert (allowed / "small").read_text() == "x" * 10


async def test_extensions(make_services, allowed):
    services = make_services(file_operations={"allowed_extensions": ["txt", ".md"]})
    context = ExecutionContext(services)

    async def run(**parameters):
        return await services.tools.invoke("file_operations", parameters, context)

    for name in ("a.txt", "B.MD"):
        assert (await run(operation="write", path=str(allowed / name), input="")).success
    for name in ("a.exe", "a", "a.txt.DLL", "a.py"):
        result = await run(operation="write", path=str(allowed / name), input="")
        assert "Extension not allowed" in result.error
        with pytest.raises(SecurityError, match="Extension not allowed"):
            await run(operation="read", path=str(allowed / name))
        with pytest.raises(SecurityError, match="Extension not allowed"):
            await run(operation="move", source=str(allowed / "a.txt"), target=str(allowed / name))


@pytest.mark.parametrize("magic", [b"\x7fELF\x02", b"MZ\x90\x00\x03", b"\xcf\xfa\xed\xfe"])
async def test_programs_are_not_written_under_another_name(files, allowed, magic):
    result = await files("write", path=allowed / "notes.txt", input=magic)
    assert "File type not allowed" in result.error
    with pytest.raises(SecurityError, match="File type not allowed"):
        await files("append", path=allowed / "notes.txt", input=magic)
    (allowed / "given").write_bytes(magic)
    with pytest.raises(SecurityError, match="File type not allowed"):
        await files("copy", source=allowed / "given", target=allowed / "notes.txt")
    assert "notes.txt" not in [n for n in os.listdir(allowed) if (allowed / n).stat().st_size]


async def test_text_that_begins_like_a_program_is_text(files, allowed):
    assert (await files("write", path=allowed / "a.txt", input="MZ is a magic word")).success


async def test_pipes_and_folders_are_not_read(files, allowed):
    os.mkfifo(allowed / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(StorageError, match="Failed to access path"):
            await asyncio.wait_for(files("read", path=allowed / name), 5)


async def test_fifty_megabytes_are_copied_in_little_memory(files, allowed):
    with (allowed / "big.bin").open("wb") as file:
        for number in range(47):
            file.write(bytes([number]) * (1 << 20))
    before = peak_kilobytes()
    await files("copy", source=allowed / "big.bin", target=allowed / "copy.bin")
    after = peak_kilobytes()
    assert (allowed / "copy.bin").read_bytes() == (allowed / "big.bin").read_bytes()
    assert after - before < 20_000


# Attacks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"operation": "read"},
        {"operation": "append", "input": "x"},
        {"operation": "delete"},
        {"operation": "create_dir"},
        {"operation": "list_dir"},
        {"operation": "metadata"},
        {"operation": "exists"},
    ],
)
async def test_every_operation_asks_the_policy(files, allowed, secret, parameters):
    (allowed / "link").symlink_to(secret)
    (allowed / "file").symlink_to(secret / "key.txt")
    for path in (
        secret / "key.txt",
        f"{allowed}/../secret/key.txt",
        allowed / "link" / "key.txt",
        "/etc/passwd",
    ):
        with pytest.raises(SecurityError, match="Path not allowed"):
            await files(**parameters, path=path)
    for path, phrase in (("", "empty"), ("a\0b", "NUL"), ("~/x", "'~'")):
        with pytest.raises(ValidationError, match=phrase):
            await files(**parameters, path=path)
    assert (secret / "key.txt").read_text() == "secret"


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_both_ends_of_copy_and_move_ask_the_policy(files, allowed, secret, operation):
    (allowed / "a").write_text("1")
    (allowed / "out").symlink_to(secret)
    for source, target in (
        (secret / "key.txt", allowed / "b"),
        (allowed / "a", secret / "b"),
        (allowed / "a", allowed / "out" / "b"),
        (allowed / "out" / "key.txt", allowed / "b"),
    ):
        with pytest.raises(SecurityError, match="Path not allowed"):
            await files(operation, source=source, target=target)
    assert os.listdir(secret) == ["key.txt"]


@pytest.mark.parametrize(
    ("operation", "extra"),
    [
        ("read", {}),
        ("list_dir", {}),
        ("append", {"input": "x"}),
        ("write", {"input": "x"}),
        ("delete", {}),
        ("create_dir", {}),
        ("metadata", {}),
    ],
)
async def test_link_that_appears_after_the_check_is_not_followed(
    files, services, allowed, secret, monkeypatch, operation, extra
):
    folder = allowed / "folder"
    folder.mkdir()
    (folder / "key.txt").write_text("mine")
    honest = type(services.security).path

    def swapped(self, path, mode, context, *, caller="script"):
        real = honest(self, path, mode, context, caller=caller)
        if folder.is_dir() and not folder.is_symlink():
            folder.rename(allowed / "moved")
            folder.symlink_to(secret)
        return real

    monkeypatch.setattr(type(services.security), "path", swapped)
    names = {"list_dir": ".", "create_dir": "new"}
    path = folder / names.get(operation, "key.txt")
    if operation == "write":
        assert "symbolic link appeared" in (await files(operation, path=path, **extra)).error
    else:
        with pytest.raises(SecurityError, match="symbolic link appeared"):
            await files(operation, path=path, **extra)
    assert os.listdir(secret) == ["key.txt"]
    assert (secret / "key.txt").read_text() == "secret"


async def test_file_that_becomes_a_link_after_the_check_is_not_followed(
    files, services, allowed, secret, monkeypatch
):
    honest = type(services.security).path

    def swapped(self, path, mode, context, *, caller="script"):
        real = honest(self, path, mode, context, caller=caller)
        if os.path.exists(real):
            os.unlink(real)
        os.symlink(secret / "key.txt", real)
        return real

    monkeypatch.setattr(type(services.security), "path", swapped)
    for number, operation in enumerate(("read", "append")):
        (allowed / str(number)).write_text("mine")
        with pytest.raises(SecurityError, match="symbolic link appeared"):
            await files(operation, path=allowed / str(number), input="x")
    result = await files("write", path=allowed / "w", input="x")
    assert "symbolic link appeared" in result.error
    assert (secret / "key.txt").read_text() == "secret"


async def test_a_racing_attacker_never_gets_the_secret(files, allowed, secret):
    folder = allowed / "d"
    (allowed / "honest").mkdir()
    (allowed / "honest" / "key.txt").write_text("mine")
    os.symlink("honest", folder)
    ended = threading.Event()

    def attack():
        while not ended.is_set():
            for target in (secret, "honest"):
                temporary = allowed / "t"
                os.symlink(target, temporary)
                os.replace(temporary, folder)

    attacker = threading.Thread(target=attack)
    attacker.start()
    seen = set()
    try:
        for _ in range(300):
            try:
                seen.add((await files("read", path=folder / "key.txt")).value)
            except (SecurityError, StorageError):
                seen.add("refused")
    finally:
        ended.set()
        attacker.join()
    assert "secret" not in seen
    assert seen <= {"mine", "refused"}


# Effects, time-outs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "effect_class"),
    [
        ({"operation": "read"}, EffectClass.PURE),
        ({"operation": "list_dir"}, EffectClass.PURE),
        ({"operation": "write"}, EffectClass.IDEMPOTENT),
        ({"operation": "write", "mode": "append"}, EffectClass.IRREVERSIBLE),
        ({"operation": "append"}, EffectClass.IRREVERSIBLE),
        ({"operation": "delete"}, EffectClass.IRREVERSIBLE),
        ({}, EffectClass.IRREVERSIBLE),
    ],
)
def test_effect_class_follows_the_operation(parameters, effect_class):
    assert FileOperations().effect_of(parameters) is effect_class


def test_every_operation_has_an_effect_class_and_a_method():
    for operation in FileOperations.operations:
        assert operation in implementation._EFFECTS
        assert callable(getattr(FileOperations, f"do_{operation}"))


async def test_timed_out_copy_ends_and_cleans_up(services, context, allowed, monkeypatch):
    (allowed / "big").write_bytes(b"x" * (8 << 20))
    reached, go = threading.Event(), threading.Event()
    honest = implementation.replacing

    def slow(path):
        reached.set()
        go.wait(10)
        return honest(path)

    monkeypatch.setattr(implementation, "replacing", slow)
    with pytest.raises(LLMTimeoutError, match=r"timed out after 0\.2s"):
        await services.tools.invoke(
            "file_operations",
            {"operation": "copy", "source": str(allowed / "big"), "target": str(allowed / "c")},
            context,
            timeout_seconds=0.2,
        )
    assert reached.is_set()
    go.set()
    # The one thread that still works on it is joined by shutting its executor down.
    await asyncio.get_running_loop().shutdown_default_executor()
    assert os.listdir(allowed) == ["big"]


async def test_own_data_is_out_of_reach(make_services, allowed):
    services = make_services(file_operations={"allowed_paths": [str(allowed.parent)]})
    (allowed.parent / "home").mkdir()
    (allowed.parent / "home" / "state.db").write_text("others")
    with pytest.raises(SecurityError, match="belongs to the data of LLMSpell"):
        await services.tools.invoke(
            "file_operations",
            {"operation": "read", "path": str(allowed.parent / "home" / "state.db")},
            ExecutionContext(services),
        )
