"""What the tool pipeline costs around a tool that does nothing, listing tools cold, what file tools
take of memory for a gigabyte, and a search beside grep.
"""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    Parameter,
    Recording,
    RunRecord,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
)
from llmspell_kernel import MemoryLedger

ROUNDS = 20_000
_RESULT = ToolResult(operation="noop", result={"ok": True})


class Noop(Tool):
    """Does nothing."""

    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("input", "string"),))

    async def run(self, parameters, context):
        return _RESULT


async def measure(services: Services, context: ExecutionContext) -> float:
    tools = services.tools
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS // 5):
            await tools.invoke("noop", {"input": "x"}, context)
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 5))
    return best * 1e6


async def bare(tool: Noop, context: ExecutionContext) -> float:
    started = time.perf_counter()
    for _ in range(ROUNDS):
        await tool.run({"input": "x"}, context)
    return (time.perf_counter() - started) / ROUNDS * 1e6


def cold(code: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1000


GIGABYTE = 1 << 30
STREAMED = {
    "copy": ("file_operations", {"operation": "copy", "source_path": "big", "target_path": "new"}),
    "encoding": (
        "file_converter",
        {"operation": "encoding", "path": "big", "target_path": "new", "to_encoding": "utf-16le"},
    ),
    "line ends": (
        "file_converter",
        {"operation": "line_endings", "path": "big", "target_path": "new", "line_ending": "crlf"},
    ),
    "indentation": (
        "file_converter",
        {"operation": "indentation", "path": "big", "target_path": "new"},
    ),
    "pack zip": (
        "archive_handler",
        {"operation": "create", "path": "new.zip", "input": "big", "compression_level": 1},
    ),
    "unpack zip": (
        "archive_handler",
        {"operation": "extract", "path": "new.zip", "target_path": "out"},
    ),
    "pack tar.gz": (
        "archive_handler",
        {"operation": "create", "path": "new.tar.gz", "input": "big", "compression_level": 1},
    ),
    "unpack tar.gz": (
        "archive_handler",
        {"operation": "extract", "path": "new.tar.gz", "target_path": "out"},
    ),
}
PATHS = ("path", "input", "source_path", "target_path")


async def stream(folder: str, what: str) -> None:
    """In a process of its own: one call, then what it took of memory at most."""
    limits = {"max_file_size": 3 * GIGABYTE}
    services = Services(
        {
            "tools": {
                "file_operations": {"allowed_paths": [folder], **limits},
                "file_converter": limits,
                "archive_handler": {**limits, "max_total_size": 3 * GIGABYTE},
            }
        }
    )
    tool, given = STREAMED[what]
    parameters = {k: os.path.join(folder, v) if k in PATHS else v for k, v in given.items()}
    context = ExecutionContext(services)
    started = time.perf_counter()
    result = await services.tools.invoke(tool, parameters, context, timeout_seconds=600)
    assert result.success, result.error
    took = time.perf_counter() - started
    await services.aclose()
    print(json.dumps([took, peak_mebibytes()]))


def peak_mebibytes() -> float:
    """The most memory this process ever had. Linux counts that of the parent at the fork into
    ru_maxrss, so that its own figure is read.
    """
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1024)


def streaming() -> None:
    """A gigabyte of text through every tool that takes files of any size."""
    folder = tempfile.mkdtemp()
    try:
        lines = b"".join(
            b"\t%d some words of a line\n" % random.randrange(10**9) for _ in range(40_000)
        )
        with Path(folder, "big").open("wb") as file:
            for _ in range(GIGABYTE // len(lines)):
                file.write(lines)
        for what in STREAMED:
            command = [sys.executable, __file__, "stream", folder, what]
            done = subprocess.run(command, capture_output=True, check=False, text=True)
            if done.returncode:
                print(f"{what:31} {done.stderr.strip().splitlines()[-1]}")
                continue
            took, peak = json.loads(done.stdout)
            print(
                f"1 GiB, {what:24} {took:7.1f} s, the whole process {peak:5.1f} MiB   (bound: 64)"
            )
    finally:
        shutil.rmtree(folder)


def grown(folder: str) -> None:
    """20,000 files, a needle in every two hundredth."""
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    random.seed(1)
    for number in range(20_000):
        place = Path(folder, str(number % 100), str(number % 10))
        place.mkdir(parents=True, exist_ok=True)
        text = "\n".join(" ".join(random.choices(words, k=8)) for _ in range(25))
        needle = "\nthe needle\n" if number % 200 == 0 else ""
        (place / f"{number}.txt").write_text(text + needle)


def grep(folder: str) -> float:
    """What `grep -rn` takes for it, at best."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(["grep", "-rn", "the needle", folder], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    print(f"grep -rn in 20,000 files        {min(times) * 1000:7.1f} ms")
    return min(times)


async def searching(folder: str, bare: float) -> None:
    """The same search by our tool; the first call starts its worker process."""
    services = Services({"tools": {"file_operations": {"allowed_paths": [folder]}}})
    context = ExecutionContext(services)
    for label, given in (
        ("search, text", {"pattern": "the needle"}),
        ("search, any case", {"pattern": "THE needle", "case_sensitive": False}),
        ("search, regular expression", {"pattern": r"the\s+needle$", "use_regex": True}),
    ):
        best = 1e9
        for _ in range(5):
            started = time.perf_counter()
            found = await services.tools.invoke(
                "file_search", {"path": folder, "recursive": True, **given}, context
            )
            best = min(best, time.perf_counter() - started)
            assert len(found.value) == 100
        print(f"{label:31} {best * 1000:7.1f} ms, {best / bare:.1f} x grep   (bound: 6)")
    await services.aclose()


async def main() -> None:
    services = Services()
    noop = Noop()
    services.tools.register(noop)
    plain = await bare(noop, ExecutionContext(services))
    passing = await measure(services, ExecutionContext(services))
    ledger = MemoryLedger()
    ledger.open_run(RunRecord("bench", "bench", 0.0))
    recording = await measure(
        services, ExecutionContext(services, effects=Recording(ledger, "bench"))
    )
    print(f"the tool's own run              {plain:7.2f} µs")
    print(f"invoke, not recorded            {passing:7.2f} µs")
    print(f"invoke, in-memory ledger        {recording:7.2f} µs   (bound: 40)")
    await services.aclose()

    nothing = cold("pass")
    core = cold("from llmspell_core import Services; Services()")
    listed = cold("from llmspell_core import Services; Services().tools.list()")
    print(f"python -c pass                  {nothing:7.1f} ms")
    print(f"Services()                      {core:7.1f} ms")
    print(f"Services().tools.list(), cold   {listed:7.1f} ms")
    print(f"listing alone                   {listed - core:7.1f} ms   (bound: 60)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["stream"]:
        asyncio.run(stream(*sys.argv[2:]))
    else:
        asyncio.run(main())
        with tempfile.TemporaryDirectory() as forest:
            grown(forest)
            asyncio.run(searching(forest, grep(forest)))
        streaming()
