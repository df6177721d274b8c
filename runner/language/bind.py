"""A plan and a user's inputs to a plan that can be run: the inputs bound, the items counted, every expression tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.language import foreach
from runner.language.conditions import holds
from runner.language.faults import Fault, InvalidExpression, InvalidInput, InvalidInputs, InvalidWorkflow
from runner.language.layout import Layout
from runner.language.plan import Plan, Step, arguments
from runner.language.redact import redact_line
from runner.language.steps import fan_outs, strings, walk
from runner.text import echo, listed, nearest

if TYPE_CHECKING:  # it takes 0.1 s to import the models of the language, and who calls this has them already
    from runner.language import spec
    from runner.language.source import Source

# Values of the right type, which are not known yet.
_RUN: dict[str, Any] = {"id": "0", "started_at": "1970-01-01T00:00:00+00:00", "status": "", "cause": "", "attempt": 1}
_TRIED = 20  # items of a `foreach` whose arguments are evaluated before a run


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A plan that can be run.

    Args:
        plan: with its inputs.
        layout: how many collectors each stands for with these inputs, and which are skipped; nothing of messages.
    """

    plan: Plan
    layout: Layout


def bind(
    plan: Plan,
    workflow: spec.Workflow,
    given: Mapping[str, Any],
    source: Source,
    *,
    words: Mapping[str, Any] | None = None,
) -> Bound:
    """Bind the inputs: the user's values, checked against their declarations, and the defaults of the others.

    Args:
        given: JSON values by the input's name.
        words: the texts of a command line, by the input's name: ``"5"`` is a number there. They precede ``given``.

    Raises:
        InvalidInputs: one is missing, unknown or does not fit; the message has all of them.
        InvalidWorkflow: with these inputs, an expression cannot be evaluated, or the items of a ``foreach`` cannot be used.
    """
    bound: dict[str, Any] = {}
    words = words or {}
    problems = [_unknown(name, workflow) for name in {**given, **words} if name not in workflow.inputs]
    for name, declared in workflow.inputs.items():
        if name in words or name in given:
            try:
                bound[name] = declared.accept({**given, **words}[name], from_text=name in words)
            except InvalidInput as problem:
                problems.append(f'input "{name}": {problem}')
        elif declared.required:
            problems.append(f'input "{name}" is missing: give --{name.replace("_", "-")} {declared.type.upper()}')
        else:
            bound[name] = declared.default
    if problems:
        raise InvalidInputs("\n".join(problems))
    plan = replace(plan, inputs=bound)
    layout = foreach.count_items(plan, source)
    # A fault of a default is one of every step, and is reported once.
    if faults := tuple(
        dict.fromkeys(
            [
                *_expression_faults(plan, source),
                *_condition_faults(plan, source),
                *_min_success_faults(plan, layout, source),
            ]
        )
    ):
        raise InvalidWorkflow(faults)
    return Bound(plan=plan, layout=layout)


def _expression_faults(plan: Plan, source: Source) -> Iterator[Fault]:
    """Evaluate every expression once, so that a fault that can be known before a run is reported before it."""
    run = _RUN | {"name": plan.name}
    for written in walk(source.data):
        step = plan.by_id[written.id]
        called = [(written, step), *zip(written.thens(), step.then, strict=True)]
        expressions = [
            (stated, *each) for stated, call in called for each in strings(call.arguments) if "${{" in each[1]
        ]
        steps = list(_first(plan, step)) if expressions else []
        for stated, (name, *within), text in expressions:
            if _is_later(text):
                continue
            try:
                for each in steps:
                    arguments(plan, replace(each, arguments={"": text}), run)
            except InvalidExpression as problem:
                _, loc = (stated.arguments() or {})[str(name)]
                yield Fault("E038", redact_line(str(problem), plan), source.place((*loc, *within)), problem.hint)


def _condition_faults(plan: Plan, source: Source) -> Iterator[Fault]:
    """Do the same with ``when`` of stages; that of collectors has been evaluated, as it says how many there are."""
    written = [(each.id, each.value("when")) for each in walk(source.data) if each.kind in {"stage", "hook"}]
    written += [(each.data.get("id"), each.value("when", source.data)) for each in fan_outs(source.data) if each.loc]
    for step_id, (_, loc) in written:
        condition = plan.by_id[step_id].when
        if condition is None or _is_later(condition):
            continue
        try:
            holds(condition, {"inputs": plan.inputs, "run": _RUN | {"name": plan.name}})
        except InvalidExpression as problem:
            yield Fault("E038", redact_line(str(problem), plan), source.place(loc), problem.hint)


def _is_later(written: Any) -> bool:
    """Whether an expression names what is known once the run is there."""
    return any(foreach.names_root(written, name) for name in ("value", "coverage", "missing", "error"))


def _first(plan: Plan, step: Step) -> Iterable[Step]:
    """Return the step, or the first of its items' collectors."""
    if step.foreach is None:
        return [step]
    if foreach.names_value(step):
        return []
    return map(step.of, islice(foreach.items(plan, step), _TRIED))


def _min_success_faults(plan: Plan, layout: Layout, source: Source) -> Iterator[Fault]:
    """`checks` reports a number that is too large, but where items are counted with the inputs, or collectors skipped."""
    written = {each.id: each for each in walk(source.data)}
    for fan_out in plan.fan_outs:
        if not all(map(layout.is_counted, fan_out.collectors)):
            continue
        least, total = layout.least(fan_out), layout.total(fan_out)
        if least is not None and least > total and any(step.foreach or step.when for step in fan_out.collectors):
            loc = (*written[fan_out.id].loc, "min_success")
            left_out = [echo(step.id) for step in fan_out.collectors if step.id in layout.skipped]
            empty = [echo(step.id) for step in fan_out.collectors if step.foreach and not layout.counts[step.id]]
            reasons = [f"no items for {listed(empty)}"] if empty else []
            reasons += [f"`when` skips {listed(left_out)}"] if left_out else []
            why = f": {'; '.join(reasons)}" if reasons else ""
            message = f"expected at most {total:,}, the number of collectors, found {least:,}{why}"
            yield Fault("E028", message, source.place(loc))


def _unknown(name: str, workflow: spec.Workflow) -> str:
    near = nearest(name, workflow.inputs)
    hint = f'did you mean "{near}"?' if near else f"the workflow has {listed(list(workflow.inputs)) or 'none'}"
    return f"input {echo(name)} is unknown: {hint}"
