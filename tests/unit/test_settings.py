"""The sources of a setting, their precedence, and the errors of bad values."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import InvalidSettings
from runner.settings import read_settings, split_words, unknown_variables


@pytest.fixture
def project(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's directory, two levels above the working directory."""
    folder = own_directory / "project"
    (folder / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(folder / "src" / "deep")
    return folder


def write(project: Path, table: str) -> Path:
    path = project / "pyproject.toml"
    path.write_text(table, encoding="utf-8")
    return path


def test_without_any_setting_the_broker_is_the_embedded_one_in_the_home_directory() -> None:
    found = read_settings()

    assert found.broker_url is None
    assert found.state_dir == Path.home() / ".local" / "state" / "celery-collectors"


def test_the_state_directory_follows_xdg_state_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/me")

    assert read_settings().state_dir == Path("/var/lib/me/celery-collectors")


def test_the_nearest_pyproject_upwards_is_read(project: Path) -> None:
    write(project, "[tool.runner]\nqueue = 'reports'\n")

    assert read_settings().queue == "reports"


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.ruff]\nline-length = 99\n", "tool = 3\n"])
def test_a_pyproject_without_our_table_says_nothing(project: Path, text: str) -> None:
    write(project, text)

    assert read_settings().queue == "celery"


def test_the_environment_goes_before_pyproject(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "[tool.runner]\nqueue = 'reports'\nlease = 5\n")
    monkeypatch.setenv("RUNNER_QUEUE", "urgent")

    found = read_settings()

    assert (found.queue, found.lease) == ("urgent", 5.0)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_QUEUE", "urgent")

    assert read_settings(queue="mine", broker_url=None).queue == "mine"


def test_an_empty_variable_of_a_setting_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_BROKER_URL", "")

    assert read_settings().broker_url is None


def test_variables_of_github_actions_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_OS", "Linux")
    monkeypatch.setenv("RUNNER_TEMP", "/tmp")

    assert read_settings()


@pytest.mark.parametrize("text", ["a,b.c", " a , b.c ,", '["a", "b.c"]'])
def test_a_setting_that_is_a_list_is_words_with_commas_or_json_in_the_environment(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_INCLUDE", text)

    assert read_settings().include == ["a", "b.c"]


def test_a_state_directory_in_pyproject_is_beside_pyproject(project: Path) -> None:
    write(project, "[tool.runner]\nstate_dir = '.state'\n")

    assert read_settings().state_dir == project / ".state"


def test_a_state_directory_in_the_environment_is_below_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_STATE_DIR", ".state")

    assert read_settings().state_dir == project / "src" / "deep" / ".state"


def test_a_setting_with_a_bad_value_in_the_environment_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNNER_LEASE", "soon")

    with pytest.raises(InvalidSettings, match=r'^RUNNER_LEASE="soon": should be a valid number') as refused:
        read_settings()

    assert refused.value.exit_code == 2


def test_a_setting_with_a_bad_value_in_pyproject_is_named_with_its_file(project: Path) -> None:
    path = write(project, "[tool.runner]\nconcurrency = 0\n")

    with pytest.raises(InvalidSettings) as refused:
        read_settings()

    assert str(refused.value) == f"{path}: [tool.runner] concurrency = 0: should be greater than or equal to 1"


def test_an_unknown_setting_in_pyproject_is_refused_with_the_nearest_name(project: Path) -> None:
    write(project, "[tool.runner]\nconcurency = 2\n")

    with pytest.raises(InvalidSettings, match=r'no such setting; did you mean "concurrency"\?'):
        read_settings()


def test_all_bad_settings_are_reported_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "[tool.runner]\nlease = -1\nqueue = 'two words'\n")
    monkeypatch.setenv("RUNNER_TTL", "a week")

    with pytest.raises(InvalidSettings) as refused:
        read_settings()

    assert [line.split(":")[0] for line in str(refused.value).splitlines()].count(f"{project / 'pyproject.toml'}") == 2
    assert "RUNNER_TTL" in str(refused.value)


@pytest.mark.parametrize("text", ["[tool.runner", "[tool]\nrunner = 3\n"])
def test_a_broken_pyproject_is_named(project: Path, text: str) -> None:
    path = write(project, text)

    with pytest.raises(InvalidSettings, match=str(path)):
        read_settings()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://db", "supported are redis://"),
        ("db:6379", "a URL has a scheme: redis://db:6379"),
        ("sentinel://db", "supported are redis://"),
        ("redis://db:port", "not a URL"),
        ("redis://db:6379/zero", "number of a database"),
        ("redis://db?timeout=3", 'unknown option "timeout"'),
        ("redis://db;redis://db2", "percent-encoded"),
        ("unix://redis.sock", "path of a socket is absolute"),
    ],
)
def test_a_broker_url_that_is_not_supported_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidSettings, match=reason):
        read_settings(broker_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@db:port",
        "redis://user:s3cret@db/x",
        "redis://:s3cr/et@s3cret@db",
        "redis://:s3cret#@db",
        "amqp://u:s3cret@db",
        "redis://db?password=s3cret",
        ":s3cret@db:6379/0",
        "user:s3cret@db:6379/0",
        "redis:/:s3cret@db:6379/0",
        "redis:///user:s3cret@db:6379/0",
        ":s3cret://s3cret@db",
    ],
)
def test_the_password_of_a_refused_broker_url_is_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_BROKER_URL", url)

    with pytest.raises(InvalidSettings) as refused:
        read_settings()

    assert "s3cr" not in str(refused.value)


def test_the_password_of_the_broker_is_not_in_the_settings_as_text() -> None:
    assert "s3cret" not in repr(read_settings(broker_url="redis://:s3cret@db"))


def test_reading_settings_imports_neither_celery_nor_redis() -> None:
    code = "import sys, runner.settings; print(sorted({'celery', 'kombu', 'redis'} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["reconcile_every", "grace", "visibility", "lease", "wait_for_task"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_setting_in_seconds_is_finite(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`RUNNER_RECONCILE_EVERY=inf` was taken, and nothing that was lost was ever looked for."""
    monkeypatch.setenv(f"RUNNER_{name.upper()}", value)
    with pytest.raises(InvalidSettings, match=f'RUNNER_{name.upper()}="{value}"'):
        read_settings()


def test_the_words_of_a_setting_that_is_a_list_are_stripped() -> None:
    assert split_words(" a, b ,,c") == ["a", "b", "c"]


def test_a_broker_without_a_scheme_is_shown_with_one() -> None:
    with pytest.raises(InvalidSettings, match="redis://localhost:6399"):
        read_settings(broker_url="localhost:6399")


@pytest.mark.parametrize(
    ("variable", "setting"), [("RUNNER_LEASES", "RUNNER_LEASE"), ("RUNNER_BROKER", "RUNNER_BROKER_URL")]
)
def test_a_variable_that_is_like_a_setting_is_taken_for_a_misspelt_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, setting: str
) -> None:
    monkeypatch.setenv(variable, "x")
    assert unknown_variables()[variable] == setting


@pytest.mark.parametrize(
    "variable",
    [
        "RUNNER_QUEUE",
        "RUNNER_OS",
        "RUNNER_ARCH",
        "RUNNER_NAME",
        "RUNNER_TEMP",
        "RUNNER_TOOL_CACHE",
        "RUNNER_DEBUG",
        "RUNNER_ENVIRONMENT",
    ],
)
def test_a_setting_and_what_github_actions_sets_are_no_misspelt_ones(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """They begin as ours do."""
    monkeypatch.setenv(variable, "x")
    assert variable not in unknown_variables()
