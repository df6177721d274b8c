"""What each defence of the project stands against: without it, at its marker in the source, a fault test fails.

A marker is a comment: ``# defence: LEASES``, in Lua ``-- defence: DONE`` (markers.py). Each of them has a row here, and each row
has its marker once: tests/unit/test_defences.py. That the tests fail indeed is tried by test_defences.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Change:
    """A defence that is taken out.

    Args:
        marker: its name.
        instead: what stands at its place; nothing, unless it is said.
    """

    marker: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that fails without a defence.

    Args:
        case: of the fault list, and a word where it has several.
        test: its name.
        without: what makes the defence; all of it, where one stands behind the other.
        says: how the test fails, as a pattern: for this reason, and not because nothing works any more.
        environment: variables of the environment, beside those that it has.
    """

    case: str
    test: str
    without: tuple[Change, ...]
    says: str
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


# What is lost is sent again. Celery's own last resort, the visibility timeout, would find some of it as well: after ten
# seconds in these tests, after an hour by default.
RECONCILER = Change("RECONCILER", "if False:")
HOOKS_AGAIN = Change("HOOKS_AGAIN")
VISIBILITY = Change("VISIBILITY", '"RUNNER_VISIBILITY": "3600"')
# A run that cannot be read is its own problem; nothing ends the thread; what is missing is missed.
ONE_BAD = (
    Change("UNREADABLE_RUN", "except ZeroDivisionError as error:"),
    Change("BROKEN_RUN", "except ArithmeticError as error:"),
)
TOGETHER = Change("TOGETHER", "answers = pipe.execute()")
THREAD = Change("THREAD", "except (redis.RedisError, OSError) as error:")
MISSED_VALUE = Change("MISSED_VALUE", "if False:")
MISSED_BEFORE = Change("MISSED_BEFORE", "if False:")
MISSED_PLAN = Change("MISSED_PLAN", "if False:")
MISSED_ITEMS = Change("MISSED_ITEMS", "except ZeroDivisionError as error:")
MISSED_RESULT = Change("MISSED_RESULT", "if False:")
# The ledger's time advances by the clocks of its clients, whatever the server's clock shows.
EXPECTED = Change("EXPECTED")
AGREED = Change("AGREED")
AWAKE = Change("AWAKE", "local is_awake = expected")
# A lease is renewed for as long as the work takes; a step whose leases were lost too often is given up.
LEASES = Change("LEASES", "if False:")
UNCOUNTED = Change("UNCOUNTED", "attempt=claim.attempt")
# Whatever ends an execution of a step is one of a list of endings, and has the outcome that stands there.
BASE_EXCEPTIONS = Change("TASK_ERRORS", "except Exception as error:")
ONCE_MORE = Change("ONCE_MORE", 'Ending.DIED: Rule("failed", "never")')
VALID = Change("VALID", "begin = text[:limit]")
# What is raised where nobody of ours called is no end of a slot, a thread or a message.
RAISING_NOTHING = Change("RAISING_NOTHING", "except OSError as error:")
OWN_CALLBACK = Change("OWN_CALLBACK", "if False:")
RENEWAL = Change("RENEWAL", "except OSError as error:")
RESTARTED = Change("RESTARTED", "return renewal")
RECOVERIES = Change("RECOVERIES", "RECOVERIES = 1000")
# What became of a process of the pool is recorded by the worker's main process, and its message is not acknowledged.
REQUESTS = Change("REQUESTS", 'Request = "celery.worker.request:Request"')
LATE_ACK = Change("LATE_ACK", "acks_late = False")
# The last outcome of a message is recorded with the message that follows, so that none is without the other.
FOLLOWS = Change("FOLLOWS", "follows = None")
# Celery reports a message whose process has died as failed; it has returned to its chord like any other.
RETURNED_DEAD = Change("RETURNED_DEAD", 'if last is None and state == "SUCCESS":')
EVERYTHING = (REQUESTS, LATE_ACK, RECONCILER, VISIBILITY)
# A claim asks whether the step has an outcome, whether somebody executes it, and whether the run has ended.
DONE = Change("DONE")
BUSY = Change("BUSY", "if false then")
ENDED = Change("ENDED")
# As many collectors of a `foreach` are executed at once as its `max_concurrency` says.
SLOTS = Change("SLOTS", "if slots_of(of) < 0 then")
# A limit allows no more starts than its rate and its concurrency; runs take turns, and after a cooldown one step tries alone.
RATE = Change("RATE", "rate.tat = 0")
TURNS = Change("TURNS", "local before = 0")
CONCURRENCY = Change("CONCURRENCY", "if false then return 0, '' end")
PROBE = Change("PROBE", "if false then return 0, '' end")
COOLDOWN_MAX = Change("COOLDOWN_MAX", "if False:")
# After an early stop of a fan-out, nothing of it is recorded any more: the gather would have it, or not, by chance.
STOPPED = Change("STOPPED", "if false then")
# The first outcome of a step is the one; after the end of a run there are no others, and it ends once.
FIRST = Change("FIRST", "if new[step] then")
NOT_AFTER_THE_END = Change("NOT_AFTER_THE_END", "if false then")
ENDS_ONCE = Change("ENDS_ONCE", "if true then")
# The ledger is asked again while the broker restarts; what cannot be recorded even so is given back.
AGAIN = Change("AGAIN", '"retry": Retry(NoBackoff(), 0, supported_errors=(exceptions.ConnectionError,))')
GIVEN_BACK = Change("GIVEN_BACK", "return")
PATIENCE = Change("PATIENCE", "FOLLOW_PATIENCE = 0.0")
CHECKED_WITHIN = Change("CHECKED_WITHIN", "outcome.result()")
ANSWERED_WITHIN = Change(
    "ANSWERED_WITHIN", 'ONCE: dict[str, Any] = {"named": True, "socket_timeout": None, "retry": Retry(NoBackoff(), 0)}'
)
LOOKED_FOR = Change("LOOKED_FOR")
WATCHED = Change("WATCHED")
KEPT = Change("KEPT", 'return start_valkey("--appendonly", "no")')
REFUSED_WRITES = Change("REFUSED_WRITES", '"broker_channel_error_retry": False')
NO_EVICTION = Change("NO_EVICTION", "if False:")
ADDRESS = Change("ADDRESS", "self.address = self.connection.client = self.connection.client")
# An attempt is interrupted at its timeout, and a second later its process is ended.
SOFT_LIMIT = Change("SOFT_LIMIT", "timeout=None")
HARD_LIMIT = Change("HARD_LIMIT")
# Whatever a task raises is an outcome; a file takes its place when it is complete; a command ends with its process.
ANY_ERROR = Change("TASK_ERRORS", "except OSError as error:")
BESIDE = Change("BESIDE", "temporary = target")
NEW_FILE = Change(
    "NEW_FILE", 'with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:'
)
# The watchdog gets the group after the start of the command; before that it finds the group by a mark in the environment.
WATCHDOG = Change("WATCHDOG", "if read -r group; then read -r _; else")
BY_MARK = Change("BY_MARK", ":")
# What is executed the file says, and no value; a command inherits no secret of the worker.
FROM_THE_FILE = (Change("STDIN_FIRST", "argv: list[str]"), Change("ARGV_BY_NAME", "stdin: Any = None"))
NO_SECRETS = Change("NO_SECRETS", "inherited = dict(os.environ)")
# What comes from outside is shown and not obeyed, and a secret is shown nowhere.
SAFE_HELP = Change("SAFE_HELP", "super().write(string)")
SAFE_USAGE = Change("SAFE_USAGE", 'lines = [f"Error: {error.format_message()}"]')
UNQUOTED = Change("UNQUOTED", "if False:")
REDACTED_LOG = Change("REDACTED_LOG", "return attempt.step.id, failure.error.message")
CLEAN_RECORDS = Change("CLEAN_RECORDS", "if False:")
ENCODED = Change("ENCODED", r"""*("".join(map(re.escape, re.findall(r"\\+|[^\\]", each))) for each in whole)""")
# Messages that no worker can read are kept.
CONSUMER = Change("CONSUMER", '"worker_consumer": "celery.worker.consumer:Consumer"')
HEADERS = Change("HEADERS")
BURIED = Change("BURIED", "if False:")
NO_SUCH_RUN = Change("NO_SUCH_RUN", "return")
OURS_ALONE = Change("OURS_ALONE", "signature = inspect.signature(app.tasks[name].run)")
BROADCASTS = Change("BROADCASTS", "raise")
TRIMMED = Change("TRIMMED")
# A plan is read once; here it is read from the file, whenever a worker first meets the run.
PINNED = Change(
    "PINNED",
    "from tests.faults.unpinned import plan_of_the_file\nreturn ledger().open(run_id, plan_of_the_file(found.plan), found.layout)",
)
# What a worker lacks is left to another: while there is one, for so long, and not after the end of the run.
LEFT = Change("LEFT", "if True:")
OFFERED = Change("OFFERED", "if False:")
LIMIT = Change("WAIT_FOR_TASK", "return seconds")
UNWANTED = Change("WAIT_FOR_TASK", 'return None if parked == "expired" else seconds')
# Which process ends with which. A terminated Celery finishes what it is executing, unless the signal means another shutdown.
WARM = Change("WARM", 'env=os.environ | env | {"REMAP_SIGTERM": "SIGQUIT"}')
TETHER = Change("TETHER")
KEEPER = Change("KEEPER", "signal.pause()")
# What stands around a run is not its own: what its steps inherit, and what lies in its directory.
NO_INPUT = Change("NO_INPUT", "for stream, file in enumerate((tether, output, output)):")
EMPTY_INPUT = Change("EMPTY_INPUT")
EMPTY_CHILD = Change("EMPTY_CHILD")
SILENCE = Change("SILENCE")
NO_DELIVERY = Change("NO_DELIVERY", "return code")
BEHIND = Change("BEHIND", "sys.path.insert(0, beside)")
CURRENT_BEHIND = Change("CURRENT_BEHIND", "sys.path.insert(0, here)")
SAFE_PATH = Change("SAFE_PATH", '[sys.executable, "-m", "runner", *words, "--tether", str(tether)]')
LINKS = Change("LINKS", "for link in ():")
STARTED_AGAIN = Change("STARTED_AGAIN", "if code == 0 or quick:")
REVIVED = Change("REVIVED")
SAID = Change("SAID")
OWN_LIBRARIES = Change("OWN_LIBRARIES")
OWN_QUEUE = Change("OWN_QUEUE")
NO_CHILD = Change("NO_CHILD", 'if sys.platform == "linux":')
POOLS = Change("POOLS", "if False:")
# Our application is configured by our settings alone, and it is that of its worker, whatever else is made in the process.
OBEYED = Change("OBEYED", "broker_url = property(CelerySettings.broker_url.fget)")
TAKEN = Change("TAKEN")
CURRENT = (Change("CURRENT", "from runner.celery_app import app"), Change("SERVED_AS_CURRENT"))
SERVED = Change("SERVED", "return current_app")
# Nothing is recorded of a run before all of it is.
WHOLE = Change(
    "WHOLE", "ledger.open(run_id, bound.plan).accept(layout=layout)\ncrashpoint(Crashpoint.SUBMIT_BEFORE_ACCEPT)"
)
# Of the collectors that a process had claimed none is blamed for another: what was lost twice is executed alone.
ALONE = Change("ALONE")
OVERDUE = Change("OVERDUE", "overdue = None")
# A step starts in a process as the worker made it.
PUT_BACK = Change("PUT_BACK")
UNALARMED = Change("UNALARMED")

STILL = "TimeoutExpired"  # the run had not ended in time
UNLIMITED = f"{STILL}|'failed' == 'timed_out'"  # or only the limits of `http.get` itself have ended it
UNENDED = "the run has ended"  # it had not
UNENDED_GOOD = "the good run has ended"
UNENDED_NAMED = "still not: .* has ended"
TWICE = r"\{1, 2\} == \{1\}|I5"  # a step was executed again

PROOFS = {
    "killed_workers": [
        Proof("F01", "test_a_worker_killed_in_a_collector_costs_seconds", (RECONCILER, VISIBILITY), STILL),
        Proof(
            "F01 then",
            "test_a_worker_killed_in_a_then_has_the_whole_chain_executed_again",
            (RECONCILER, VISIBILITY),
            STILL,
        ),
        Proof(
            "F01 slots",
            "test_a_limit_of_collectors_holds_while_a_worker_that_has_a_slot_is_killed",
            (SLOTS,),
            r"assert \d == 1",
        ),
        Proof(
            "F06 stop",
            "test_a_collector_that_ends_after_an_early_stop_changes_nothing",
            (STOPPED,),
            r"page\[0\]",
        ),
        Proof(
            "F01 default",
            "test_with_the_default_settings_a_killed_worker_costs_at_most_its_lease_and_five_seconds[0]",
            (RECONCILER,),
            STILL,
        ),
        Proof("F02a", "test_a_killed_child_of_the_pool_costs_one_attempt", (REQUESTS,), STILL),
        Proof(
            "F02b",
            "test_a_command_ends_with_the_child_that_ran_it",
            (WATCHDOG, BY_MARK),
            r"nothing of the step is alive|mark\.",
        ),
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
            "the last worker was taken down",
        ),
        Proof("F01 I5", "test_an_attempt_that_its_worker_took_with_it_uses_no_retry_up", (UNCOUNTED,), "assert 3 == "),
        Proof("F25 Celery", "test_a_terminated_worker_finishes_what_it_executes[1]", (WARM,), TWICE),
        Proof("F25 lease", "test_a_terminated_worker_finishes_what_it_executes[1]", (LEASES,), TWICE),
    ],
    "limits": [
        Proof(
            "F01 concurrency",
            "test_a_killed_worker_frees_its_slot_of_a_limit_and_no_more_are_executed_than_may_be",
            (CONCURRENCY,),
            r"assert \d == 1",
        ),
        Proof(
            "F01 rate",
            "test_a_rate_holds_and_nothing_is_lost_while_a_worker_is_killed",
            (RATE,),
            r"assert \d+ <= \(2 \+ 1\)",
        ),
        Proof("probe", "test_after_a_cooldown_one_step_tries_alone", (PROBE,), "assert .* == "),
        Proof("turns", "test_a_large_run_does_not_starve_a_small_one[limit2]", (TURNS,), r"<= \(5 \+ 8\)"),
        Proof(
            "cooldown",
            "test_a_source_that_never_stops_asking_fails_its_collectors_in_the_end",
            (COOLDOWN_MAX,),
            "'succeeded' == 'failed'",
        ),
    ],
    "bad_steps": [
        Proof("F03", "test_a_collector_that_runs_out_of_memory_fails_alone", (ANY_ERROR,), "'MemoryError' in"),
        Proof(
            "F14a",
            "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.collect-0]",
            (SOFT_LIMIT, HARD_LIMIT),
            f"assert 0 == 1|{STILL}",  # it sleeps for a minute
        ),
        Proof("F14b", "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.stubborn-0]", (HARD_LIMIT,), STILL),
        Proof("F14c", "test_an_attempt_ends_at_its_timeout_whatever_it_does[faulty.in_c-0]", (REQUESTS,), "timed_out"),
        Proof(
            "F15 drip",
            "test_a_server_that_never_ends_is_left_at_the_timeout[/drip]",
            (SOFT_LIMIT, HARD_LIMIT),
            UNLIMITED,
        ),
        Proof(
            "F15 hang",
            "test_a_server_that_never_ends_is_left_at_the_timeout[/hang]",
            (SOFT_LIMIT, HARD_LIMIT),
            UNLIMITED,
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
            "'granted' == 'busy'",
        ),
        Proof(
            "F50 back",
            "test_neither_leases_nor_retries_nor_deadlines_notice_that_the_brokers_clock_is_set[-600]",
            (EXPECTED,),
            r"sweep|left|<= 60",
        ),
        Proof(
            "F50 later",
            "test_a_process_that_starts_later_has_the_time_of_the_ledger[+600]",
            (AGREED,),
            "'granted' == 'busy'",
        ),
        Proof("F50 asleep", "test_a_process_that_has_slept_adopts_the_time_of_the_ledger", (AWAKE,), "assert"),
        Proof(
            "F50 run",
            "test_a_run_with_a_retry_and_a_deadline_does_not_notice_that_the_brokers_clock_is_set[+600]",
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
        Proof("F51 result", "test_a_result_that_is_lost_is_not_shown_as_null", (MISSED_RESULT,), "0 == 7"),
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
            "the last worker was taken down",
        ),
        Proof("F14b batch", "test_a_collector_that_lets_nothing_interrupt_it_ends_alone", (OVERDUE, HARD_LIMIT), STILL),
        Proof("F26a batch", "test_no_collector_of_a_batch_starts_after_the_run_is_cancelled", (ENDED,), "assert"),
    ],
    "commands": [
        Proof(
            "argv",
            "test_the_reply_of_a_server_is_never_executed[stage]",
            FROM_THE_FILE,
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
        Proof("F08", "test_a_broker_that_lost_its_data_is_reported_and_the_run_fails", (LOOKED_FOR,), STILL),
        Proof("F08 watch", "test_watch_reports_a_run_that_the_broker_lost", (WATCHED,), STILL),
        Proof("F10 run", "test_a_frozen_broker_is_waited_for", (PATIENCE,), "assert 4 == 0"),
        Proof(
            "F10 show",
            "test_a_frozen_broker_is_waited_for",
            (CHECKED_WITHIN, ANSWERED_WITHIN),
            STILL,  # the broker is frozen until `show` returns
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
        Proof("F19", "test_a_full_disk_of_the_broker_is_reported_and_outlived", (REFUSED_WRITES,), STILL),
        Proof(
            "F21a",
            "test_a_broker_that_has_reached_maxmemory_is_reported_and_outlived",
            (GIVEN_BACK, RECONCILER, VISIBILITY),
            f"four has ended|{STILL}",  # whichever of its messages was thrown away
        ),
        Proof("F21b", "test_a_broker_that_evicts_keys_is_refused[worker]", (NO_EVICTION,), STILL),
    ],
    "messages": [
        Proof("F13 done", "test_messages_that_come_twice_execute_each_step_once", (DONE,), "I5"),
        Proof("F13 busy", "test_messages_that_come_twice_execute_each_step_once", (BUSY,), "I5"),
        Proof(
            "F17",
            "test_a_hostile_message_is_kept_aside_and_the_worker_continues[non-JSON envelope]",
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
            "test_a_message_of_another_applications_task_is_checked_by_the_task_alone[solo]",
            (OURS_ALONE,),
            "InvalidTaskError",
        ),
        Proof("F17 broadcast", "test_a_hostile_broadcast_does_not_end_a_worker[solo]", (BROADCASTS,), STILL),
        Proof(
            "F17 list",
            "test_the_list_of_dead_letters_keeps_the_latest_thousand_and_expires",
            (TRIMMED,),
            "1002 == 1000",
        ),
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
        Proof("F26e", "test_cancelling_twice_returns_the_same", (ENDS_ONCE,), "I3"),
        Proof("F26f", "test_cancelling_what_has_ended_changes_nothing", (ENDS_ONCE,), "already ended: cancelled"),
        Proof("F27 worker", "test_a_killed_run_leaves_nothing_and_is_resumed", (TETHER,), "no process of it is left"),
        Proof("F27 broker", "test_a_killed_run_leaves_nothing_and_is_resumed", (KEEPER,), "no process of it is left"),
        Proof("F27 queue", "test_a_killed_run_that_was_resumed_leaves_no_message", (OWN_QUEUE,), "I7"),
    ],
    "chaos": [
        Proof(
            "F28",
            "test_every_accepted_run_ends_as_promised_whatever_happens",
            (RECONCILER, VISIBILITY),
            "every accepted run has ended",
            {"CHAOS_SECONDS": "40", "CHAOS_SEED": "1"},  # shorter, and with faults that are known to lose something
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
            "test_a_run_whose_streams_are_closed_full_or_gone_continues_to_its_end[2>&-]",
            (SILENCE,),
            "assert 70 == 0",
        ),
        Proof(
            "output",
            "test_a_run_whose_result_cannot_be_delivered_continues_to_its_end_and_says_so_by_its_exit_code[>/dev/full]",
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
            "test_a_private_valkey_that_is_stopped_is_started_again_and_the_run_continues[SIGTERM]",
            (STARTED_AGAIN, REVIVED),
            f"{STILL}|assert 4 == 0",
        ),
        Proof(
            "keeper killed",
            "test_a_private_valkey_that_is_stopped_is_started_again_and_the_run_continues[keeper killed]",
            (REVIVED,),
            f"{STILL}|assert 4 == 0",
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
    "later_parts": [
        Proof(
            "F01 later", "test_a_worker_killed_in_a_later_step_costs_seconds[three]", (RECONCILER, VISIBILITY), STILL
        ),
        Proof("F01 hook", "test_a_worker_killed_in_a_later_step_costs_seconds[hook]", (HOOKS_AGAIN, VISIBILITY), STILL),
        Proof(
            "F02 later", "test_a_killed_child_of_the_pool_costs_one_attempt_of_a_later_step[three]", (REQUESTS,), STILL
        ),
        Proof(
            "F02 hook", "test_a_killed_child_of_the_pool_costs_one_attempt_of_a_later_step[hook]", (REQUESTS,), STILL
        ),
        Proof(
            "F04 later",
            "test_a_later_gather_whose_worker_died_after_its_effect_is_recorded_once",
            (RECONCILER, VISIBILITY),
            STILL,
        ),
        Proof("F07 later", "test_a_broker_that_is_killed_in_a_later_step_loses_nothing[three]", (AGAIN,), "I5"),
        Proof("F13 later", "test_messages_that_come_twice_begin_and_execute_each_later_part_once", (DONE,), "I5"),
        Proof("F24 hook", "test_a_hook_waits_for_a_worker_that_has_its_task", (LEFT,), "the hook waits"),
        Proof(
            "F26 later",
            "test_a_run_that_is_cancelled_in_a_later_fan_out_starts_nothing_but_its_hooks",
            (DONE, ENDED),
            r"== \['zero'",
        ),
        Proof("F26 hook", "test_a_run_that_is_cancelled_in_its_hooks_has_ended_before", (ENDS_ONCE,), "succeeded"),
        Proof(
            "F27 later",
            "test_a_run_that_is_killed_in_a_later_step_is_resumed[three]",
            (TETHER,),
            "no process of it is left",
        ),
    ],
    "crashpoints": [
        Proof("not accepted", "test_a_run_that_was_not_accepted_is_unknown", (WHOLE,), "0 == 7"),
        Proof(
            "not sent", "test_a_run_ends_whichever_process_dies_and_where[submit.before_send]", (RECONCILER,), UNENDED
        ),
        # Where a child of the pool dies, one defence stands behind the other: the run hangs only without all of them.
        Proof("claimed", "test_a_run_ends_whichever_process_dies_and_where[claim.after]", EVERYTHING, UNENDED),
        Proof(
            "finished",
            "test_a_run_ends_whichever_process_dies_and_where[finish.after]",
            (*EVERYTHING, FOLLOWS, RETURNED_DEAD),
            UNENDED,
        ),
        Proof(
            "hook",
            "test_a_run_ends_whichever_process_dies_and_where[hook.before_send]",
            (*EVERYTHING[:2], HOOKS_AGAIN, VISIBILITY),
            UNENDED,
        ),
        Proof("postponed", "test_a_run_ends_whichever_process_dies_and_where[postpone.after]", EVERYTHING, UNENDED),
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
            CURRENT,
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
        Proof(
            "F14 threads",
            "test_an_attempt_in_a_pool_without_processes_ends_at_its_timeout[threads]",
            (SOFT_LIMIT,),
            f"'succeeded'|{STILL}",  # it sleeps for a minute
        ),
        Proof("shell", "test_a_worker_without_children_does_not_end_with_its_parent", (NO_CHILD,), STILL),
        Proof("other pools", "test_a_pool_that_is_not_supported_is_refused_with_a_line", (POOLS,), STILL),
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
