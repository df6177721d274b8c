"""The words about tasks."""

from runner.language.task_index import Parameter, Task
from runner.views.task_list import task_list


def test_tasks_are_listed_with_their_parameters_and_first_line() -> None:
    url, timeout = Parameter(name="url", annotation="str"), Parameter(name="timeout", required=False, default="10")
    get = Task(name="http.get", module="web", parameters=(url, timeout), summary="Get a URL.")
    anything = Task(name="any", module="web", takes_any=True)
    assert task_list([get, anything]).splitlines() == [
        "any",
        "    and any other name",
        "",
        "http.get  Get a URL.",
        "    url: str",
        "    timeout = 10",
    ]
