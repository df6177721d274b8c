"""A run and its session to the run's events; meanwhile its worker and its broker are kept alive, and lost steps are sent again."""

import logging
import time
from collections.abc import Iterator

import redis
from kombu.exceptions import OperationalError

from runner.brokers import broker_problem, restart_broker
from runner.ledger.entries import Event
from runner.runs.outage import Outage
from runner.runs.session import Session
from runner.worker.reconcile import reconcile

logger = logging.getLogger(__name__)


def attend(run_id: str, session: Session, outage: Outage) -> Iterator[Event | None]:
    """Yield a run's events to its end; None after each half second without one.

    Args:
        session: its worker, if it has one of its own, is started again when it ends.
        outage: reports a broker that is away.

    Raises:
        WorkerEnded: the worker has ended for good.
        UnknownRun: the broker has lost the run.
    """
    looked = time.monotonic()

    def away(error: redis.RedisError) -> None:
        outage.of_broker = True
        outage.tell(f"run {run_id} waits for the broker: {broker_problem(error)[0]}")
        restart_broker(session.settings)  # defence: REVIVED

    for event in session.ledger.open(run_id).follow(away=away):
        yield event
        if event is None and session.worker is not None:
            session.worker.keep()
        if event is None and time.monotonic() - looked > session.settings.reconcile_every:
            looked = time.monotonic()
            _reconcile(run_id, session, outage)  # defence: LOOKED_FOR


def _reconcile(run_id: str, session: Session, outage: Outage) -> None:
    try:
        reconcile(run_id, session.ledger, grace=session.settings.grace)
        outage.of_broker = False
    except (redis.RedisError, OperationalError) as error:
        logger.info("cannot reconcile: %s", error)  # the server is unreachable: `follow` waits for it
        why, _ = broker_problem(error.__cause__ or error)
        outage.of_broker = True
        outage.tell(f"run {run_id} waits for the broker, which takes no work: {why}")
