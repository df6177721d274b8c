"""A defence taken out of the code to the fault test that fails then: what each of them proves, and that it does.

    pytest -m soak tests/faults/test_defences.py -k F06

Each line of the table is tried on a copy of the project in which a few words are others. Words that are not there exactly
once fail in the tests of every day, as does a test of a fault case without a line, so that the table stays true.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import ROOT


@dataclass(frozen=True, slots=True)
class Change:
    """Words in a file of the project, and what stands there instead."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that fails without a defence.

    Args:
        case: of the fault list, and a word where it has several.
        test: its name.
        without: what makes the defence; all of it, where one stands behind the other.
        says: how the test fails, as a pattern: for this reason, and not because nothing works any more.
    """

    case: str
    test: str
    without: tuple[Change, ...]
    says: str


# What is lost is sent again. Celery's own last resort, the visibility timeout, would find some of it as well: after ten
# seconds in these tests, after an hour by default.
RECONCILER = Change("runner/worker/reconcile.py", "if due and ((sweep.lost", "if False and ((sweep.lost")
VISIBILITY = Change("tests/faults/flow.py", '"RUNNER_VISIBILITY": "10"', '"RUNNER_VISIBILITY": "3600"')
# A run that cannot be read is its own problem; nothing ends the thread; what is missing is missed.
ONE_BAD = (
    Change(
        "runner/worker/reconcile.py",
        "            except UnreadableRun as error:",
        "            except ZeroDivisionError as error:",
    ),
    Change(
        "runner/worker/reconcile.py",
        "            except Exception as error:",
        "            except ArithmeticError as error:",
    ),
)
TOGETHER = Change("runner/ledger/ledger.py", "answers = pipe.execute(raise_on_error=False)", "answers = pipe.execute()")
THREAD = Change(
    "runner/worker/reconcile.py", "except BaseException as error:", "except (redis.RedisError, OSError) as error:"
)
MISSED_VALUE = Change("runner/ledger/ledger.py", "if len(texts) < len(wanted):", "if False:")
MISSED_BEFORE = Change("runner/worker/execute.py", "if before and not attempt.claim.before:", "if False:")
MISSED_PLAN = Change(
    "runner/ledger/ledger.py", 'if text is None and self.client.exists(self._key(run_id, "run")):', "if False:"
)
MISSED_ITEMS = Change(
    "runner/worker/execute.py", "    except MissingData as error:", "    except ZeroDivisionError as error:"
)
MISSED_RESULT = Change(
    "runner/ledger/ledger.py", "        if lost := [step for step in without", "        if lost := [step for step in ()"
)
# The ledger's time goes on by the clocks of those who ask, whatever the server's says.
EXPECTED = Change(
    "runner/ledger/scripts.py", "if math.abs(now - tonumber(expected)) > {TOLERANCE} then", "if false then"
)
AGREED = Change("runner/ledger/clock.py", "if expected and math.abs(now - expected) > tolerance", "if false and true")
AWAKE = Change("runner/ledger/clock.py", " and expected > seen - tolerance", "")
# A lease is renewed for as long as the work takes; a step whose leases were lost too often is given up.
LEASES = Change("runner/worker/leases.py", "if steps := list(self.steps):", "if steps := []:")
UNCOUNTED = Change("runner/worker/record.py", "attempt=claim.attempt - claim.lost", "attempt=claim.attempt")
# Whatever ends an execution of a step is one of a list of endings, and has the outcome that stands there.
BASE_EXCEPTIONS = Change(
    "runner/worker/call.py",
    "    except BaseException as error:  # noqa: BLE001 - the user's task",
    "    except Exception as error:  # noqa: BLE001 - the user's task",
)
ONCE_MORE = Change(
    "runner/worker/endings.py", 'Ending.DIED: Rule("failed", "once")', 'Ending.DIED: Rule("failed", "never")'
)
VALID = Change("runner/ledger/exceptions.py", "begin = _SURROGATES.sub(_escaped, text[:limit])", "begin = text[:limit]")
# What is raised where nobody of ours called is no end of a slot, a thread or a message.
RAISING_NOTHING = Change(
    "runner/worker/step_request.py",
    "        except BaseException as error:\n            if endings.is_away(error):",
    "        except OSError as error:\n            if endings.is_away(error):",
)
OWN_CALLBACK = Change("runner/worker/step_request.py", 'if "on_success" in vars(cls):', "if False:")
RENEWAL = Change(
    "runner/worker/leases.py", "            except BaseException as error:", "            except OSError as error:"
)
RESTARTED = Change("runner/worker/leases.py", " or not _renewals[0].thread.is_alive()", "")
RECOVERIES = Change("runner/worker/endings.py", "RECOVERIES = 3 ", "RECOVERIES = 1000 ")
# What became of a process of the pool is recorded by the worker's main process, and its message is not acknowledged.
REQUESTS = Change(
    "runner/worker/execute.py", '"runner.worker.step_request:StepRequest"', '"celery.worker.request:Request"'
)
LATE_ACK = Change("runner/celery_app.py", '"task_acks_late": True', '"task_acks_late": False')
EVERYTHING = (REQUESTS, LATE_ACK, RECONCILER, VISIBILITY)
# A claim asks whether the step has an outcome, whether somebody executes it, and whether the run has ended.
DONE = Change("runner/ledger/scripts.py", "if outcome then return 'd' end", "")
BUSY = Change("runner/ledger/scripts.py", "if is.until_ > now then\n      more", "if false then\n      more")
ENDED = Change("runner/ledger/scripts.py", "if ended then return 'c' end", "")
# The first outcome of a step is the one; after the end of a run there are no others, and it ends once.
FIRST = Change("runner/ledger/scripts.py", "if first or new[step] then", "if new[step] then")
NOT_AFTER_THE_END = Change(
    "runner/ledger/scripts.py", "cjson.decode(ARGV[4])\nif ended then", "cjson.decode(ARGV[4])\nif false then"
)
ENDS_ONCE = Change("runner/ledger/scripts.py", "if not ended then\n  finish_all", "if true then\n  finish_all")
# The ledger is asked again while the broker restarts; what cannot be recorded even so is given back.
AGAIN = Change("runner/brokers/external.py", "Retry(ExponentialBackoff(cap=1, base=0.05), 5,", "Retry(NoBackoff(), 0,")
GIVEN_BACK = Change("runner/worker/execute.py", "raise Reject(str(error), requeue=True) from error", "return")
PATIENCE = Change("runner/ledger/ledger.py", "FOLLOW_PATIENCE = 60.0", "FOLLOW_PATIENCE = 0.0")
CHECKED_WITHIN = Change("runner/brokers/external.py", "outcome.result(CHECK_WITHIN)", "outcome.result()")
ANSWERED_WITHIN = Change(
    "runner/brokers/external.py",
    '"named": True, "socket_timeout": CONNECT_WITHIN',
    '"named": True, "socket_timeout": 9',
)
LOOKED_FOR = Change("runner/runs/follow.py", "            _reconcile(run_id, here, outage)", "            pass")
WATCHED = Change("runner/commands/watch.py", "ledger.run(run_id)  # one that is back", "pass  # one that is back")
KEPT = Change("tests/conftest.py", '"--appendonly", "yes"', '"--appendonly", "no"')
REFUSED_WRITES = Change(
    "runner/celery_app.py", '"broker_channel_error_retry": True', '"broker_channel_error_retry": False'
)
NO_EVICTION = Change("runner/brokers/external.py", '!= "noeviction":', '== "none":')
ADDRESS = Change("runner/messages/dead_letters.py", "self.connection.client or self.address", "self.connection.client")
# An attempt is interrupted at its timeout, and a second later its process is ended.
SOFT_LIMIT = Change(
    "runner/worker/batch.py",
    "call(function, (), arguments, timeout=within.soft",
    "call(function, (), arguments, timeout=None",
)
HARD_LIMIT = Change("runner/messages/canvas.py", 'options["time_limit"] = seconds', "pass")
# Whatever a task raises is an outcome; a file takes its place when it is complete; a command ends with its process.
ANY_ERROR = Change(
    "runner/worker/call.py",
    "    except BaseException as error:  # noqa: BLE001 - the user's task",
    "    except OSError as error:  # noqa: BLE001 - the user's task",
)
BESIDE = Change("runner/collectors/write.py", 'target.parent / f".{secrets.token_hex(8)}.tmp"', "target")
NEW_FILE = Change("runner/collectors/write.py", 'temporary.open("x"', 'temporary.open("w"')
WATCHDOG = Change("runner/collectors/command.py", 'read -r _; kill -s KILL -- "-$group";', "read -r _;")
# What is executed the file says, and no value; a command inherits no secret of the worker.
FROM_THE_FILE = Change(
    "runner/collectors/command.py",
    "    stdin: Any = None,\n    *,\n    argv: list[str],\n",
    "    argv: list[str],\n    *,\n    stdin: Any = None,\n",
)
NO_SECRETS = Change("runner/collectors/command.py", "if any(fnmatchcase(name, pattern) for pattern in patterns)", "")
# What comes from outside is shown and not obeyed, and a secret is shown nowhere.
SAFE_HELP = Change("runner/cli.py", "super().write(text.safe(string))", "super().write(string)")
SAFE_USAGE = Change("runner/cli.py", "text.printable(error.format_message())", "error.format_message()")
UNQUOTED = Change("runner/language/source.py", "if secret or _SECRET_KEY.search(content):", "if False:")
REDACTED_LOG = Change(
    "runner/worker/record.py", "mask.line(result.error.message, attempt.plan)", "result.error.message"
)
CLEAN_RECORDS = Change(
    "runner/worker/log_records.py",
    "    if not isinstance(made, CleanRecords):",
    "    if False:",
)
ENCODED = Change("runner/language/redact.py", '"".join(map(_ways,', '"".join(map(re.escape,')
# Messages that no worker can read are kept.
CONSUMER = Change(
    "runner/celery_app.py", '"runner.messages.dead_letters:Consumer"', '"celery.worker.consumer:Consumer"'
)
HEADERS = Change("runner/messages/dead_letters.py", "        _check_headers(message.headers)\n", "")
BURIED = Change("runner/messages/dead_letters.py", "if not requeue and message is not None:", "if False:")
NO_SUCH_RUN = Change("runner/worker/execute.py", "raise Reject(str(error), requeue=False) from error", "return")
OURS_ALONE = Change("runner/messages/dead_letters.py", " if name in {COLLECT, GATHER, STAGE} else None", "")
BROADCASTS = Change(
    "runner/messages/dead_letters.py", "            return True  # not kept, as each worker has it", "            raise"
)
TRIMMED = Change("runner/messages/dead_letters.py", "        pipe.ltrim(key(chosen), 0, KEPT - 1)\n", "")
# A plan is read once; here it is read from the file, whenever a worker first meets the run.
PINNED = Change(
    "runner/worker/process.py",
    "    return ledger().plan(run_id)",
    """    from runner import bind, catalogue, source, spec, plan as plans
    kept = ledger().plan(run_id)
    written = source.read(kept.directory + "/small.yaml")
    workflow = spec.read(written, catalogue.of(written, settings()))
    now = bind.bind(plans.make(workflow, written), workflow, kept.inputs, written)
    return plans.route(now, "celery", everything=True)""",
)
# What a worker lacks is left to another: while there is one, for so long, and not after the end of the run.
LEFT = Change("runner/worker/execute.py", "if step.task is None or step.task in here.app().tasks or", "if True or")
OFFERED = Change("runner/worker/execute.py", "if waits is False and ledger.is_offered(offered):", "if False:")
LIMIT = Change("runner/worker/execute.py", "    return seconds if waits else None", "    return seconds")
UNWANTED = Change(
    "runner/worker/execute.py", "return seconds if waits else None", "return None if waits is False else seconds"
)
# Who ends with whom. Celery finishes what is being executed when it is told to end, unless that signal means another.
WARM = Change("tests/workers.py", "env=os.environ | env,", 'env=os.environ | env | {"REMAP_SIGTERM": "SIGQUIT"},')
TETHER = Change("runner/commands/worker.py", "        worker.end_with_parent(tether)", "        pass")
KEEPER = Change(
    "runner/brokers/keeper.py", "fcntl.flock(os.open(users_lock, os.O_RDWR), fcntl.LOCK_EX)", "signal.pause()"
)
# What stands around a run is not its own: what its steps inherit, and what lies in its directory.
NO_INPUT = Change(
    "runner/system/fork.py", "enumerate((nothing, output, output))", "enumerate((tether, output, output))"
)
EMPTY_INPUT = Change(
    "runner/celery_app.py", "        _empty_standard_input()\n\n\n@celeryd_after", "        pass\n\n\n@celeryd_after"
)
EMPTY_CHILD = Change("runner/celery_app.py", "        _empty_standard_input()\n\n\ndef", "        pass\n\n\ndef")
SILENCE = Change("runner/cli.py", "    streams.secure()\n", "")
NO_DELIVERY = Change("runner/system/streams.py", "return code or GONE", "return code")
BEHIND = Change("runner/runs/private_worker.py", "sys.path.append(beside)", "sys.path.insert(0, beside)")
CURRENT_BEHIND = Change("runner/runs/private_worker.py", "sys.path.append(here)", "sys.path.insert(0, here)")
SAFE_PATH = Change("runner/system/fork.py", '"-P", "-m"', '"-m"')
LINKS = Change(
    "runner/brokers/embedded.py",
    "for link in filter(Path.is_symlink, (path, *path.absolute().parents)):",
    "for link in ():",
)
STARTED_AGAIN = Change(
    "runner/brokers/keeper.py", "if (code > 0 and quick) or self.quick_ends > QUICK_ENDS:", "if code == 0 or quick:"
)
REVIVED = Change("runner/runs/follow.py", "        brokers.revive(here.settings)", "        pass")
SAID = Change("runner/runs/outage.py", "            self._say(what)", "            pass")
OWN_LIBRARIES = Change("runner/__main__.py", "    del sys.path[0]", "    pass")
OWN_QUEUE = Change("runner/runs/session.py", "            _forget_messages(store.client, queue)", "            pass")
NO_CHILD = Change("runner/celery_app.py", ' and process.current_process().name != "MainProcess"', "")
POOLS = Change("runner/celery_app.py", 'if name not in {"prefork", "thread", "solo"}:', "if False:")
# Our application is configured by our settings alone, and it is that of its worker, whatever else is made in the process.
OBEYED = Change(
    "runner/celery_app.py",
    'broker_url = property(lambda self: self["broker_url"])',
    "broker_url = property(CelerySettings.broker_url.fget)",
)
TAKEN = Change("runner/celery_app.py", "        app.take_tasks(", "        _ = (")
CURRENT = Change(
    "runner/commands/worker.py",
    "    app = make_current()\n    here.serve(app)\n",
    "    from runner.celery_app import app\n",
)
SERVED = Change(
    "runner/worker/process.py", "    return _worker_app[0] if _worker_app else current_app", "    return current_app"
)
# Nothing is recorded of a run before all of it is.
WHOLE = Change(
    "runner/runs/start.py",
    "    crashpoint(Crashpoint.SUBMIT_BEFORE_ACCEPT)",
    "    ledger.accept(run_id, routed)\n    crashpoint(Crashpoint.SUBMIT_BEFORE_ACCEPT)",
)
# Of the collectors that a process had claimed none is blamed for another: what was lost twice is executed alone.
ALONE = Change(
    "runner/ledger/scripts.py", "if last or (lost >= 2 and not (alone and given == 0)) then return 'l' end", ""
)
OVERDUE = Change("runner/worker/batch.py", "overdue = partial(_overdue, batch) if ends", "overdue = None if ends")
# A step starts in a process as the worker made it.
PUT_BACK = Change("runner/worker/surroundings.py", "    surroundings.restore()\n", "")
UNALARMED = Change("runner/worker/surroundings.py", "signal.setitimer(signal.ITIMER_REAL, 0)", "pass")
# Chaos, but shorter, and with faults that are known to lose something.
FORTY_SECONDS = Change("tests/faults/test_chaos.py", '"CHAOS_SECONDS", "300"', '"CHAOS_SECONDS", "40"')
A_SEED = Change("tests/faults/test_chaos.py", "random.randrange(10**6)", "1")

STILL = "TimeoutExpired"  # the run had not ended in time
UNENDED = "the run has ended"  # it had not
UNENDED_GOOD = "the good run has ended"
UNENDED_NAMED = "still not: .* has ended"
TWICE = r"\{1, 2\} == \{1\}|I5"  # a step was executed again

PROOFS = {
    "killed_workers": [
        Proof("F01", "test_a_worker_killed_in_a_collector_costs_seconds", (RECONCILER, VISIBILITY), STILL),
        Proof(
            "F01 default",
            "test_with_the_default_settings_a_killed_worker_costs_at_most_its_lease_and_five_seconds[0]",
            (RECONCILER,),
            STILL,
        ),
        Proof("F02a", "test_a_killed_child_of_the_pool_costs_one_attempt", (REQUESTS,), STILL),
        Proof("F02b", "test_a_command_ends_with_the_child_that_ran_it", (WATCHDOG,), "nothing of the step is alive"),
        Proof(
            "F04", "test_a_gather_whose_worker_died_after_its_effect_is_recorded_once", (RECONCILER, VISIBILITY), STILL
        ),
        Proof("F06", "test_what_a_frozen_and_killed_worker_had_taken_is_sent_again[1]", (RECONCILER,), STILL),
        Proof(
            "F06 thawed",
            "test_a_worker_that_thaws_after_its_leases_records_nothing_twice",
            (FIRST, NOT_AFTER_THE_END),
            "I3",
        ),
        Proof(
            "F16 child", "test_a_collector_that_kills_its_process_is_stopped_after_its_retries", (REQUESTS,), r"\d == 3"
        ),
        Proof(
            "F16 worker",
            "test_a_collector_that_takes_whole_workers_down_is_stopped_after_three_recoveries",
            (RECOVERIES,),
            STILL,
        ),
        Proof("F01 I5", "test_an_attempt_that_its_worker_took_with_it_uses_no_retry_up", (UNCOUNTED,), "assert 3 == "),
        Proof("F25 Celery", "test_a_worker_told_to_end_finishes_what_it_executes[1]", (WARM,), TWICE),
        Proof("F25 lease", "test_a_worker_told_to_end_finishes_what_it_executes[1]", (LEASES,), TWICE),
    ],
    "bad_steps": [
        Proof("F03", "test_a_collector_that_runs_out_of_memory_fails_alone", (ANY_ERROR,), STILL),
        Proof(
            "F14a",
            "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.collect-0]",
            (SOFT_LIMIT, HARD_LIMIT),
            "assert 0 == 1",
        ),
        Proof("F14b", "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.stubborn-0]", (HARD_LIMIT,), STILL),
        Proof("F14c", "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.in_c-0]", (REQUESTS,), "timed_out"),
        Proof(
            "F15 drip", "test_a_server_that_never_ends_is_left_at_the_timeout[/drip]", (SOFT_LIMIT, HARD_LIMIT), STILL
        ),
        Proof(
            "F15 hang", "test_a_server_that_never_ends_is_left_at_the_timeout[/hang]", (SOFT_LIMIT, HARD_LIMIT), STILL
        ),
        Proof(
            "F20",
            "test_a_file_that_does_not_fit_on_the_disk_leaves_the_one_before",
            (BESIDE, NEW_FILE),
            "No such file.*out.json",
        ),
    ],
    "clocks": [
        Proof(
            "F50",
            "test_neither_leases_nor_retries_nor_deadlines_notice_that_the_brokers_clock_is_set[+600]",
            (EXPECTED,),
            "'yours' == 'busy'",
        ),
        Proof(
            "F50 back",
            "test_neither_leases_nor_retries_nor_deadlines_notice_that_the_brokers_clock_is_set[-600]",
            (EXPECTED,),
            r"sweep|left|<= 60",
        ),
        Proof("F50 later", "test_who_comes_later_has_the_same_time[+600]", (AGREED,), "'yours' == 'busy'"),
        Proof("F50 asleep", "test_one_that_has_slept_adopts_the_time_of_the_others", (AWAKE,), "assert"),
        Proof(
            "F50 run",
            "test_a_run_with_a_retry_and_a_deadline_ends_as_if_nothing_were[+600]",
            (EXPECTED, AGREED),
            "assert",
        ),
    ],
    "damaged_ledgers": [
        Proof(
            "F39",
            "test_a_run_that_cannot_be_read_leaves_the_others_to_the_reconciler[cut short]",
            ONE_BAD,
            UNENDED_GOOD,
        ),
        Proof("F39 sweeps", "test_a_key_of_another_type_is_the_problem_of_its_run[open]", (TOGETHER,), UNENDED_GOOD),
        Proof(
            "F39 thread",
            "test_no_exception_of_any_kind_ends_the_thread_of_the_reconciler[KeyError]",
            (THREAD,),
            "the deadline has fired",
        ),
        Proof(
            "F51",
            "test_a_value_that_the_ledger_lost_is_missed_and_its_collector_executed_again[values]",
            (MISSED_VALUE,),
            "'succeeded' == 'failed'",
        ),
        Proof(
            "F51 stage",
            "test_a_stage_whose_value_before_is_lost_fails_and_names_it",
            (MISSED_BEFORE,),
            "stage stage failed",
        ),
        Proof("F51 plan", "test_a_run_whose_plan_is_lost_fails_and_says_so", (MISSED_PLAN,), UNENDED),
        Proof("F51 items", "test_a_run_whose_items_are_lost_fails_and_names_them", (MISSED_ITEMS,), UNENDED),
        Proof("F51 result", "test_a_result_that_is_lost_is_not_told_as_null", (MISSED_RESULT,), "0 == 7"),
    ],
    "endings": [
        Proof(
            "raised",
            "test_a_collector_ends_as_what_it_raised[threads]",
            (BASE_EXCEPTIONS,),
            f"ProcessDied|{UNENDED_NAMED}",
        ),
        Proof("died", "test_a_collector_ends_as_what_it_raised[prefork]", (ONCE_MORE,), "'ProcessDied', 1"),
        Proof("half a pair", "test_a_collector_ends_as_what_it_raised[solo]", (VALID,), "half_a_pair"),
        Proof(
            "raised in a batch",
            "test_a_collector_of_a_batch_ends_as_what_it_raised_and_costs_no_other[prefork]",
            (BASE_EXCEPTIONS,),
            f"ProcessDied|WorkerLost|{UNENDED_NAMED}",
        ),
        Proof(
            "raised in the tail",
            "test_a_gather_and_a_stage_end_as_what_they_raised_and_end_their_run[prefork-ways0]",
            (BASE_EXCEPTIONS,),
            f"ProcessDied|WorkerLost|{UNENDED_NAMED}",
        ),
    ],
    "injected": [
        Proof(
            "callbacks",
            "test_an_exception_at_any_place_costs_no_slot_no_thread_and_no_message[prefork]",
            (RAISING_NOTHING,),
            f"each place has raised|I7|{UNENDED_NAMED}",
        ),
        Proof(
            "callbacks of threads",
            "test_an_exception_at_any_place_costs_no_slot_no_thread_and_no_message[threads]",
            (OWN_CALLBACK,),
            f"each place has raised|I7|{UNENDED_NAMED}",
        ),
        Proof(
            "renewal",
            "test_an_exception_at_any_place_costs_no_slot_no_thread_and_no_message[threads]",
            (RENEWAL, RESTARTED),
            "each place has raised|the leases were renewed",
        ),
    ],
    "batches": [
        Proof("F01 batch", "test_a_killed_worker_costs_what_had_no_outcome", (RECONCILER, VISIBILITY), STILL),
        Proof("F06 batch", "test_what_a_frozen_and_killed_worker_had_taken_is_sent_again", (RECONCILER,), STILL),
        Proof("F13 batch", "test_messages_that_come_twice_execute_each_collector_once", (BUSY,), "_executed_again"),
        Proof(
            "F16 batch child",
            "test_a_collector_that_kills_its_process_is_stopped_and_the_others_of_its_batch_succeed[0]",
            (ALONE,),
            "'succeeded': 23",
        ),
        Proof(
            "F16 batch worker",
            "test_a_collector_that_takes_whole_workers_down_is_stopped_and_the_others_of_its_batch_succeed",
            (RECOVERIES,),
            STILL,
        ),
        Proof("F14b batch", "test_a_collector_that_lets_nothing_interrupt_it_ends_alone", (OVERDUE, HARD_LIMIT), STILL),
        Proof("F26a batch", "test_no_collector_of_a_batch_starts_after_the_run_is_cancelled", (ENDED,), "assert"),
    ],
    "commands": [
        Proof(
            "argv",
            "test_what_a_server_answers_is_never_executed[stage]",
            (FROM_THE_FILE,),
            "the server's words were executed",
        ),
        Proof(
            "environment",
            "test_a_command_does_not_inherit_the_password_of_the_broker",
            (NO_SECRETS,),
            "a secret of the worker was inherited",
        ),
    ],
    "broker_outages": [
        Proof("F07", "test_a_killed_broker_that_keeps_a_file_loses_no_run", (AGAIN,), "I5"),
        Proof(
            "F07 given back",
            "test_a_killed_broker_that_keeps_a_file_loses_no_run",
            (AGAIN, GIVEN_BACK, RECONCILER, VISIBILITY),
            STILL,
        ),
        Proof(
            "F07 queued", "test_a_killed_broker_that_keeps_a_file_loses_none_of_200_queued_runs", (KEPT,), "UnknownRun"
        ),
        Proof("F08", "test_a_broker_that_lost_its_data_is_told_and_the_run_fails", (LOOKED_FOR,), STILL),
        Proof("F08 watch", "test_who_watches_a_run_that_the_broker_lost_is_told", (WATCHED,), STILL),
        Proof("F10 run", "test_a_frozen_broker_is_waited_for", (PATIENCE,), "assert 4 == 0"),
        Proof(
            "F10 show",
            "test_a_frozen_broker_is_waited_for",
            (CHECKED_WITHIN, ANSWERED_WITHIN),
            "the bound that `show` promises",
        ),
        Proof("F11", "test_a_link_that_was_down_heals", (LATE_ACK, RECONCILER, VISIBILITY), STILL),
    ],
    "lost_connections": [
        Proof(
            "F07 channel",
            "test_a_channel_gives_its_messages_back_after_its_connection_was_collected",
            (ADDRESS,),
            "AttributeError",
        ),
    ],
    "full_disks": [
        Proof("F19", "test_a_full_disk_of_the_broker_is_told_and_outlived", (REFUSED_WRITES,), STILL),
        Proof(
            "F21a",
            "test_reached_maxmemory_is_told_and_outlived",
            (GIVEN_BACK, RECONCILER, VISIBILITY),
            f"four has ended|{STILL}",  # whichever of its messages was thrown away
        ),
        Proof("F21b", "test_a_broker_that_makes_room_by_itself_is_refused[worker]", (NO_EVICTION,), STILL),
    ],
    "messages": [
        Proof("F13 done", "test_messages_that_come_twice_execute_each_step_once", (DONE,), "I5"),
        Proof("F13 busy", "test_messages_that_come_twice_execute_each_step_once", (BUSY,), "I5"),
        Proof(
            "F17",
            "test_a_hostile_message_is_kept_aside_and_the_worker_goes_on[non-JSON envelope]",
            (CONSUMER,),
            "the message is in the list",
        ),
    ],
    "dead_letters": [
        Proof(
            "F17 ten",
            "test_ten_hostile_messages_are_kept_with_their_bytes_and_the_worker_works_on[prefork]",
            (CONSUMER,),
            "is out of the way",
        ),
        Proof(
            "F17 values",
            "test_a_message_with_any_one_value_changed_neither_ends_nor_stops_a_worker[prefork]",
            (HEADERS,),
            "all are out of the way",
        ),
        Proof(
            "F17 task",
            "test_a_message_for_a_task_that_the_worker_lacks_is_kept[solo]",
            (BURIED,),
            "every message is a dead letter",
        ),
        Proof(
            "F17 run",
            "test_a_message_for_a_run_or_a_step_that_does_not_exist_is_kept[prefork]",
            (NO_SUCH_RUN,),
            "every message is a dead letter",
        ),
        Proof(
            "F17 others",
            "test_arguments_of_a_task_that_is_not_ours_are_its_own_to_judge[solo]",
            (OURS_ALONE,),
            "InvalidTaskError",
        ),
        Proof("F17 broadcast", "test_a_hostile_broadcast_does_not_end_a_worker[solo]", (BROADCASTS,), STILL),
        Proof("F17 list", "test_the_list_keeps_the_latest_thousand_and_expires", (TRIMMED,), "1002 == 1000"),
    ],
    "moving_ground": [
        Proof("F23", "test_a_run_follows_the_plan_it_was_submitted_with", (PINNED,), STILL),
        Proof("F24", "test_a_step_waits_for_a_worker_that_has_its_task", (LEFT,), "'failed' in"),
        Proof("F24 limit", "test_a_step_whose_task_nobody_offers_fails_at_last_and_says_why", (LIMIT,), STILL),
        Proof(
            "F24 busy",
            "test_a_step_does_not_fail_while_the_worker_that_has_its_task_is_busy[solo]",
            (OFFERED,),
            "partial",
        ),
        Proof("F24 cancelled", "test_a_cancelled_run_waits_for_no_task", (UNWANTED,), "I7"),
        Proof("F26a", "test_no_step_starts_after_a_run_under_way_is_cancelled", (DONE, ENDED), r"== \['one'"),
        Proof("F26b", "test_a_queued_run_that_is_cancelled_never_starts", (DONE, ENDED), r"== \[\]"),
        Proof("F26c", "test_a_cancelled_run_stays_so_when_its_worker_is_killed_and_started_again", (DONE, ENDED), "I7"),
        Proof(
            "F26d",
            "test_cancelling_during_the_gather_is_all_or_nothing",
            (FIRST, NOT_AFTER_THE_END),
            "'succeeded' == 'cancelled'|I3",
        ),
        Proof("F26e", "test_cancelling_twice_answers_the_same", (ENDS_ONCE,), "I3"),
        Proof("F26f", "test_cancelling_what_has_ended_changes_nothing", (ENDS_ONCE,), "already ended: cancelled"),
        Proof("F27 worker", "test_a_killed_run_leaves_nothing_and_is_resumed", (TETHER,), "no process of it is left"),
        Proof("F27 broker", "test_a_killed_run_leaves_nothing_and_is_resumed", (KEEPER,), "no process of it is left"),
        Proof("F27 queue", "test_a_killed_run_that_was_resumed_leaves_no_message", (OWN_QUEUE,), "I7"),
    ],
    "chaos": [
        Proof(
            "F28",
            "test_every_accepted_run_ends_as_promised_whatever_happens",
            (RECONCILER, VISIBILITY, FORTY_SECONDS, A_SEED),
            "every accepted run has ended",
        ),
    ],
    "outside": [
        Proof(
            "input run",
            "test_a_program_that_reads_standard_input_ends_in_the_worker_of_run",
            (NO_INPUT, EMPTY_INPUT, EMPTY_CHILD),
            STILL,
        ),
        Proof(
            "input prefork",
            "test_a_program_that_reads_standard_input_ends_in_a_worker_whose_own_is_left_open[worker0-prefork]",
            (EMPTY_INPUT, EMPTY_CHILD),
            STILL,
        ),
        Proof(
            "input threads",
            "test_a_program_that_reads_standard_input_ends_in_a_worker_whose_own_is_left_open[worker0-threads]",
            (EMPTY_INPUT,),
            STILL,
        ),
        Proof(
            "streams",
            "test_a_run_whose_streams_are_closed_full_or_gone_goes_on_to_its_end[2>&-]",
            (SILENCE,),
            "assert 70 == 0",
        ),
        Proof(
            "output",
            "test_a_run_whose_result_cannot_be_delivered_goes_on_to_its_end_and_says_so_by_its_exit_code[>/dev/full]",
            (NO_DELIVERY,),
            r"\(0, 0\) == \(141, 0\)",
        ),
        Proof("path", "test_an_included_module_has_its_neighbours_and_the_real_libraries", (BEHIND,), "assert"),
        Proof(
            "path worker",
            "test_a_shared_worker_is_not_led_astray_by_modules_in_its_directory[words0]",
            (CURRENT_BEHIND,),
            "ImportError",
        ),
        Proof(
            "path up",
            "test_a_shared_worker_is_not_led_astray_by_modules_in_its_directory[words1]",
            (SAFE_PATH,),
            "has ended by itself",
        ),
        Proof("link", "test_a_socket_directory_that_is_a_link_is_refused[ours]", (LINKS,), "DID NOT RAISE"),
        Proof(
            "valkey ended",
            "test_a_private_valkey_that_somebody_ends_is_started_again_and_the_run_goes_on[SIGTERM]",
            (STARTED_AGAIN, REVIVED),
            f"{STILL}|assert .4, ",
        ),
        Proof(
            "keeper killed",
            "test_a_private_valkey_that_somebody_ends_is_started_again_and_the_run_goes_on[keeper killed]",
            (REVIVED,),
            f"{STILL}|assert .4, ",
        ),
        Proof(
            "silent broker",
            "test_a_run_that_waits_for_its_broker_says_why_every_few_seconds[rotated password]",
            (SAID,),
            "StopIteration",
        ),
        Proof(
            "path -m",
            "test_python_m_runner_imports_its_own_libraries_whatever_is_in_the_current_directory",
            (OWN_LIBRARIES,),
            "assert",
        ),
    ],
    "crashpoints": [
        Proof("not accepted", "test_a_run_that_was_not_accepted_is_unknown", (WHOLE,), "0 == 7"),
        Proof("not sent", "test_a_run_ends_whoever_dies_and_where[submit.before_send]", (RECONCILER,), UNENDED),
        # Where a child of the pool dies, one defence stands behind the other: the run hangs only without all of them.
        Proof("claimed", "test_a_run_ends_whoever_dies_and_where[claim.after]", EVERYTHING, UNENDED),
        Proof("finished", "test_a_run_ends_whoever_dies_and_where[finish.after]", EVERYTHING, UNENDED),
        Proof("postponed", "test_a_run_ends_whoever_dies_and_where[postpone.after]", EVERYTHING, UNENDED),
    ],
    "untrusted_text": [
        Proof(
            "help", "test_a_command_shows_no_escape_sequence_of_a_workflow[run {} --help]", (SAFE_HELP,), "no_escape"
        ),
        Proof("usage", "test_a_usage_error_quotes_no_escape_sequence[words1]", (SAFE_USAGE,), "no_escape"),
        Proof("syntax", "test_a_syntax_error_does_not_show_the_line_of_a_secret[s3cret-abc: x]", (UNQUOTED,), "s3cret"),
        Proof(
            "log",
            "test_the_log_of_a_worker_has_no_secret_no_escape_sequence_and_no_forged_line",
            (REDACTED_LOG,),
            "forged|s3cret",
        ),
        Proof(
            "libraries",
            "test_what_a_task_and_its_libraries_log_has_no_secret_and_no_escape_sequence",
            (CLEAN_RECORDS,),
            "p4ss|key=",
        ),
        Proof("encoded", "test_a_secret_that_httpx_has_encoded_is_not_shown", (ENCODED,), "w'ord|p4ss"),
    ],
    "environments": [
        Proof(
            "variables",
            "test_a_worker_leaves_the_queue_of_another_application_alone[command0]",
            (OBEYED,),
            r"assert \[\] == ",  # its message has been taken
        ),
        Proof(
            "an application",
            "test_tasks_of_an_application_in_an_included_module_are_executed",
            (CURRENT,),
            "assert 5 == 0|assert 1 == 0|TimeoutExpired",
        ),
        Proof(
            "an application, late",
            "test_tasks_of_an_application_that_a_worker_includes_late_are_executed",
            (TAKEN,),
            "assert 5 == 0",
        ),
        Proof(
            "an application, last",
            "test_an_application_that_a_step_makes_takes_nothing_over",
            (SERVED,),
            "assert 5 == 0",
        ),
    ],
    "pools": [
        Proof("F14 threads", "test_an_attempt_ends_at_its_timeout[threads]", (SOFT_LIMIT,), "'succeeded'"),
        Proof("shell", "test_a_worker_without_children_does_not_end_with_whoever_started_it", (NO_CHILD,), STILL),
        Proof("other pools", "test_another_pool_is_refused_with_a_line", (POOLS,), STILL),
    ],
    "surroundings": [
        Proof(
            "loop",
            "test_a_stage_finds_its_process_as_if_no_step_had_been_there[a closed loop]",
            (PUT_BACK,),
            "Event loop is closed",
        ),
        Proof(
            "alarm",
            "test_a_stage_finds_its_process_as_if_no_step_had_been_there[an alarm]",
            (UNALARMED,),
            "no step died",
        ),
        Proof("directory", "test_a_gather_starts_in_the_directory_of_the_run", (PUT_BACK,), "assert '/' =="),
    ],
}

CHANGES = dict.fromkeys(change for proofs in PROOFS.values() for proof in proofs for change in proof.without)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.file)
def test_what_is_taken_out_is_there_once(change: Change) -> None:
    assert (ROOT / change.file).read_text(encoding="utf-8").count(change.old) == 1


def test_every_test_of_a_fault_case_is_in_the_table() -> None:
    proved = {proof.test.partition("[")[0] for proofs in PROOFS.values() for proof in proofs}
    modules = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "tests" / "faults").glob("test_*.py")]
    written = [node for module in modules for node in module.body if isinstance(node, ast.FunctionDef)]
    cases = {node.name for node in written if re.match(r"F\d\d", ast.get_docstring(node) or "")}
    assert cases - proved == set()
    assert proved - {node.name for node in written} == set()


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("file", "proof"),
    [pytest.param(file, proof, id=proof.case) for file, proofs in PROOFS.items() for proof in proofs],
)
def test_a_fault_test_fails_without_its_defence(file: str, proof: Proof, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for part in ("runner", "tests", "workflows"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for change in proof.without:
        path = copy / change.file
        path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")
    base = tmp_path / "base"
    words = ["-q", "-m", "", "--tb=short", "-o", "timeout=200", "-p", "no:cacheprovider", f"--basetemp={base}"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"tests/faults/test_{file}.py::{proof.test}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=copy,
        env=os.environ | {"TEST_SLACK": "1"},  # what hangs is to be seen within the test's own bound
    )

    print(done.stdout)  # noqa: T201 - pytest shows it if this test fails
    assert done.stdout.splitlines()[-1].startswith("1 failed")
    assert re.search(rf"^E .*({proof.says})", done.stdout, re.MULTILINE)
