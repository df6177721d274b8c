"""A test that hangs to its failure, whatever it catches on the way."""

import signal
import threading
from types import FrameType

# Not SIGALRM, which pytest-timeout uses: a step with a timeout that a test executes in this process sets it anew.
_SIGNAL = signal.SIGRTMIN + 5
_AGAIN = 20.0  # seconds


class Hangs(BaseException):
    """A test takes longer than its timeout.

    No `Exception`, and not pytest's own failure: Hypothesis catches both, and executes what hung once more. A run that never
    ended held a whole suite up for 75 minutes so.
    """


class Watch:
    """Interrupts the main thread once the time is over, and again until it is ended."""

    def __init__(self, name: str, seconds: float) -> None:
        self._ended = threading.Event()
        self._message = f"{name} has not ended in {seconds:g} s"
        signal.signal(_SIGNAL, self._interrupt)
        self._thread = threading.Thread(target=self._wait, args=(seconds,), name="hangs", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop watching; then there is no thread of it, which the next test might count."""
        self._ended.set()
        self._thread.join()

    def _wait(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            seconds = _AGAIN

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._ended.is_set():
            raise Hangs(self._message)
