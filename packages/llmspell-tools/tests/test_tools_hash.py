import hashlib
import resource
import sys
import zlib

import pytest

from llmspell_core import LLMSpellError, SecurityError, StorageError, ValidationError
from llmspell_testing import ToolSuite
from llmspell_tools.utility import HashCalculator

NAMES = {
    "md5": ("MD5", "md5"),
    "SHA1": ("SHA-1", "sha1"),
    "sha-1": ("SHA-1", "sha1"),
    "sha256": ("SHA-256", "sha256"),
    "Sha-256": ("SHA-256", "sha256"),
    "SHA_512": ("SHA-512", "sha512"),
    "sha3-256": ("SHA3-256", "sha3_256"),
    "sha3-512": ("SHA3-512", "sha3_512"),
    "blake2b": ("BLAKE2b", "blake2b"),
}


def peak_kilobytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


class TestHashCalculatorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return HashCalculator()

    @pytest.fixture
    def parameters(self):
        return {"operation": "hash", "input": "abc"}

    @pytest.fixture
    def refused(self):
        return [{}, {"input": "x", "algorithm": "md6"}, {"operation": "verify", "input": "x"}]


@pytest.mark.parametrize("name", list(NAMES))
async def test_digest_is_that_of_the_standard(call, name):
    shown, python = NAMES[name]
    result = await call("hash_calculator", input="äbc", algorithm=name)
    expected = hashlib.new(python, "äbc".encode()).hexdigest()
    assert result.value == result.result["hash"] == expected
    assert result.result["algorithm"] == shown
    assert result.message == f"Calculated {shown} hash"


async def test_default_is_sha256_in_hex_and_base64_is_offered(call):
    result = await call("hash-calculator", data="abc")
    assert result.result == {
        "algorithm": "SHA-256",
        "algorithm_id": "sha256",
        "hash": hashlib.sha256(b"abc").hexdigest(),
        "format": "hex",
    }
    result = await call("hash-calculator", text="abc", format="BASE64", algorithm="md5")
    assert result.value == "kAFQmDzST7DWlj99KOF/cg=="


async def test_checksum(call):
    result = await call("hash_calculator", input="abc", algorithm="crc32")
    assert result.value == f"{zlib.crc32(b'abc'):08x}"


async def test_bytes_are_hashed_as_they_are(call):
    result = await call("hash_calculator", input=b"\xff\x00")
    assert result.value == hashlib.sha256(b"\xff\x00").hexdigest()


async def test_verify_compares(call):
    good = hashlib.sha256(b"abc").hexdigest()
    result = await call("hash_calculator", operation="verify", input="abc", expected=good.upper())
    assert result.result == {
        "verified": True,
        "algorithm": "SHA-256",
        "algorithm_id": "sha256",
    }
    bad = "00" * 32
    result = await call("hash_calculator", operation="check", input="abc", hash=bad)
    assert (result.success, result.value) == (True, False)
    assert (result.result["expected"], result.result["actual"]) == (bad, good)
    short = await call("hash_calculator", operation="verify", input="abc", expected_hash="00")
    assert short.value is False
    result = await call(
        "hash_calculator",
        operation="verify",
        input="abc",
        algorithm="md5",
        expected_hash="kAFQmDzST7DWlj99KOF/cg==",
        expected_format="base64",
    )
    assert result.value is True


async def test_unknown_algorithm_is_a_soft_failure(call):
    for operation in ("hash", "verify"):
        result = await call(
            "hash_calculator", operation=operation, input="x", algorithm="md6", expected="00"
        )
        assert not result.success
        assert "Invalid algorithm: 'md6'" in result.error
        assert result.error_details["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("parameters", "phrase"),
    [
        ({}, "Missing required parameter 'input'"),
        ({"input_type": "file"}, "Missing required parameter 'file'"),
        ({"operation": "verify", "input": "x"}, "Missing required parameter 'expected_hash'"),
        (
            {"operation": "verify", "input": "x", "expected": "zz"},
            "Invalid hex string in expected_hash",
        ),
        (
            {"operation": "verify", "input": "x", "expected": "§", "expected_format": "base64"},
            "Invalid base64 string in expected_hash",
        ),
        ({"operation": "crack", "input": "x"}, "Invalid operation: 'crack'"),
        ({"input": "x", "format": "octal"}, "Invalid format: 'octal'. Allowed values: hex, base64"),
    ],
)
async def test_wrong_parameters_are_named(call, parameters, phrase):
    with pytest.raises(ValidationError, match=phrase):
        await call("hash_calculator", **parameters)


async def test_file_is_hashed_through_the_policy(call, allowed, secret):
    (allowed / "a.txt").write_bytes(b"abc")
    for name in ("file", "path", "file_path", "input_file"):
        result = await call("hash_calculator", **{name: str(allowed / "a.txt")})
        assert result.value == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(SecurityError, match="not in allowlist"):
        await call("hash_calculator", file=str(secret / "key.txt"))
    with pytest.raises(StorageError, match="Failed to access path"):
        await call("hash_calculator", file=str(allowed / "missing"))
    with pytest.raises(LLMSpellError, match="Is a directory"):
        await call("hash_calculator", file=str(allowed))


async def test_fifty_megabytes_are_streamed(call, allowed):
    block = b"0123456789abcdef" * 65536
    whole = hashlib.sha256()
    with (allowed / "big.bin").open("wb") as file:
        for _ in range(50):
            file.write(block)
            whole.update(block)
    before = peak_kilobytes()
    result = await call("hash_calculator", file=str(allowed / "big.bin"))
    after = peak_kilobytes()
    assert result.value == whole.hexdigest()
    assert after - before < 20_000


async def test_file_over_a_hundred_megabytes_is_refused(call, allowed):
    with (allowed / "huge.bin").open("wb") as file:
        file.truncate(100 * 1024 * 1024 + 1)
    with pytest.raises(ValidationError, match="exceeds maximum allowed size"):
        await call("hash_calculator", file=str(allowed / "huge.bin"))


async def test_long_text_is_hashed_off_the_loop(call):
    text = "x" * 2_000_000
    result = await call("hash_calculator", input=text)
    assert result.value == hashlib.sha256(text.encode()).hexdigest()
