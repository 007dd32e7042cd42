"""The policy through its public door: services.security."""

import os
import threading

import pytest

from llmspell_core import (
    ConfigurationError,
    ExecutionContext,
    SecurityError,
    Services,
    ValidationError,
)
from llmspell_security import RuntimeSecurityConfig, SecurityService


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An allowed folder, a working directory, a script's folder, and a forbidden place."""
    for name in ("allowed", "allowed2", "work", "script", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").write_text(name)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def open_policy(places):
    def open_(script_dir=None, **config):
        tools = {"file_operations": {"allowed_paths": [str(places / "allowed")]}}
        tools.update(config.pop("tools", {}))
        services = Services({"tools": tools, **config})
        data = {"script_dir": str(script_dir)} if script_dir else {}
        return services.security, ExecutionContext(services, data=data)

    return open_


def test_the_installed_service_is_the_policy(open_policy):
    security, _ = open_policy()
    assert isinstance(security, SecurityService)
    assert security.settings == RuntimeSecurityConfig(
        allow_file_access=False,
        allow_network_access=True,
        allow_process_spawn=False,
        max_memory_bytes=50_000_000,
        max_execution_time_ms=300_000,
    )


def test_tmp_is_allowed_without_any_configuration(tmp_path):
    services = Services()
    context = ExecutionContext(services)
    expected = os.path.realpath("/tmp/llmspell-some-file")
    assert services.security.path("/tmp/llmspell-some-file", "write", context) == expected


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("caller", ["script", "tool"])
def test_allowed_folder_is_open_for_reading_and_writing(places, open_policy, mode, caller):
    security, context = open_policy()
    for inside in ("file.txt", "new/deeper/file.txt", "../allowed/file.txt", "./file.txt"):
        path = str(places / "allowed" / inside)
        found = security.path(path, mode, context, caller=caller)
        assert found == os.path.realpath(path)


def test_working_and_script_directory_are_for_reading_only(places, open_policy):
    security, context = open_policy(script_dir=places / "script")
    assert security.path("file.txt", "read", context) == str(places / "work" / "file.txt")
    script = str(places / "script" / "file.txt")
    assert security.path(script, "read", context) == script
    for path in ("file.txt", script):
        with pytest.raises(SecurityError, match="not in allowlist"):
            security.path(path, "write", context)


def test_script_directory_of_another_execution_does_not_count(places, open_policy):
    security, context = open_policy()
    with pytest.raises(SecurityError):
        security.path(str(places / "script" / "file.txt"), "read", context)


def test_denial_says_what_which_and_what_to_do(places, open_policy):
    security, context = open_policy()
    with pytest.raises(SecurityError) as caught:
        security.path("/etc/passwd", "read", context)
    error = caught.value
    assert str(error) == (
        "Security violation: Path not allowed: /etc/passwd not in allowlist "
        "(File access violation: Path not in allowed list)"
    )
    assert error.violation_type == "file_read"
    assert error.details == {
        "path": "/etc/passwd",
        "real_path": os.path.realpath("/etc/passwd"),
        "mode": "read",
    }
    assert str(places / "allowed") in error.hint
    assert "allowed_paths" in error.hint


def attacks(places):
    allowed = str(places / "allowed")
    return {
        "climbing": f"{allowed}/../secret/file.txt",
        "climbing deep": f"{allowed}/a/b/../../../secret/file.txt",
        "sibling with the same beginning": f"{allowed}2/file.txt",
        "relative climb": "../secret/file.txt",
        "absolute": str(places / "secret" / "file.txt"),
        "doubled slashes": f"//{places}//secret//file.txt",
        "device": "/dev/zero",
        "process": "/proc/self/environ",
        "root": "/",
        "backslashes are a name, not a way": "/..\\..\\etc\\passwd",
    }


@pytest.mark.parametrize("name", list(attacks(__import__("pathlib").Path("/"))))
@pytest.mark.parametrize("mode", ["read", "write"])
def test_attack_is_refused(places, open_policy, name, mode):
    security, context = open_policy()
    for caller in ("script", "tool"):
        with pytest.raises(SecurityError, match="Path not allowed"):
            security.path(attacks(places)[name], mode, context, caller=caller)


@pytest.mark.parametrize(
    ("path", "phrase"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("/tmp/x\0/../../etc/passwd", "NUL"),
        ("x" * 5000, "longer than 4096"),
        ("~/secrets", "'~'"),
        ("~root/secrets", "'~'"),
        ("/tmp/%2e%2e/etc/passwd", "Path traversal detected"),
        ("/tmp/%2E%2e%2Fetc", "Path traversal detected"),
        ("/tmp/%252e%252e/etc", "Path traversal detected"),
        ("/tmp/..%2fetc", "Path traversal detected"),
        ("/tmp/..%5Cetc", "Path traversal detected"),
        ("/tmp/..%252fetc", "Path traversal detected"),
        ("/tmp/..%255cetc", "Path traversal detected"),
        ("/tmp/a%00b", "Path traversal detected"),
    ],
)
def test_text_that_is_no_path_is_refused_everywhere(open_policy, path, phrase):
    security, context = open_policy(runtime={"security": {"allow_file_access": True}})
    for mode in ("read", "write"):
        with pytest.raises(ValidationError, match=phrase) as caught:
            security.path(path, mode, context)
        assert caught.value.field == "path"


def test_climbing_above_the_root_is_named_as_traversal(open_policy):
    security, context = open_policy(runtime={"security": {"allow_file_access": True}})
    with pytest.raises(SecurityError, match="Path traversal detected") as caught:
        security.path("/tmp/../../etc/passwd", "read", context)
    assert caught.value.violation_type == "path_traversal"


def test_refused_climb_is_named_as_traversal_too(places, open_policy):
    security, context = open_policy()
    with pytest.raises(SecurityError, match="Path traversal detected") as caught:
        security.path(f"{places}/allowed/../secret/file.txt", "read", context)
    assert caught.value.violation_type == "path_traversal"


def test_symbolic_link_counts_where_it_points(places, open_policy):
    security, context = open_policy()
    allowed, secret = places / "allowed", places / "secret"
    (allowed / "out").symlink_to(secret / "file.txt")
    (allowed / "folder").symlink_to(secret)
    (allowed / "dangling").symlink_to(secret / "not-there-yet")
    (allowed / "chain").symlink_to(allowed / "out")
    (allowed / "loop").symlink_to(allowed / "loop")
    (allowed / "in").symlink_to(allowed / "file.txt")
    for name in ("out", "folder/file.txt", "folder/new.txt", "dangling", "chain"):
        for mode in ("read", "write"):
            with pytest.raises(SecurityError, match="not in allowlist"):
                security.path(str(allowed / name), mode, context)
    assert security.path(str(allowed / "in"), "write", context) == str(allowed / "file.txt")
    assert security.path(str(allowed / "loop"), "read", context) == str(allowed / "loop")


def test_link_that_comes_and_goes_is_refused_or_resolved(places, open_policy):
    security, context = open_policy()
    link, done = places / "allowed" / "link", threading.Event()

    def flicker():
        while not done.is_set():
            link.symlink_to(places / "secret")
            link.unlink()

    thread = threading.Thread(target=flicker)
    thread.start()
    found = set()
    try:
        for _ in range(2000):
            try:
                found.add(security.path(str(link), "read", context))
            except SecurityError as error:
                found.add(error.message.partition(":")[0])
    finally:
        done.set()
        thread.join()
    assert found <= {str(link), "Path not allowed"}


def test_link_into_an_allowed_folder_is_allowed(places, open_policy):
    security, context = open_policy()
    (places / "work" / "shortcut").symlink_to(places / "allowed")
    found = security.path("shortcut/new.txt", "write", context)
    assert found == str(places / "allowed" / "new.txt")


def test_allowed_path_may_itself_be_a_link_or_start_at_home(places, open_policy, monkeypatch):
    (places / "link").symlink_to(places / "secret")
    monkeypatch.setenv("HOME", str(places / "work"))
    security, context = open_policy(
        tools={"file_operations": {"allowed_paths": [str(places / "link"), "~/mine"]}}
    )
    for path in (places / "link" / "a", places / "secret" / "a", places / "work" / "mine" / "a"):
        assert security.path(str(path), "write", context) == os.path.realpath(path)


def test_star_allows_everything_and_an_empty_list_only_reading_at_home(places, open_policy):
    security, context = open_policy(tools={"file_operations": {"allowed_paths": "*"}})
    assert security.path("/etc/hostname", "write", context) == "/etc/hostname"
    security, context = open_policy(tools={"file_operations": {"allowed_paths": []}})
    assert security.path("file.txt", "read", context) == str(places / "work" / "file.txt")
    with pytest.raises(SecurityError) as caught:
        security.path("/tmp/x", "write", context)
    assert "Allowed: nothing" in caught.value.hint


def test_comma_separated_text_is_a_list(places, open_policy):
    both = f"{places}/allowed, {places}/secret"
    security, context = open_policy(tools={"file_operations": {"allowed_paths": both}})
    for name in ("allowed", "secret"):
        assert security.path(f"{places}/{name}/x", "write", context) == f"{places}/{name}/x"


def test_other_shapes_of_allowed_paths_are_a_configuration_error(open_policy):
    security, context = open_policy(tools={"file_operations": {"allowed_paths": 7}})
    with pytest.raises(ConfigurationError, match="must be a list"):
        security.path("/tmp/x", "read", context)


def test_file_access_opens_everything_to_scripts_and_nothing_to_tools(places, open_policy):
    security, context = open_policy(runtime={"security": {"allow_file_access": True}})
    secret = str(places / "secret" / "file.txt")
    assert security.path(secret, "write", context) == secret
    with pytest.raises(SecurityError):
        security.path(secret, "read", context, caller="tool")


def test_own_databases_are_out_of_reach_even_in_an_allowed_folder(places, open_policy, monkeypatch):
    monkeypatch.setenv("LLMSPELL_HOME", str(places / "allowed"))
    security, context = open_policy()
    for name in ("state.db", "state.db-wal", "runs.db", "rag-default.hnsw"):
        with pytest.raises(SecurityError, match="belongs to the data"):
            security.path(str(places / "allowed" / name), "read", context)
    for name in ("notes.txt", "below/other.db"):
        path = str(places / "allowed" / name)
        assert security.path(path, "write", context) == path


def test_level_above_the_maximum_does_not_run(open_policy):
    security, _ = open_policy(tools={"security": {"max_level": "Restricted"}})
    security.tool("hash_calculator", "restricted")
    security.tool("calculator", "safe")
    with pytest.raises(SecurityError) as caught:
        security.tool("file_operations", "privileged")
    assert str(caught.value) == (
        "Security violation: Tool 'file_operations' requires security level privileged, "
        "which exceeds maximum allowed level restricted"
    )
    assert caught.value.details == {
        "tool": "file_operations",
        "required": "privileged",
        "granted": "restricted",
    }


def test_permission_of_one_tool_limits_that_tool(open_policy):
    security, _ = open_policy(tools={"permissions": {"file-operations": "moderate"}})
    security.tool("other", "privileged")
    with pytest.raises(SecurityError, match="exceeds maximum allowed level restricted") as caught:
        security.tool("file_operations", "privileged")
    assert "tools.permissions.file_operations" in caught.value.hint


def test_permission_cannot_raise_the_maximum(open_policy):
    security, _ = open_policy(
        tools={"security": {"max_level": "safe"}, "permissions": {"x": "dangerous"}}
    )
    with pytest.raises(SecurityError, match="exceeds maximum allowed level safe"):
        security.tool("x", "restricted")


def test_everything_runs_by_default(open_policy):
    security, _ = open_policy()
    for level in ("safe", "restricted", "privileged"):
        security.tool("any", level)


@pytest.mark.parametrize(
    ("tools", "phrase"),
    [
        ({"security": {"max_level": "previleged"}}, "tools.security.max_level"),
        ({"permissions": {"x": "never"}}, "tools.permissions.x"),
        ({"permissions": "safe"}, "must be a table"),
    ],
)
def test_wrong_level_in_the_configuration_is_named(open_policy, tools, phrase):
    security, _ = open_policy(tools=tools)
    with pytest.raises(ConfigurationError, match=phrase):
        security.tool("x", "safe")


def test_two_sets_of_services_have_policies_of_their_own(places):
    one = Services({"tools": {"file_operations": {"allowed_paths": [str(places / "allowed")]}}})
    two = Services({"tools": {"file_operations": {"allowed_paths": [str(places / "secret")]}}})
    path = str(places / "secret" / "x")
    assert two.security.path(path, "write", ExecutionContext(two)) == path
    with pytest.raises(SecurityError):
        one.security.path(path, "write", ExecutionContext(one))
