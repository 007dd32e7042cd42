"""`PluginIndex`: what is installed, found without importing it."""

import logging
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from llmspell_core import GROUPS, NotFoundError, Plugin, PluginError, PluginIndex


def install(
    site: Path,
    distribution: str,
    entry_points: str,
    *,
    version: str = "1.0",
    modules: dict[str, str] | None = None,
    suffix: str = "dist-info",
) -> None:
    """Put a distribution into *site* as an installer does."""
    stem = distribution if suffix == "egg-info" else f"{distribution}-{version}"
    folder = site / f"{stem}.{suffix}"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {distribution}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(dedent(entry_points))
    for name, text in (modules or {}).items():
        (site / f"{name}.py").write_text(dedent(text))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The only place that distributions are found in."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def only(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def test_names_are_known_before_any_code_is_imported(site) -> None:
    install(
        site,
        "acme_tools",
        "[llmspell.tools]\nacme = acme_module:AcmeTool\n",
        modules={"acme_module": "class AcmeTool: ..."},
    )
    index = PluginIndex()
    assert "acme" in index.names("llmspell.tools")
    assert index.find("llmspell.tools", "acme") == Plugin(
        "llmspell.tools", "acme", "acme_module:AcmeTool", "acme-tools", "1.0"
    )
    assert "acme_module" not in sys.modules
    loaded = index.load("llmspell.tools", "acme")
    assert loaded.__name__ == "AcmeTool"
    assert index.load("llmspell.tools", "acme") is loaded


def test_built_ins_are_found_as_strangers_are(site) -> None:
    install(site, "stranger", "[llmspell.providers]\nstranger = stranger_module:make\n")
    found = {
        (p.name, p.distribution) for p in PluginIndex().all() if p.name in {"echo", "stranger"}
    }
    assert found == {("echo", "llmspell-testing"), ("stranger", "stranger")}


def test_entry_points_are_read_as_specified(only) -> None:
    install(
        only,
        "odd",
        """\
        # a comment
        ; another
        [console_scripts]
        acme = acme:main

        [ llmspell.tools ]
        one=mod:A
          two   =   mod.sub : B.c   [extra]
        three = mod

        [llmspell.tools.other]
        four = mod:D
        [llmspell.engines]
        five = mod:E
        """,
    )
    assert [(p.group, p.name, p.value) for p in PluginIndex().all()] == [
        ("llmspell.engines", "five", "mod:E"),
        ("llmspell.tools", "one", "mod:A"),
        ("llmspell.tools", "three", "mod"),
        ("llmspell.tools", "two", "mod.sub : B.c"),
    ]


def test_nested_attributes_and_modules_load(site) -> None:
    install(
        site,
        "nested",
        "[llmspell.tools]\na = nested_module : Outer.inner [x]\nb = nested_module\n",
        modules={"nested_module": "class Outer:\n    inner = 7\n"},
    )
    index = PluginIndex()
    assert index.load("llmspell.tools", "a") == 7
    assert index.load("llmspell.tools", "b") is sys.modules["nested_module"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ZeroDivisionError('oops')", "ZeroDivisionError: oops"),
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("x = (", "SyntaxError"),
        ("x = 1", "AttributeError"),
        ("import sys; sys.exit(3)", "SystemExit"),
    ],
)
def test_a_broken_plugin_names_its_distribution(site, caplog, module: str, words: str) -> None:
    entry = "[llmspell.chunkers]\nbroken = broken_module:Thing\n"
    install(site, "acme_broken", entry, version="2.5", modules={"broken_module": module})
    install(
        site,
        "acme_good",
        "[llmspell.chunkers]\nzgood = good_module:Thing\n",
        modules={"good_module": "Thing = 1"},
    )
    index = PluginIndex()
    with pytest.raises(PluginError, match=words) as caught:
        index.load("llmspell.chunkers", "broken")
    assert "'broken' (llmspell.chunkers) of acme-broken 2.5 cannot be loaded" in str(caught.value)
    assert caught.value.hint is not None
    assert "acme-broken" in caught.value.hint
    assert caught.value.__cause__ is not None
    with caplog.at_level(logging.WARNING):
        loaded = {plugin.name: value for plugin, value in index.load_all("llmspell.chunkers")}
    assert loaded["zgood"] == 1
    assert "broken" not in loaded
    assert [r.getMessage() for r in caplog.records if "acme-broken 2.5" in r.getMessage()]


def test_two_owners_of_a_name_are_an_error_that_names_both(only) -> None:
    for distribution in ("acme_one", "acme_two"):
        install(
            only,
            distribution,
            f"[llmspell.tools]\nsame = {distribution}:x\nown_{distribution} = m:x\n",
        )
    index = PluginIndex()
    with pytest.raises(PluginError) as caught:
        index.load("llmspell.tools", "same")
    assert caught.value.code == "PLUGIN_DUPLICATE"
    assert caught.value.message == (
        "'same' (llmspell.tools) is registered by acme-one 1.0 and acme-two 1.0"
    )
    assert caught.value.hint == (
        'Say which one in llmspell.toml: [plugins.prefer] "tools.same" = "acme-one"'
    )
    assert [[p.distribution for p in owners] for owners in index.duplicates()] == [
        ["acme-one", "acme-two"]
    ]
    assert index.names("llmspell.tools") == ["own_acme_one", "own_acme_two", "same"]
    assert index.find("llmspell.tools", "own_acme_two") is not None


@pytest.mark.parametrize(
    "prefer",
    [
        {"tools.same": "acme-two"},
        {"tools.same": "Acme_Two"},
        {"tools": {"same": "acme-two"}},
    ],
    ids=repr,
)
def test_a_preference_settles_a_name(only, prefer) -> None:
    for distribution in ("acme_one", "acme_two"):
        install(only, distribution, f"[llmspell.tools]\nsame = {distribution}:x\n")
    index = PluginIndex(prefer=prefer)
    found = index.find("llmspell.tools", "same")
    assert found is not None
    assert found.distribution == "acme-two"
    assert index.duplicates() == []
    assert len(index.all()) == 2


def test_a_preference_for_nobody_settles_nothing(only) -> None:
    for distribution in ("acme_one", "acme_two"):
        install(only, distribution, f"[llmspell.tools]\nsame = {distribution}:x\n")
    index = PluginIndex(prefer={"tools.same": "acme-three", "tools.other": "acme-one"})
    with pytest.raises(PluginError):
        index.find("llmspell.tools", "same")


def test_one_name_in_two_groups_is_no_duplicate(only) -> None:
    install(only, "acme", "[llmspell.tools]\nx = a:x\n[llmspell.providers]\nx = a:x\n")
    assert PluginIndex().duplicates() == []


def test_a_distribution_found_twice_counts_once_where_it_is_first(tmp_path, monkeypatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "acme.tools", "[llmspell.tools]\nx = new:x\n", version="2.0")
    install(second, "Acme_Tools", "[llmspell.tools]\nx = old:x\ny = old:y\n", version="1.0")
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(first)])
    assert PluginIndex().all() == [Plugin("llmspell.tools", "x", "new:x", "acme-tools", "2.0")]


def test_develop_installs_are_found(only) -> None:
    install(only, "acme_dev", "[llmspell.tools]\nx = dev:x\n", suffix="egg-info")
    assert PluginIndex().all() == [Plugin("llmspell.tools", "x", "dev:x", "acme-dev", "")]


def test_what_cannot_be_read_does_not_stop_the_rest(only, monkeypatch) -> None:
    install(only, "good", "[llmspell.tools]\nx = a:x\n")
    (only / "no_entry_points-1.0.dist-info").mkdir()
    (only / "a_file.egg-info").write_text("not a folder")
    install(only, "binary", "")
    (only / "binary-1.0.dist-info" / "entry_points.txt").write_bytes(
        b"[llmspell.tools]\ny = b:y\n\xff\xfe = c:z\nnot an entry\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, "/no/such/folder", str(only / "a_file.egg-info")])
    assert {"x", "y"} <= set(PluginIndex().names("llmspell.tools"))


def test_an_unknown_name_suggests_the_nearest() -> None:
    index = PluginIndex([Plugin("llmspell.tools", "calculator", "m:x", "d", "1")])
    with pytest.raises(NotFoundError, match="'calculater' not found in tools") as near:
        index.load("llmspell.tools", "calculater")
    assert near.value.hint == "Did you mean 'calculator'?"
    with pytest.raises(NotFoundError) as far:
        index.load("llmspell.tools", "zzz")
    assert far.value.hint == "Known: calculator"
    with pytest.raises(NotFoundError) as empty:
        PluginIndex([]).load("llmspell.tools", "zzz")
    assert empty.value.hint == "Known: -"
    assert index.find("llmspell.tools", "zzz") is None


def test_a_given_list_replaces_what_is_installed() -> None:
    assert PluginIndex([]).all() == []
    assert PluginIndex([]).names("llmspell.tools") == []


def test_every_group_is_described() -> None:
    assert all(group.startswith("llmspell.") for group in GROUPS)
    assert all(GROUPS.values())
    assert len(GROUPS) == 16
