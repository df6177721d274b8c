"""A task to an example of it."""

import pytest
import yaml

from runner.language import examples
from runner.language.source import parse_source
from runner.language.task_index import Parameter, Task, offered_modules, read_tasks
from runner.language.workflow_file import check
from runner.settings import Settings

BUILT_IN = read_tasks(offered_modules(Settings()))
REST = {
    "collectors": "name: x\n",
    "gather": "name: x\ncollectors: [{id: a, task: collector_1, with: {topic: x}}]\n",
    "stages": "name: x\ncollectors: [{id: a, task: collector_1, with: {topic: x}}]\n",
}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_the_example_of_a_built_in_task_is_valid(name: str) -> None:
    example = examples.example(BUILT_IN[name])
    check(parse_source(REST[example.partition(":")[0]] + example, "x.yaml"), BUILT_IN).plan()


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("http.get", "collector"),
        ("command.run", "collector"),
        ("gather.concat", "gather"),
        ("collector_gathering", "gather"),
        ("records.sort", "stage"),
        ("write.csv", "stage"),
        ("cleanup", "stage"),
        ("notify.webhook", "stage"),
        ("notify.email", "stage"),
    ],
)
def test_the_example_of_a_task_is_a_step_that_it_is_for(name: str, role: str) -> None:
    assert examples.role(BUILT_IN[name]) == role


def test_an_example_needs_nothing_that_has_a_default() -> None:
    parameters = (
        Parameter(name="url", annotation="str"),
        Parameter(name="format", annotation="Literal['json']", required=False, default="'json'"),
    )
    assert examples.example(Task(name="shop.prices", module="shop", parameters=parameters)).splitlines() == [
        "collectors:",
        "  - id: shop_prices",
        "    task: shop.prices",
        "    with:",
        "      url: https://example.org/items.json",
    ]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("str", "text"),
        ("int", 1),
        ("float | None", 1.5),
        ("bool", True),
        ("list[int]", ["text"]),
        ("dict[str, Any]", {"name": "text"}),
        ("Literal['no', 'yes']", "no"),
        ("Literal[3]", 3),
        ("", "text"),
    ],
)
def test_an_example_has_a_value_of_the_type(annotation: str, value: object) -> None:
    written = yaml.safe_load(
        examples.example(Task(name="a", module="m", parameters=(Parameter(name="what", annotation=annotation),)))
    )
    assert written["collectors"][0]["with"] == {"what": value}
