"""`Settings`: the configuration as a pydantic-settings class, and the schema made from it."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from dirty_equals import IsPartialDict
from jsonschema import Draft202012Validator
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from llmspell_config import Settings, json_schema, load, settings_class
from llmspell_core import Config, ConfigurationError, Plugin, PluginIndex, Services, setting


class Colour(Enum):
    DARK_RED = "dark_red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Depth:
    levels: int = setting(3, above_zero=True, help="how far down")
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Paint:
    """What to paint with."""

    dry_ms: int = setting(500, unit="milliseconds", aliases=("dry_seconds",), above_zero=True)
    bucket: int | None = setting(1000, unit="bytes", aliases=("size",))
    colour: Colour = Colour.BLUE
    finish: Literal["Matt", "High-Gloss"] = setting("Matt", help="of the surface")
    layers: list[str] = field(default_factory=lambda: ["primer"])
    spares: frozenset[int] = frozenset()
    coats: list[Depth] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    named: dict[str, Literal["Thick", "Thin"]] = field(default_factory=dict)
    either: int | Literal["auto"] | None = None
    weights: dict[str, float] = field(default_factory=dict)
    on: bool = True
    anything: Any = None
    copy: str = "taken by pydantic"
    pin: str = setting("", sensitive=True)
    depth: Depth = field(default_factory=Depth)

    def __post_init__(self) -> None:
        if self.copy == "forbidden":
            raise ValueError("copy is forbidden")


@dataclass(frozen=True, slots=True)
class Brush:
    width: int = 2


PLUGINS = PluginIndex(
    [
        Plugin("llmspell.config", "paint", f"{__name__}:Paint", "test", "1"),
        Plugin("llmspell.config", "paint.brush", f"{__name__}:Brush", "test", "1"),
        Plugin("llmspell.config", "config", f"{__name__}:Brush", "test", "1"),
        Plugin("llmspell.config", "my-tool", f"{__name__}:Brush", "test", "1"),
    ]
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    sys.modules.setdefault(__name__, sys.modules[Paint.__module__])


@pytest.fixture
def painted() -> Any:
    return settings_class(PLUGINS)


def wrote(text: str, name: str = "llmspell.toml") -> str:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return name


def refused(make: Any, *arguments: Any, **keywords: Any) -> dict[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as caught:
        make(*arguments, **keywords)
    return {error["loc"]: error["msg"] for error in caught.value.errors()}


# -- values and sources ---------------------------------------------------------------------------


def test_every_registered_section_is_a_typed_attribute() -> None:
    settings = Settings()
    assert settings.runtime.script_timeout_seconds == 300.0
    assert settings.runtime.security.allow_process_spawn is False
    assert settings.rag.vector_storage.hnsw.m == 16
    assert settings.engines.lua.timeout_ms == 30_000
    assert settings.default_engine == "lua"
    assert settings.providers == {}
    assert settings.config().values == {}


def test_keywords_beat_environment_beats_profile_beats_file(
    monkeypatch: pytest.MonkeyPatch, painted: Any
) -> None:
    wrote(
        "[paint]\ndry_ms = 1\nbucket = 1\nlayers = ['file']\nfinish = 'high_gloss'\n"
        "[profiles.p.paint]\ndry_ms = 2\nbucket = 2\nlayers = ['profile']\n"
    )
    monkeypatch.setenv("LLMSPELL_PAINT_DRY_MS", "3s")
    monkeypatch.setenv("LLMSPELL_PAINT_BUCKET", "3KB")
    settings = painted(_profile="p", paint={"dry_seconds": 4})
    paint = settings.paint
    assert (paint.dry_ms, paint.bucket, paint.layers) == (4000, 3000, ["profile"])
    assert (paint.finish, paint.on) == ("High-Gloss", True)
    assert settings.config().values == {
        "paint": {"dry_ms": 4000, "bucket": 3000, "layers": ["profile"], "finish": "High-Gloss"},
        "profiles": {"p": {"paint": {"dry_ms": 2, "bucket": 2, "layers": ["profile"]}}},
    }
    same = load(profile="p", overrides={"paint.dry_seconds": 4}, plugins=PLUGINS)
    assert settings.config().values == same.values
    assert settings.config().section("paint", Paint) == same.section("paint", Paint)


def test_the_file_can_be_named_and_left_out(painted: Any) -> None:
    wrote("[paint]\nbucket = 1\n")
    wrote("[paint]\nbucket = 2\n", "other.toml")
    assert painted().paint.bucket == 1
    assert painted(_path="other.toml").paint.bucket == 2
    assert painted(_use_files=False).paint.bucket == 1000


def test_keywords_may_be_models_dataclasses_paths_and_secrets(painted: Any, tmp_path: Path) -> None:
    wrote("[paint]\nbucket = 7\n")
    first = painted(paint={"on": "no"})
    settings = painted(
        paint=first.paint,
        config=Brush(width=5),
        providers={"mine": {"api_key": SecretStr("s3cret"), "model": "m"}},
        app={"place": tmp_path, "all": [tmp_path]},
    )
    assert settings.config().values == {
        "paint": {"bucket": 7, "on": False},
        "config": {"width": 5},
        "providers": {"mine": {"api_key": "s3cret", "default_model": "m"}},
        "app": {"place": str(tmp_path), "all": [str(tmp_path)]},
    }
    assert "s3cret" not in repr(settings)
    assert "9876" not in repr(painted(paint={"pin": "9876"}))


def test_none_sets_what_may_be_empty_and_nothing_else(painted: Any) -> None:
    wrote("[paint]\nbucket = 7\n")
    settings = painted(paint={"size": None})
    assert settings.paint.bucket is None
    assert settings.config().section("paint", Paint).bucket is None
    assert refused(painted, paint={"dry_ms": None}) == {
        ("paint", "dry_ms"): ("expected a number of milliseconds (like 500 or '30s'), got None")
    }
    assert load(overrides={"paint.bucket": None}, plugins=PLUGINS).section("paint", Paint) == Paint(
        bucket=None
    )


def test_names_that_python_or_pydantic_need_have_another_attribute(painted: Any) -> None:
    settings = painted(**{"my-tool": {"width": 9}}, paint={"copy": "c"}, config={"width": 8})
    assert (settings.my_tool.width, settings.paint.copy_, settings.config_.width) == (9, "c", 8)
    assert settings.paint.brush.width == 2
    assert settings.config().values == {
        "my-tool": {"width": 9},
        "paint": {"copy": "c"},
        "config": {"width": 8},
    }


def test_unknown_keys_are_kept_and_warned_of(
    painted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrote("[paint]\nbuckets = 7\n[app]\nx = 1\n")
    with caplog.at_level(logging.WARNING, "llmspell.config"):
        settings = painted(thing=3)
    assert (settings.paint.buckets, settings.app, settings.thing) == (7, {"x": 1}, 3)
    assert [record.message for record in caplog.records] == [
        "unknown key 'paint.buckets' (llmspell.toml, line 2); did you mean 'paint.bucket'?",
        "unknown key 'thing' (command line)",
    ]


def test_settings_do_not_change(painted: Any) -> None:
    settings = painted()
    with pytest.raises(ValidationError, match="frozen"):
        settings.paint.bucket = 3
    with pytest.raises(ValidationError, match="frozen"):
        settings.paint = None


async def test_services_work_with_the_settings(tmp_path: Path) -> None:
    wrote("[runtime]\nscript_timeout_seconds = 9\n")
    config = Settings(engines={"lua": {"timeout_ms": "2s"}}).config()
    assert isinstance(config, Config)
    assert config.origin == "llmspell.toml"
    assert config.home == load().home == str(tmp_path / ".llmspell")
    services = Services(config)
    assert services.config.get("engines.lua.timeout_ms") == 2000
    assert services.config.get("runtime.script_timeout_seconds") == 9
    await services.aclose()


# -- inside other settings ------------------------------------------------------------------------


def test_a_program_nests_them_in_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    class App(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="APP_", env_nested_delimiter="__")

        title: str = "none"
        llmspell: Settings = Settings(_use_files=False)

    wrote("[runtime]\nmax_concurrent_scripts = 3\nscript_timeout_seconds = 5\n")
    monkeypatch.setenv("APP_TITLE", "mine")
    monkeypatch.setenv("APP_LLMSPELL__RUNTIME__MAX_CONCURRENT_SCRIPTS", "4")
    app = App()
    assert app.title == "mine"
    assert app.llmspell.config().values == {
        "runtime": {"max_concurrent_scripts": 4, "script_timeout_seconds": 5.0}
    }
    assert refused(App, llmspell={"runtime": {"script_timeout_seconds": "soon"}}) == {
        ("llmspell", "runtime", "script_timeout_seconds"): (
            "expected a number of seconds (like 30 or '5m'), got 'soon'"
        )
    }


def test_a_subclass_types_the_tables_of_its_application(
    painted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Shop(BaseModel):
        name: str = "?"
        open: bool = False

    class Mine(painted):  # type: ignore[misc]
        app: Shop = Shop()
        when: int | None = 1

    wrote("when = 2\n[app]\nname = 'corner'\n[paint]\nbucket = 3\n")
    with caplog.at_level(logging.WARNING, "llmspell.config"):
        mine = Mine(app={"open": True})
    assert caplog.records == []
    assert (mine.app, mine.when, mine.paint.bucket) == (Shop(name="corner", open=True), 2, 3)
    assert Mine(when=None).when is None
    assert mine.config().get("app.name") == "corner"
    assert set(refused(Mine, app={"open": "perhaps"})) == {("app", "open")}


# -- errors ---------------------------------------------------------------------------------------


def test_every_value_that_does_not_fit_is_reported_with_its_place(
    monkeypatch: pytest.MonkeyPatch, painted: Any
) -> None:
    wrote("[paint]\ndry_ms = 0\ncolour = 'green'\n[paint.depth]\nlevels = 'many'\n")
    monkeypatch.setenv("LLMSPELL_PAINT_BUCKET", "huge")
    assert refused(painted, paint={"on": "perhaps"}) == {
        ("paint", "dry_ms"): "cannot be zero or less (llmspell.toml, line 2)",
        ("paint", "colour"): (
            "expected one of dark_red, blue, got 'green' (llmspell.toml, line 3)"
        ),
        ("paint", "depth", "levels"): ("expected a number, got 'many' (llmspell.toml, line 5)"),
        ("paint", "bucket"): (
            "expected a number of bytes (like 1000000 or '10MB'), got 'huge' "
            "(LLMSPELL_PAINT_BUCKET)"
        ),
        ("paint", "on"): "expected true or false, got 'perhaps'",
    }


def test_rules_of_a_section_and_between_sections_hold(painted: Any) -> None:
    assert refused(painted, paint={"copy": "forbidden"}) == {("paint",): "copy is forbidden"}
    assert refused(painted, providers={"default_provider": "acme"}) == {
        ("providers", "default_provider"): "Default provider 'acme' is not configured"
    }
    wrote("[providers]\ndefault_provider = 'acme'\n")
    assert painted(providers={"acme": {"type": "openai"}}).providers == {
        "default_provider": "acme",
        "acme": {"provider_type": "openai"},
    }


def test_an_error_tells_pydantic_users_type_and_hint(painted: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        painted(default_engine="perl")
    assert caught.value.title == "Settings"
    assert caught.value.errors() == [
        {
            "type": "setting",
            "loc": ("default_engine",),
            "msg": "Default engine 'perl' is not configured",
            "input": None,
            "ctx": {
                "reason": "Default engine 'perl' is not configured",
                "where": None,
                "hint": "Use 'lua', or add a table [engines.perl].",
            },
        }
    ]


def test_files_and_profiles_that_are_not_there_are_configuration_errors(painted: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"not found: none\.toml"):
        painted(_path="none.toml")
    with pytest.raises(ConfigurationError, match="profile 'p' not found"):
        painted(_profile="p")
    wrote("[paint\n")
    with pytest.raises(ConfigurationError, match="TOML parsing error"):
        painted()


# -- the schema -----------------------------------------------------------------------------------


def test_the_schema_tells_descriptions_defaults_words_and_minimums(painted: Any) -> None:
    schema = json_schema(painted)
    assert schema == IsPartialDict(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llmspell.toml"}
    )
    paint = schema["$defs"]["Paint"]
    assert paint["description"] == "What to paint with."
    assert paint["additionalProperties"] is True
    assert "required" not in paint
    keys = paint["properties"]
    assert keys["brush"] == {"$ref": "#/$defs/PaintBrush"}
    assert keys["finish"] == IsPartialDict({"description": "of the surface", "default": "Matt"})
    assert keys["finish"]["anyOf"][0] == {"enum": ["Matt", "High-Gloss"], "type": "string"}
    assert keys["dry_ms"]["anyOf"][0] == {"type": "integer", "exclusiveMinimum": 0}
    assert keys["colour"]["default"] == "blue"
    assert keys["layers"]["default"] == ["primer"]
    assert keys["anything"] == {}
    assert keys["pin"]["writeOnly"] is True
    assert schema["$defs"]["PaintDepth"]["properties"]["levels"]["description"] == "how far down"


GOOD = """
#:schema llmspell.schema.json
default_engine = "lua"

[paint]
dry_seconds = 3
dry_ms = "1.5s"
bucket = "10MiB"
colour = "Dark-Red"
finish = "high_gloss"
layers = "a, b"
spares = ["1", 2, 2]
weights = { a = "2", b = 0.5 }
coats = [{ levels = "4" }, { share = 0.25 }]
colours = ["BLUE", "dark-red"]
named = { a = "thick" }
either = "AUTO"
on = "${ON:-yes}"
anything = [1, "x"]
copy = ["a", "b"]

[paint.depth]
levels = 2
share = "env:SHARE"

[providers]
default_provider = "mine"
unheard_of = 1

[providers.mine]
type = "openai"
timeout_seconds = "1m"
of_its_own = { a = 1 }

[providers.providers.other]
enabled = "on"

[app]
whatever = true

[profiles.night]
extends = "default"
paint.bucket = 1
"""


def test_the_schema_accepts_what_is_accepted(painted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    validator = Draft202012Validator
    monkeypatch.setenv("SHARE", "0.25")
    schema = json_schema(painted)
    validator.check_schema(schema)
    wrote(GOOD)
    settings = painted()
    assert settings.paint.spares == {1, 2}
    assert settings.paint.depth.share == 0.25
    assert settings.paint.coats == [Depth(levels=4), Depth(share=0.25)]
    assert settings.paint.colours == [Colour.BLUE, Colour.DARK_RED]
    assert (settings.paint.named, settings.paint.either) == ({"a": "Thick"}, "auto")
    assert load(plugins=PLUGINS).section("paint", Paint) == settings.config().section(
        "paint", Paint
    )
    assert list(validator(schema).iter_errors(tomllib.loads(GOOD))) == []
    validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "paint = 1",
        "[paint]\ndry_ms = 0",
        "[paint]\ndry_ms = 'soon'",
        "[paint]\nbucket = '10s'",
        "[paint]\ncolour = 'green'",
        "[paint]\nfinish = 'shiny'",
        "[paint]\nlayers = 3",
        "[paint]\nweights = { a = [] }",
        "[paint]\ncolours = ['green']",
        "[paint]\ncoats = [3]",
        "[paint]\nnamed = { a = 'fat' }",
        "[paint]\neither = 'perhaps'",
        "[paint]\non = 'perhaps'",
        "[paint]\non = 1",
        "[paint.depth]\nlevels = -1",
        "[providers.mine]\nmax_tokens = 0",
        "[providers.providers.mine]\nenabled = 'perhaps'",
    ],
)
def test_the_schema_refuses_what_is_refused(painted: Any, text: str) -> None:
    import tomllib

    validator = Draft202012Validator
    wrote(text)
    assert refused(painted)
    schema = json_schema(painted)
    assert list(validator(schema).iter_errors(tomllib.loads(text)))
    profile = {"profiles": {"p": tomllib.loads(text)}}
    assert list(validator(schema).iter_errors(profile))


# -- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "[runtime]\nscript_timeout_seconds = '5m'\n"])
def test_loading_imports_neither_pydantic_nor_its_settings(text: str | None) -> None:
    if text is not None:
        wrote(text)
    script = (
        "import sys, llmspell_config as c\n"
        "print(c.load().get('runtime.script_timeout_seconds'))\n"
        "print('pydantic' in sys.modules, 'pydantic_settings' in sys.modules)\n"
        "c.Settings()\n"
        "print('pydantic' in sys.modules, 'pydantic_settings' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    value = "None" if text is None else "300.0"
    assert done.stdout == f"{value}\nFalse False\nTrue True\n"
