"""Files larger than memory: what the file tools take of it does not grow with the file."""

import tracemalloc

import pytest

from llmspell_core import ExecutionContext

SIZE = 24 << 20
MOST = 12 << 20

CALLS = {
    "copy": ("file_operations", {"operation": "copy", "source_path": "big", "target_path": "new"}),
    "encoding": (
        "file_converter",
        {"operation": "encoding", "path": "big", "target_path": "new", "to_encoding": "utf-16le"},
    ),
    "line ends": (
        "file_converter",
        {"operation": "line_endings", "path": "big", "line_ending": "crlf"},
    ),
    "indentation": (
        "file_converter",
        {"operation": "indentation", "path": "big", "target_path": "new"},
    ),
    "detection": ("file_converter", {"operation": "detect_encoding", "path": "big"}),
    "zip": (
        "archive_handler",
        {"operation": "create", "path": "new.zip", "input": "big", "compression_level": 1},
    ),
    "tar.gz": (
        "archive_handler",
        {"operation": "create", "path": "new.tgz", "input": "big", "compression_level": 1},
    ),
}
UNPACKED = {"zip": "new.zip", "tar.gz": "new.tgz"}
PATHS = ("path", "input", "source_path", "target_path")


@pytest.mark.parametrize("what", CALLS)
async def test_a_large_file_takes_little_memory(make_services, allowed, what):
    line = b"\tsome words of a line, forty bytes or so\n"
    with (allowed / "big").open("wb") as file:
        for _ in range(SIZE // (len(line) * 10_000)):
            file.write(line * 10_000)
    limits = {"max_file_size": 4 * SIZE}
    # So much of the same compresses well, as a bomb does.
    archive = {**limits, "max_ratio": 1000}
    services = make_services(file_operations=limits, file_converter=limits, archive_handler=archive)

    async def peak(tool, given):
        parameters = {k: str(allowed / v) if k in PATHS else v for k, v in given.items()}
        tracemalloc.start()
        try:
            await services.tools.invoke(tool, parameters, ExecutionContext(services))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    tool, given = CALLS[what]
    assert await peak(tool, given) < MOST
    if what in UNPACKED:
        unpack = {"operation": "extract", "path": UNPACKED[what], "target_path": "out"}
        assert await peak(tool, unpack) < MOST
        assert (allowed / "out" / "big").stat().st_size == (allowed / "big").stat().st_size
