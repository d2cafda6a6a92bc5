"""Several invocations at once, one at a time: at every point a seeded choice says who goes on.

Each invocation has a thread of its own, and exactly one thread runs at any moment, so a run is a function of its seed.
"""

import threading
from collections.abc import Callable, Sequence
from random import Random


class Turns:
    """Runs bodies in turns.

    Args:
        random: chooses who goes on.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._finished = threading.Semaphore(0)
        self._batons: dict[int, threading.Semaphore] = {}
        self._error: BaseException | None = None

    def run(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run all bodies to their ends; the first error is raised once every thread has stopped."""
        threads = [threading.Thread(target=self._run, args=(body,), daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
            self._finished.acquire()
        while self._batons:
            self._batons[self._random.choice(sorted(self._batons))].release()
            self._finished.acquire()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def pass_on(self) -> None:
        """Let somebody else go on, perhaps; called at every point of an invocation."""
        baton = self._batons.get(threading.get_ident())
        if baton is None:
            return
        self._finished.release()
        baton.acquire()

    def _run(self, body: Callable[[], None]) -> None:
        me = threading.get_ident()
        baton = self._batons[me] = threading.Semaphore(0)
        self._finished.release()
        baton.acquire()
        try:
            if self._error is None:
                body()
        except BaseException as error:  # noqa: BLE001  # carried over to the thread that waits for all
            self._error = self._error or error
        finally:
            del self._batons[me]
            self._finished.release()
