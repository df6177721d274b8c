"""The environment and pyproject.toml to Settings: `RUNNER_*` first, then `[tool.runner]`, then the defaults."""

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from runner.errors import InvalidSettings
from runner.settings.broker_url import celery_url, without_password

MIB = 1024 * 1024
TEN_YEARS = 10 * 365 * 24 * 3600  # seconds; the broker accepts no unlimited number


def read_settings(**overrides: Any) -> "Settings":
    """Read the settings of this process.

    Args:
        overrides: of the command line, by the names of the fields; None leaves a field to the environment.

    Raises:
        InvalidSettings: with every invalid value, and where it is set.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [
            f"{_place(fault['loc'], overrides)}: {_reason(fault)}"
            for fault in error.errors(include_url=False, include_context=False)
        ]
        raise InvalidSettings("\n".join(lines)) from None  # Pydantic's message would show the password of a URL


def unknown_variables() -> dict[str, str]:
    """Return the variables of the environment that look like a misspelt setting, each with the setting.

    Other programs set variables with the same prefix: GitHub Actions sets RUNNER_OS, RUNNER_TEMP and more.
    """
    names = {f"RUNNER_{name.upper()}" for name in Settings.model_fields}
    unknown = [name for name in sorted(os.environ) if name.startswith("RUNNER_") and name not in names]
    near = {name: difflib.get_close_matches(name, names, n=1, cutoff=0.85) for name in unknown}
    return {name: matches[0] for name, matches in near.items() if matches}


def _words(value: Any) -> Any:
    """Read a list: `["a", "b"]`, or `a,b` as a user types it into a shell."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.startswith("[") else split_words(value)


def split_words(words: str) -> list[str]:
    """Split a list at its commas, without the spaces: `a, b` are two queues, and no queue is called " b"."""
    return [word.strip() for word in words.split(",") if word.strip()]


def _state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "celery-collectors"


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """How this installation runs any workflow. Each field is a variable `RUNNER_…`, in capitals."""

    # GitHub Actions sets RUNNER_OS, _ARCH, _NAME, _TEMP, _TOOL_CACHE, _DEBUG, _ENVIRONMENT: no field may have such a name.
    model_config = SettingsConfigDict(
        env_prefix="RUNNER_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    broker_url: str | None = Field(
        None, repr=False, description="Redis or Valkey to use. Without it, a private Valkey in the state directory."
    )
    insecure: bool = Field(False, description="Accept a broker at a public address that asks for no password.")
    state_dir: Path = Field(
        default_factory=_state_dir, validate_default=True, description="Where the private Valkey keeps its data."
    )
    include: Words = Field(
        [], description="Modules with Celery tasks: a worker imports them, a workflow may name their tasks."
    )
    tasks: Words = Field([], description='Names of tasks that workers elsewhere offer; "myapp.*" is a pattern.')
    queue: str = Field("celery", pattern=r"^[\w.:-]+$", description="The Celery queue for steps that name none.")
    concurrency: int | None = Field(
        None, ge=1, description="Steps that a worker executes at once. Default: its CPUs, at least 4."
    )
    key_prefix: str = Field("runner", pattern=r"^[\w.:-]+$", description="Prefix of our keys in the broker.")
    ttl: int = Field(
        7 * 24 * 3600, ge=60, le=TEN_YEARS, description="Seconds that a run is kept after its last change."
    )
    lease: float = Field(
        30.0, ge=1, le=3600, description="Seconds without a heartbeat until a step is released to another worker."
    )
    visibility: float = Field(
        3600.0,
        ge=1,
        le=TEN_YEARS,
        description="Seconds until an unacknowledged message is delivered again; leases do not wait for it.",
    )
    reconcile_every: float = Field(
        2.0, gt=0, le=3600, description="Seconds between two checks for lost and overdue steps."
    )
    grace: float = Field(
        3.0,
        gt=0,
        le=24 * 3600,
        description="Seconds without an event until a step that did not start is sent again; doubled each time.",
    )
    wait_for_task: float = Field(
        3600.0,
        ge=0,
        le=TEN_YEARS,
        description="Seconds that a step waits for a worker that has its task, until it fails.",
    )
    value_limit: int = Field(5 * MIB, ge=1, description="Bytes of JSON that a step may return.")
    fan_in_limit: int = Field(256 * MIB, ge=1, description="Bytes of JSON that a gather may receive.")

    @property
    def slots(self) -> int:
        """Steps that a worker executes at once."""
        return self.concurrency or max(4, os.cpu_count() or 1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, _project_table(_project_file()))

    @field_validator("broker_url")
    @classmethod
    def _as_celery_takes_it(cls, url: str | None) -> str | None:
        return url and celery_url(url)

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()


def _project_file() -> Path | None:
    directory = Path.cwd()
    return next(
        (path for folder in (directory, *directory.parents) if (path := folder / "pyproject.toml").is_file()), None
    )


def _project_table(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("tool")
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{path}: {error}") from error
    table = tools.get("runner", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise InvalidSettings(f"{path}: [tool.runner] is a table of settings, not {table!r}")
    if isinstance(state_dir := table.get("state_dir"), str) and not state_dir.startswith("~"):
        table["state_dir"] = path.parent / state_dir  # relative to the file, as for ruff and pytest
    return table


def _place(loc: tuple[int | str, ...], overrides: dict[str, Any]) -> str:
    """Return where an invalid value is set, and the value."""
    name = str(loc[0])
    if overrides.get(name) is not None:
        return f"{name} = {_shown(overrides[name])}"
    variables = {variable.upper(): text for variable, text in os.environ.items()}  # Pydantic accepts both cases
    if variables.get(variable := f"RUNNER_{name.upper()}"):
        return f"{variable}={_shown(variables[variable])}"
    path = _project_file()
    return f"{path}: [tool.runner] {name} = {_shown(_project_table(path).get(name))}"


def _shown(value: Any) -> str:
    return without_password(json.dumps(value, default=str, ensure_ascii=False))[:200]


def _reason(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(fault["loc"][0]), Settings.model_fields, n=1)
        return "no such setting" + (
            f'; did you mean "{near[0]}"?' if near else f"; the settings are {', '.join(Settings.model_fields)}"
        )
    return str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
