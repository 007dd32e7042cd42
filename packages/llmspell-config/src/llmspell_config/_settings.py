"""`Settings`: the configuration for programs that keep theirs with pydantic-settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, PrivateAttr, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from llmspell_config._discovery import find, home_of
from llmspell_config._known import known_keys, registered
from llmspell_config._load import build_late
from llmspell_config._models import fields_of, hidden
from llmspell_config._plain import plain
from llmspell_config._problems import Problem
from llmspell_config._reading import OVERRIDDEN, Reading, read
from llmspell_core import Config, PluginIndex

_OPTIONS = ("_path", "_profile", "_use_files")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class LayeredSettings(BaseSettings):
    """The base of `Settings`: sources, errors and `config`; the sections are added to it.

    Init keywords beat environment variables, these the profile, that the file, that the
    defaults, exactly as in `load`. Instances do not change.

    Args:
        _path: The file; None asks ``LLMSPELL_CONFIG`` and then the usual places.
        _profile: Name of a table ``[profiles.NAME]`` laid over the file.
        _use_files: False ignores all files but *_path*.
        **values: Settings, by the name of their table; mappings, models or section dataclasses.

    Raises:
        pydantic.ValidationError: for values that do not fit, all of them, with the dotted key as
            location and file and line in the message.
        ConfigurationError: for a file that is missing, unreadable or not TOML, and for an
            unknown profile.
    """

    model_config = SettingsConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), arbitrary_types_allowed=True
    )

    llmspell_plugins: ClassVar[PluginIndex]
    _home: str | None = PrivateAttr(None)
    _origin: str | None = PrivateAttr(None)

    if TYPE_CHECKING:
        # Which sections there are depends on what is installed.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        /,
        *,
        _path: str | None = None,
        _profile: str | None = None,
        _use_files: bool = True,
        **values: Any,
    ) -> None:
        options = {"_path": _path, "_profile": _profile, "_use_files": _use_files}
        super().__init__(**options, **values)
        place = find(_path, use_files=_use_files)
        self._home = home_of(place)
        self._origin = None if place is None else place.path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Two sources: the keywords for fields that a subclass adds, and `read` for the rest."""
        given: dict[str, Any] = cast("Any", init_settings).init_kwargs
        keywords = dict(given)
        options = {name[1:]: keywords.pop(name) for name in _OPTIONS if name in keywords}
        own = {name: keywords.pop(name) for name in _own_fields(settings_cls) & keywords.keys()}
        return (
            InitSettingsSource(settings_cls, own),
            LayersSource(settings_cls, keywords, options),
        )

    def config(self) -> Config:
        """These settings for ``Services(…)``: what was set, without the defaults."""
        values = self.model_dump(exclude_unset=True, by_alias=True)
        return Config(plain(values), build=build_late, home=self._home, origin=self._origin)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return hidden(super().__repr_args__())


class LayersSource(PydanticBaseSettingsSource):
    """Environment, profile and file, with *keywords* above them, as `read` brings them together."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        keywords: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(settings_cls)
        self._keywords = keywords
        self._read_options = options

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing: the fields come all together."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """What was set anywhere, by table.

        Raises:
            pydantic.ValidationError: for values that do not fit.
            ConfigurationError: for a file that cannot be read, and for an unknown profile.
        """
        cls = cast("type[LayeredSettings]", self.settings_cls)
        reading = read(
            **self._read_options, overrides=_mapping(self._keywords), plugins=cls.llmspell_plugins
        )
        if reading.faults:
            raise _refusal(cls.__name__, reading)
        own = _own_fields(cls)
        meant = tuple(p for p in reading.problems if p.key.partition(".")[0] not in own)
        replace(reading, problems=meant).log_warnings()
        return dict(reading.settled.values)


def _own_fields(cls: type[BaseSettings]) -> set[str]:
    """The fields that a subclass adds to the registered sections."""
    ours = next(base for base in cls.__mro__ if "llmspell_plugins" in vars(base))
    return set(cls.model_fields) - set(cast("type[BaseSettings]", ours).model_fields)


def _mapping(value: Any) -> Any:
    """Keywords as a file would have them: models and section dataclasses become tables."""
    if isinstance(value, BaseModel):
        return _mapping(value.model_dump(exclude_unset=True, by_alias=True))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _mapping(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: _mapping(item) for name, item in table.items()}
    if isinstance(value, list | tuple):
        return [_mapping(item) for item in cast("list[Any]", value)]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    return cast("object", value)


def _refusal(title: str, reading: Reading) -> ValidationError:
    errors = [_line_error(problem) for problem in reading.faults]
    # The value is in the message where it may be seen.
    return ValidationError.from_exception_data(title, errors, hide_input=True)


def _line_error(problem: Problem) -> InitErrorDetails:
    where = None if problem.where == OVERRIDDEN else problem.where
    reason = f"{problem.message} ({where})" if where else problem.message
    context = {"reason": reason, "where": where, "hint": problem.hint}
    return {
        "type": PydanticCustomError("setting", "{reason}", context),
        "loc": tuple(problem.key.split(".")) if problem.key else (),
        "input": None,
    }


def settings_class(plugins: PluginIndex | None = None) -> type[LayeredSettings]:
    """`Settings` for the sections that *plugins* knows; None means what is installed."""
    index = plugins or PluginIndex()
    table = known_keys(registered(index))
    made = create_model(
        "Settings",
        __base__=LayeredSettings,
        __module__=__name__,
        __doc__="The configuration of LLMSpell.",
        **fields_of(table, LayeredSettings),
    )
    made.llmspell_plugins = index
    return made


class _TomlSchema(GenerateJsonSchema):
    """Defaults as TOML has them, no titles that only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def encode_default(self, dft: Any) -> Any:
        return plain(dft)


def json_schema(settings: type[LayeredSettings] | None = None) -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``llmspell.toml``, made from *settings*.

    It refuses no value that `load` accepts. Unknown keys pass: other spellings and aliases are
    among them.
    """
    made = (settings or Settings).model_json_schema(schema_generator=_TomlSchema)
    # A profile may say whatever the file may.
    made["properties"]["profiles"] = {
        "type": "object",
        "description": "Settings laid over the file by --profile NAME: [profiles.NAME.…].",
        "additionalProperties": {
            "$ref": "#",
            "properties": {"extends": {"type": "string", "description": "the profile below it"}},
        },
    }
    return {"$schema": DIALECT, **made, "title": "llmspell.toml"}


if TYPE_CHECKING:

    class Settings(LayeredSettings):
        """The configuration of LLMSpell: all registered sections."""
else:
    Settings = settings_class()
