"""What is read from where, and who wins."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from llmspell_config import (
    effective,
    load,
    read,
    restored,
    search_places,
    secret_values,
    to_toml,
)
from llmspell_core import ConfigurationError, Plugin, PluginIndex, setting


class Mode(Enum):
    SLIDING_WINDOW = "sliding_window"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Inner:
    depth: int = setting(3, above_zero=True)
    when: Any = None


@dataclass(frozen=True, slots=True)
class Sample:
    seconds: float = setting(30.0, unit="seconds", above_zero=True, aliases=("timeout",))
    limit_bytes: int = setting(
        1000, unit="bytes", aliases=("memory_limit", "memory_mb"), env=("LLMSPELL_SAMPLE_LIMIT",)
    )
    wait_ms: int | None = setting(None, aliases=("wait_seconds",))
    words: list[str] = field(default_factory=list)
    text: str = ""
    on: bool = False
    mode: Mode = Mode.FIXED
    level: Literal["Safe", "Privileged"] = "Safe"
    table: dict[str, int] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    either: int | str | None = None
    allowed_paths: tuple[str, ...] = ()
    many: list[Inner] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.text == "forbidden":
            raise ValueError("text is forbidden")


@dataclass(frozen=True, slots=True)
class Below:
    x: int = 1


PLUGINS = PluginIndex(
    [
        Plugin("llmspell.config", "sample", f"{__name__}:Sample", "test", "1"),
        Plugin("llmspell.config", "sample.below", f"{__name__}:Below", "test", "1"),
    ]
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sys.modules.setdefault(__name__, sys.modules[Sample.__module__])


def wrote(text: str, name: str = "llmspell.toml") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def loaded(text: str = "", **options: Any) -> Any:
    if text:
        wrote(text)
    return load(plugins=PLUGINS, **{"environ": {}, **options})


def sample(text: str = "", **options: Any) -> Sample:
    return loaded(text, **options).section("sample", Sample)


def problems(text: str, **options: Any) -> list[tuple[str, str, str | None]]:
    wrote(text)
    found = read(plugins=PLUGINS, **{"environ": {}, **options}).problems
    return [(p.kind, p.key, p.where) for p in found]


# -- finding ----------------------------------------------------------------------------------


def test_without_file_or_variable_everything_is_default_and_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, llmspell_config; before = set(sys.modules); c = llmspell_config.load();"
        "print(c.values, 'pydantic' in sys.modules, 'tomllib' in sys.modules,"
        " 'llmspell_config._reading' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMSPELL_")}
    environment["HOME"] = os.getcwd()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "{} False False False\n"


def test_a_file_is_read_without_pydantic() -> None:
    wrote("[runtime]\nscript_timeout_seconds = 5\n")
    script = "import sys, llmspell_config as c; c.load(); print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_places_are_searched_in_order_and_the_first_file_is_used_alone(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    order = [
        "llmspell.toml",
        ".llmspell.toml",
        "config/llmspell.toml",
        ".config/llmspell.toml",
        "home/.llmspell/config.toml",
        "home/.llmspell.toml",
        "home/.config/llmspell.toml",
        "xdg/llmspell/config.toml",
    ]
    places = [os.path.relpath(place.path) for place in search_places(environ=environ)]
    assert places[:-1] == order
    assert search_places(environ=environ)[-1].path == "/etc/llmspell/config.toml"

    for index, name in reversed(list(enumerate(order))):
        wrote(f"[sample]\nwords = ['{index}']\n", name)
        assert sample(environ=environ).words == [str(index)]
    assert sample(environ=environ, use_files=False) == Sample()
    named = {**environ, "LLMSPELL_CONFIG": order[3]}
    assert sample(environ=named).words == ["3"]
    assert load("home/.llmspell.toml", plugins=PLUGINS, environ=named).get("sample.words") == ["5"]


def test_data_lies_beside_the_project_or_in_the_home_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMSPELL_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wrote("", "home/.config/llmspell.toml")
    assert load().home == str(tmp_path / "home" / ".llmspell")
    wrote("", "config/llmspell.toml")
    assert load().home == str(tmp_path / ".llmspell")
    wrote("", "other/llmspell.toml")
    assert load("other/llmspell.toml").home == str(tmp_path / "other" / ".llmspell")
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path / "moved"))
    assert load().home == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "Configuration file not found: x.toml"),
        (lambda: Path("x.toml").mkdir(), "Failed to read configuration file x.toml: it is not"),
        (
            lambda: Path("x.toml").write_bytes(b"a = 1\nb = '\xff'\n"),
            "Failed to read configuration file x.toml: not UTF-8 text (byte 0xff, line 2)",
        ),
        (lambda: wrote("a = \n", "x.toml"), "TOML parsing error: x.toml: Invalid value (at line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(make: Any, message: str) -> None:
    make()
    with pytest.raises(ConfigurationError) as caught:
        load("x.toml", environ={})
    assert caught.value.message.startswith(message)
    assert str(caught.value).startswith("Configuration error: ")


def test_a_json_file_is_read_too() -> None:
    wrote(json.dumps({"sample": {"on": True}}), "x.json")
    assert sample(path="x.json").on is True
    wrote("[1]", "y.json")
    with pytest.raises(ConfigurationError, match="JSON parsing error"):
        loaded(path="y.json")
    wrote("{", "z.json")
    with pytest.raises(ConfigurationError, match="JSON parsing error"):
        loaded(path="z.json")


def test_an_empty_file_is_all_defaults() -> None:
    wrote("")
    assert sample() == Sample()


# -- conversion -------------------------------------------------------------------------------


def test_values_are_converted_to_what_the_section_wants() -> None:
    made = sample(
        """
        [sample]
        seconds = "5m"
        limit_bytes = "2KiB"
        wait_ms = "1.5s"
        words = "a, b,,c"
        text = ["ls", "cat"]
        on = "Yes"
        mode = "Sliding-Window"
        level = "safe"
        table = { a = 1, b = "2" }
        inner.depth = 7
        either = "x"
        many = [{ depth = "4" }, {}]
        """
    )
    assert made == Sample(
        seconds=300.0,
        limit_bytes=2048,
        wait_ms=1500,
        words=["a", "b", "c"],
        text="ls,cat",
        on=True,
        mode=Mode.SLIDING_WINDOW,
        level="Safe",
        table={"a": 1, "b": 2},
        inner=Inner(7),
        either="x",
        many=[Inner(4), Inner()],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit_bytes = '10MB'", 10_000_000),
        ("memory_limit = 5", 5),
        ("memory_mb = 2", 2_000_000),
        ("memory_mb = '1GB'", 1_000_000_000),
        ("memory_limit = 5\nlimit_bytes = 6", 6),
        ("Memory-Limit = 7", 7),
        ("limit_bytes = 12.0", 12),
    ],
)
def test_aliases_stand_for_the_key_and_bring_their_unit(text: str, expected: int) -> None:
    assert sample(f"[sample]\n{text}\n").limit_bytes == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seconds = 'soon'", "seconds: expected a number of seconds (like 30 or '5m'), got 'soon'"),
        ("seconds = '3MB'", "seconds: expected a number of seconds (like 30 or '5m'), got '3MB'"),
        ("limit_bytes = 1.5", "limit_bytes: expected a whole number, got 1.5"),
        ("limit_bytes = true", "limit_bytes: expected a number of bytes"),
        ("words = 3", "words: expected a list, got 3"),
        ("words = [1]", "words: expected text, got 1"),
        ("on = 'maybe'", "on: expected true or false, got 'maybe'"),
        ("text = 1", "text: expected text, got 1"),
        ("mode = 'other'", "mode: expected one of sliding_window, fixed, got 'other'"),
        ("level = 'high'", "level: expected one of Safe, Privileged, got 'high'"),
        ("table = 1", "table: expected a table, got 1"),
        ("table = { a = 'x' }", "table: expected a number, got 'x'"),
        ("inner = 1", "inner: expected a table, got 1"),
        ("inner.depth = 'x'", "inner.depth: expected a number, got 'x'"),
        ("either = [1]", "either: expected a number or text, got [1]"),
        ("many = [1]", "many: expected a table"),
        ("many = [{ depth = 'x' }]", "many: TOML parsing error: depth: expected a number"),
        ("memory_mb = 'x'", "limit_bytes: expected a number of megabytes"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_key_and_line(line: str, message: str) -> None:
    wrote(f"[other]\n\n[sample]\n# a remark\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        loaded()
    assert caught.value.message.startswith(f"TOML parsing error: sample.{message}")
    assert caught.value.message.endswith("(llmspell.toml, line 5)")


def test_zero_is_refused_where_it_means_nothing() -> None:
    for text in ("seconds = 0", "inner.depth = -1"):
        wrote(f"[sample]\n{text}\n")
        with pytest.raises(ConfigurationError, match=r"in field 'sample\..*cannot be zero") as e:
            loaded()
        assert "line 2" in e.value.message


def test_a_section_may_refuse_what_it_is_built_of() -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded("[sample]\ntext = 'forbidden'\n")
    assert caught.value.message == (
        "Configuration validation failed in field 'sample': text is forbidden "
        "(llmspell.toml, line 2)"
    )


def test_annotations_beyond_the_plain_ones_are_left_to_pydantic() -> None:
    from datetime import date

    from llmspell_config._convert import Misfit, convert

    assert convert("2026-11-21", date) == date(2026, 11, 21)
    with pytest.raises(Misfit, match="expected"):
        convert("never", date)


def test_a_section_of_a_library_user_is_converted_without_a_file() -> None:
    config = load(environ={}, use_files=False).replaced({"sample": {"seconds": "2m"}})
    assert config.section("sample", Sample).seconds == 120.0
    with pytest.raises(ConfigurationError, match=r"sample\.on: expected true or false"):
        config.replaced({"sample": {"on": "x"}}).section("sample", Sample)


# -- layers -----------------------------------------------------------------------------------


def test_override_beats_environment_beats_profile_beats_file() -> None:
    text = """
    [sample]
    limit_bytes = 1
    seconds = 1
    words = ["a", "b"]
    text = "file"
    inner.depth = 1
    [profiles.p.sample]
    limit_bytes = 2
    seconds = 2
    words = ["c"]
    [sample.below]
    x = 5
    """
    environ = {"LLMSPELL_SAMPLE_LIMIT": "3", "LLMSPELL_SAMPLE_INNER_DEPTH": "9"}
    config = loaded(
        text, profile="p", environ=environ, overrides={"sample.limit_bytes": 4, "sample.on": True}
    )
    assert config.section("sample", Sample) == Sample(
        limit_bytes=4, seconds=2.0, words=["c"], text="file", on=True, inner=Inner(9)
    )
    assert config.section("sample.below", Below) == Below(5)
    assert loaded(profile="p", environ=environ).get("sample.limit_bytes") == 3
    assert loaded(profile="p").get("sample.limit_bytes") == 2
    assert loaded().get("sample.limit_bytes") == 1


def test_the_own_variable_of_a_key_beats_the_generic_one_and_empty_ones_set_nothing() -> None:
    environ = {"LLMSPELL_SAMPLE_LIMIT_BYTES": "1", "LLMSPELL_SAMPLE_ON": ""}
    assert sample(environ=environ) == Sample(limit_bytes=1)
    assert sample(environ={**environ, "LLMSPELL_SAMPLE_LIMIT": "2KB"}).limit_bytes == 2000


def test_lists_and_booleans_from_the_environment() -> None:
    environ = {"LLMSPELL_SAMPLE_WORDS": "x, y", "LLMSPELL_SAMPLE_ON": "on"}
    assert sample(environ=environ) == Sample(words=["x", "y"], on=True)


@pytest.mark.parametrize("value", ["much", "-5s"])
def test_a_variable_that_does_not_fit_is_named(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(environ={"LLMSPELL_SAMPLE_SECONDS": value})
    assert caught.value.message.startswith(
        "Environment variable parsing error: LLMSPELL_SAMPLE_SECONDS: "
    )


def test_profiles_extend_each_other() -> None:
    text = """
    [sample]
    text = "base"
    [profiles.one]
    extends = "default"
    sample.words = ["one"]
    sample.text = "one"
    [profiles.two]
    extends = "one"
    sample.text = "two"
    """
    assert sample(text, profile="two") == Sample(words=["one"], text="two")
    assert sample(profile="default") == Sample(text="base")


def test_wrong_profiles_are_explained() -> None:
    wrote("[profiles.a]\nextends = 'b'\n[profiles.b]\nextends = 'a'\n[profiles.long]\nx = 1\n")
    with pytest.raises(ConfigurationError, match="extends itself: a → b → a"):
        loaded(profile="a")
    with pytest.raises(ConfigurationError, match="available: a, b, default, long") as caught:
        loaded(profile="lng")
    assert "Did you mean 'long'?" in (caught.value.hint or "")
    chain = "".join(f"[profiles.p{i}]\nextends = 'p{i + 1}'\n" for i in range(12))
    with pytest.raises(ConfigurationError, match="more than 10"):
        loaded(chain + "[profiles.p12]\nx = 1\n", profile="p0")


def test_references_to_the_environment_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    text = """
    [sample]
    text = "${WHO} and ${MISSING:-nobody}"
    words = ["env:WHO", "$WHO"]
    allowed_paths = ["~/x", "$WHO/y"]
    limit_bytes = "${SIZE}"
    [providers.openai]
    api_key = "${NO_KEY}"
    base_url = "env:URL"
    """
    home = os.path.expanduser("~")
    environ = {"WHO": "Ada", "SIZE": "5KB", "URL": "http://x"}
    with caplog.at_level(logging.WARNING, logger="llmspell.config"):
        config = loaded(text, environ=environ)
    assert config.section("sample", Sample) == Sample(
        text="Ada and nobody",
        words=["Ada", "$WHO"],
        allowed_paths=(f"{home}/x", "Ada/y"),
        limit_bytes=5000,
    )
    assert config.get("providers") == {"openai": {"base_url": "http://x"}}
    assert [record.getMessage() for record in caplog.records] == [
        "'providers.openai.api_key' refers to the environment variable NO_KEY, which is not set "
        "(llmspell.toml, line 8)"
    ]


def test_both_nestings_of_providers_are_one_and_their_aliases_too() -> None:
    text = """
    [providers]
    default_provider = "openai"
    [providers.openai]
    model = "flat"
    temperature = 1
    timeout = "1m"
    own_option = [1]
    [providers.providers.openai]
    default_model = "deep"
    """
    assert loaded(text).get("providers") == {
        "default_provider": "openai",
        "openai": {
            "default_model": "deep",
            "temperature": 1,
            "timeout_seconds": 60,
            "own_option": [1],
        },
    }


def test_provider_variables_beat_the_file() -> None:
    environ = {
        "LLMSPELL_PROVIDERS_OPENAI_DEFAULT_MODEL": "generic",
        "LLMSPELL_PROVIDER_OPENAI_MODEL": "strong",
        "LLMSPELL_PROVIDERS_MY_OWN_BASE_URL": "http://own",
        "LLMSPELL_OPENAI_MODEL": "weak: for the provider to ask",
    }
    config = loaded("[providers.openai]\nmodel = 'file'\n", environ=environ)
    assert config.get("providers") == {
        "openai": {"default_model": "strong"},
        "my_own": {"base_url": "http://own"},
    }


# -- diagnosis --------------------------------------------------------------------------------


def test_unknown_keys_are_found_with_line_and_nearest_key_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = """\
    nme = "x"
    [sample]
    secnds = 3
    [sample.innner]
    depth = 1
    [smaple]
    on = true
    [app]
    anything = "goes"
    [tools.my-own-tool]
    also = 1
    """
    wrote(text)
    reading = read(plugins=PLUGINS, environ={})
    assert [problem.text for problem in reading.errors] == [
        "unknown key 'nme' (llmspell.toml, line 1); did you mean 'name'?",
        "unknown key 'sample.secnds' (llmspell.toml, line 3); did you mean 'sample.seconds'?",
        "unknown key 'sample.innner' (llmspell.toml, line 4); did you mean 'sample.inner'?",
        "unknown key 'smaple' (llmspell.toml, line 6); did you mean 'sample'?",
    ]
    with caplog.at_level(logging.WARNING, logger="llmspell.config"):
        config = loaded()
    assert len(caplog.records) == 4
    assert config.get("sample.secnds") == 3
    assert config.get("app.anything") == "goes"


def test_lines_are_found_whatever_the_spelling() -> None:
    text = '''\
    name = """
    [sample]
    on = 5 """
    description = 'it''s' # odd
    sample = { text = "a = 1 # no", inner = { depth = "x" }, words = [
      "one", # two
      'three',
    ], "on" = 1 }
    [[profiles."a b"]]
    '''.replace("'it''s'", "'its'")
    assert problems(text) == [
        ("type", "sample.inner.depth", "llmspell.toml, line 5"),
        ("type", "sample.on", "llmspell.toml, line 8"),
    ]


def test_rules_between_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    cases = {
        "default_engine = ''": "Default engine cannot be empty",
        "default_engine = 'perl'": "Default engine 'perl' is not configured",
        "[providers]\ndefault_provider = 'nobody'": "Default provider 'nobody' is not configured",
        "[providers.x]\ntype = ''": "Provider type cannot be empty",
        "[providers.x]\ntimeout = 0": "cannot be zero",
        "[providers.x]\nmax_tokens = 0": "cannot be zero",
        "[providers.x]\nrate_limit = 0": "cannot be zero",
        "[providers.x]\nrate_limit.requests_per_minute = 0": "cannot be zero",
        "[providers.x]\nretry.backoff_multiplier = 0": "must be positive",
        "[tools.file_operations]\nallowed_paths = []": "at least one allowed path",
        "[rag.vector_storage.hnsw]\nm = 1": "m must be between 2 and 100",
        "[rag.vector_storage.hnsw]\nm = 8\nef_construction = 4": "at least 8",
    }
    for text, message in cases.items():
        wrote(text)
        with pytest.raises(ConfigurationError, match="line ") as caught:
            load(environ={})
        assert message in caught.value.message
    for text in ("[engines.perl]\n[other]", "[tools.file_operations]\nenabled=false"):
        wrote("default_engine = 'perl'\n" + text if "perl" in text else text + "\n")
        load(environ={})


def test_advice_is_given_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    wrote(
        """
        [providers.openai]
        temperature = 3
        timeout = 700
        max_retries = 11
        [providers.mine]
        api_key = "literal"
        [runtime]
        script_timeout_seconds = "2h"
        [runtime.security]
        allow_process_spawn = true
        [tools.file_operations]
        allowed_paths = ["/", "/not/there"]
        [engines.lua]
        security_level = "unrestricted"
        """
    )
    Path("llmspell.toml").chmod(0o644)
    reading = read(environ={})
    assert reading.errors == []
    assert [problem.key for problem in reading.warnings] == [
        "providers.openai.temperature",
        "providers.openai.timeout_seconds",
        "providers.openai.max_retries",
        "providers.openai",
        "tools.file_operations.allowed_paths",
        "tools.file_operations.allowed_paths",
        "runtime.script_timeout_seconds",
        "runtime.security.allow_process_spawn",
        "engines.lua.security_level",
        "providers.mine.api_key",
    ]
    Path("llmspell.toml").chmod(0o600)
    assert len(read(environ={}).warnings) == 9
    load(environ={})


def test_the_origin_of_each_value_is_known() -> None:
    wrote("[sample]\non = true\n")
    reading = read(
        plugins=PLUGINS, environ={"LLMSPELL_SAMPLE_TEXT": "x"}, overrides={"sample.words": "a"}
    )
    origins = {key: reading.origin(("sample", key)) for key in ("on", "text", "words", "seconds")}
    assert origins == {
        "on": "llmspell.toml, line 2",
        "text": "LLMSPELL_SAMPLE_TEXT",
        "words": "command line",
        "seconds": "default",
    }


# -- out again --------------------------------------------------------------------------------


def test_effective_settings_hide_secrets_and_can_be_fed_back() -> None:
    text = """
    [providers.openai]
    api_key = "sk-secret"
    api_key_env = "OPENAI_API_KEY"
    max_tokens = 5
    base_url = "https://user:pass@host/v1"
    [sample]
    mode = "sliding-window"
    seconds = "2m"
    [app]
    auth_token = "t"
    passwords = ["p"]
    """
    config = loaded(text)
    kept = effective(config)
    assert kept == {
        "providers": {
            "openai": {
                "api_key": "<REDACTED>",
                "api_key_env": "OPENAI_API_KEY",
                "max_tokens": 5,
                "base_url": "https://<REDACTED>@host/v1",
            }
        },
        "sample": {"mode": "sliding_window", "seconds": 120.0},
        "app": {"auth_token": "<REDACTED>", "passwords": ["<REDACTED>"]},
    }
    assert json.loads(json.dumps(kept)) == kept
    again = config.replaced(kept)
    assert again.section("sample", Sample) == config.section("sample", Sample)
    assert effective(again) == kept


def test_written_toml_reads_back() -> None:
    import tomllib

    values = {
        "a": 1,
        "b": 1.5,
        "none": None,
        "odd key": 'quote " backslash \\ newline \n del \x7f ü',
        "list": [1, [True], {"x": "y"}],
        "empty": {},
        "t": {"u": {"v": False, "inf": float("inf")}, "w": []},
    }
    text = to_toml(values, remark=lambda path: f"from {'.'.join(path)}")
    del values["none"]
    assert tomllib.loads(text) == values
    assert "a = 1  # from a" in text


def test_recorded_settings_get_their_secrets_back_from_the_present_ones() -> None:
    recorded = loaded(
        "[providers.a]\napi_key = 'old-key'\nbase_url = 'http://u:p@h/'\n[providers.b]\n"
        "api_key = 'gone'\ndefault_model = 'm'\n[app]\ntokens = 3\n"
    )
    now = loaded("[providers.a]\napi_key = 'new-key'\nbase_url = 'http://u:q@h/'\n")

    assert restored(effective(recorded), now) == {
        "providers": {
            "a": {"api_key": "new-key", "base_url": "http://u:q@h/"},
            "b": {"default_model": "m"},
        },
        "app": {"tokens": 3},
    }
    assert secret_values(recorded) == ["gone", "old-key"]
