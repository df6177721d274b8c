"""The values of a checked workflow."""

import pytest

from runner.language import spec
from runner.language.faults import InvalidWorkflow
from runner.language.source import parse_source, read_source
from runner.language.spec import read_workflow
from runner.language.task_index import Task, TaskIndex, read_tasks
from tests.command_line import ROOT

PURE = read_tasks(["pure_tasks"], [ROOT / "tests"])


def read(text: str) -> spec.Workflow:
    return read_workflow(parse_source(text, "good.yaml"), PURE)


def collector(keys: str) -> spec.Collector:
    return read(f"name: good\ncollectors: [{{id: a, task: pure.echo, with: {{value: 1}}, {keys}}}]").collectors[0]


def codes(text: str) -> list[str]:
    with pytest.raises(InvalidWorkflow) as raised:
        read(text)
    return [fault.code for fault in raised.value.faults]


def test_the_shipped_workflow_is_valid() -> None:
    path = ROOT / "workflows" / "default.yaml"
    workflow = read_workflow(read_source(str(path)), read_tasks(["runner.tasks"], [ROOT]))
    assert [each.id for each in workflow.collectors] == ["collector_1", "collector_2", "collector_3"]
    assert workflow.gather is not None
    assert workflow.gather.step_id == "collector_gathering"
    assert workflow.collectors[0].with_ == {"topic": "${{ inputs.topic }}"}


def test_the_smallest_workflow_has_a_name_and_a_collector() -> None:
    workflow = read("name: small\ncollectors:\n- {id: a, task: pure.echo, with: {value: 1}}")
    assert (workflow.gather, workflow.stages, workflow.inputs, workflow.include) == (None, [], {}, [])


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("90", 90),
        ("0.001", 0.001),
        ("24h", 86400),
        ("1m1ms", 60.001),
    ],
)
def test_a_duration_is_a_number_of_seconds(written: str, seconds: float) -> None:
    assert collector(f"timeout: {written}").timeout == pytest.approx(seconds)


def test_a_retry_may_be_a_number() -> None:
    assert collector("retry: 5").retry == spec.Retry(max_retries=5)


def test_a_retry_says_when() -> None:
    retry = collector(
        "retry: {delay: 0, max_delay: 1m, jitter: 0.5, on: http_5xx, not_on: [ValueError, httpx.ReadTimeout]}"
    ).retry
    assert retry is not None
    assert (retry.max_retries, retry.delay, retry.max_delay, retry.jitter) == (3, 0, 60, 0.5)
    assert (retry.on, retry.not_on) == (["http_5xx"], ["ValueError", "httpx.ReadTimeout"])


def test_the_key_on_of_a_retry_is_not_a_boolean() -> None:
    retry = (
        read("name: a\ncollectors:\n- id: a\n  task: pure.echo\n  with: {value: 1}\n  retry:\n    on: TimeoutError\n")
        .collectors[0]
        .retry
    )
    assert retry is not None
    assert retry.on == ["TimeoutError"]


def test_an_explicit_null_is_distinguished_from_a_key_left_out() -> None:
    assert "timeout" in collector("timeout: null").model_fields_set
    assert "timeout" not in collector("priority: 1").model_fields_set


def test_a_section_with_everything_commented_out_is_empty() -> None:
    workflow = read(
        "name: a\ninclude:\ninputs:\ndefaults:\ncollectors:\n- id: a\n  task: pure.gather_text\n  with:\n    values: []\nstages:\n"
    )
    assert (workflow.include, workflow.inputs, workflow.stages) == ([], {}, [])


def test_a_task_may_come_from_the_defaults() -> None:
    workflow = read(
        "name: a\ndefaults: {collectors: {task: pure.add, with: {a: 1}}}\ncollectors:\n- id: a\n- {id: b, with: {b: 2}}"
    )
    assert [each.task for each in workflow.collectors] == ["pure.add", "pure.add"]


@pytest.mark.parametrize(
    ("task", "step_id"),
    [("gather.concat", "gather_concat"), ("my.App.Work", "my_app_work"), ("9.é", "gather"), ("x" * 80, "x" * 63)],
)
def test_a_gather_without_an_id_has_one_made_of_its_task(task: str, step_id: str) -> None:
    assert spec.Gather(task=task).step_id == step_id


def test_an_unreadable_include_hides_no_task_of_its_own() -> None:
    known = read_tasks(["pure_tasks", "nowhere"], [ROOT / "tests"])
    written = parse_source("name: a\ninclude: [nowhere]\ncollectors: [{id: a, task: nowhere.task}]", "bad.yaml")
    with pytest.raises(InvalidWorkflow) as raised:
        read_workflow(written, known)
    assert [fault.code for fault in raised.value.faults] == ["E036"]


def test_a_task_that_workers_elsewhere_offer_is_known_by_its_name_alone() -> None:
    written = parse_source(
        "name: a\ncollectors: [{id: a, task: far.away, with: {x: 1}}]\ngather: {task: far.off}", "good.yaml"
    )
    assert read_workflow(written, read_tasks([], [], ["far.*"]))


def test_a_value_that_is_wrong_twice_is_one_fault() -> None:
    assert codes("name: a\ncollectors: [{id: a, task: pure.greet, with: {name: 99999999999999999999}}]") == ["E007"]
    assert codes("name: a\ncollectors: [{id: a, task: pure.echo, with: {valeu: 1}}]") == ["E027"]
    assert codes("name: '${{ inputs.x }}'\ncollectors: [{id: a, task: pure.echo, with: {value: 1}}]") == ["E026"]


def test_at_most_a_thousand_faults_are_reported() -> None:
    text = "name: a\ncollectors:\n" + "".join(f"- {{id: a{at}, task: no_{at}}}\n" for at in range(2_000))
    assert len(codes(text)) == 1_000


@pytest.mark.parametrize("key", ["cache", "fallback", "expect", "state"])
def test_keys_of_later_versions_of_the_language_are_unknown(key: str) -> None:
    assert codes(f"name: a\ncollectors: [{{id: a, task: pure.echo, with: {{value: 1}}, {key}: 1}}]") == ["E020"]


def test_the_deadline_of_a_gather_is_a_duration() -> None:
    gather = read(
        "name: a\ncollectors: [{id: a, task: pure.echo, with: {value: 1}}]\n"
        "gather: {task: pure.gather_text, deadline: 1m30s}"
    ).gather
    assert gather is not None
    assert gather.deadline == 90


def test_an_input_is_required_unless_it_has_a_default() -> None:
    inputs = read(
        "name: a\ninputs: {a: , b: {default: x}, c: {required: false}, d: {default: null}}\n"
        "collectors: [{id: a, task: pure.echo, with: {value: 1}}]"
    ).inputs
    assert {name: declared.required for name, declared in inputs.items()} == {
        "a": True,
        "b": False,
        "c": False,
        "d": False,
    }


def test_a_default_that_would_take_minutes_to_match_is_not_matched() -> None:
    """Such a pattern and 60,000 characters took 285 s, although Rust's regular expressions are linear."""
    text = f"inputs: {{a: {{pattern: '((a{{1,100}}){{1,100}}){{1,10}}b', default: {'a' * 60_000}}}}}"
    assert read(f"name: a\n{text}\ncollectors: [{{id: a, task: pure.echo, with: {{value: 1}}}}]")


def test_every_key_of_the_schema_is_described() -> None:
    schema = spec.schema()
    models = [schema, *schema["$defs"].values()]
    undescribed = [name for model in models for name, key in model["properties"].items() if not key.get("description")]
    assert (schema["$schema"], undescribed) == ("https://json-schema.org/draft/2020-12/schema", [])


def test_the_schema_knows_every_key_of_the_shipped_workflow() -> None:
    schema = spec.schema()
    data = read_source(str(ROOT / "workflows" / "default.yaml")).data
    definitions = schema["$defs"]
    assert data.keys() <= schema["properties"].keys()
    assert data["collectors"][0].keys() <= definitions["Collector"]["properties"].keys()
    assert data["gather"].keys() <= definitions["Gather"]["properties"].keys()
    assert data["defaults"]["collectors"]["retry"].keys() <= definitions["Retry"]["properties"].keys()


def test_the_schema_takes_durations_as_text_and_as_numbers() -> None:
    timeout = spec.schema()["$defs"]["Collector"]["properties"]["timeout"]["anyOf"]
    assert {each["type"] for option in timeout for each in option.get("anyOf", [option])} == {
        "string",
        "number",
        "null",
    }


def test_a_stage_whose_task_has_no_parameters_is_said_to_have_none() -> None:
    """The hint said that its parameters are keyword-only."""
    known = TaskIndex(tasks={"ping": Task(name="ping", module="mine")})
    written = parse_source("name: x\ncollectors: [{id: a, task: ping}]\nstages: [{id: b, task: ping}]\n", "x.yaml")
    with pytest.raises(InvalidWorkflow) as raised:
        read_workflow(written, known)
    assert [fault.hint for fault in raised.value.faults] == ["it has no parameters: use it in a collector"]
