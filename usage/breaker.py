"""When a deployment that fails is passed over, and how it comes back."""

# Envoy's outlier detection opens after as many (`consecutive_5xx`: 5), and so does LiteLLM's breaker before Redis.
MOST_FAILURES = 5
# Envoy ejects for 30 s at first, LiteLLM cools down for 5 s. A server that is started anew is back in about ten.
REST_SECONDS = 10.0


class Breaker:
    """The circuit breaker of one deployment, for one event loop. Times are those of `time.monotonic`.

    closed      Calls pass. A failure lets others be preferred while the deployment rests, and an answer forgets it.
    open        After MOST_FAILURES in a row, or one that kept a call from reaching the server: it rests.
    half-open   It has rested: one call at a time probes it. An answer closes the circuit, a failure lets it rest again.

    It only advises: a call that has nowhere else to go is sent all the same.
    """

    __slots__ = ("_failures", "_probe", "_rest_seconds", "_rests_until")

    def __init__(self, *, rest_seconds: float = REST_SECONDS) -> None:
        self._rest_seconds = rest_seconds
        self._failures = 0
        self._rests_until = float("-inf")
        self._probe: str | None = None

    def passes(self, now: float) -> bool:
        """Whether a call may go there as to any other."""
        return now >= self._rests_until and (self._failures < MOST_FAILURES or self._probe is None)

    @property
    def is_open(self) -> bool:
        """Whether it rests, or waits for what a probe will show."""
        return self._failures >= MOST_FAILURES

    def begin(self, call: str) -> None:
        """A call is sent there."""
        if self._failures >= MOST_FAILURES and self._probe is None:
            self._probe = call

    def answered(self) -> None:
        """The server answered a call."""
        if self._failures:
            self._failures, self._rests_until, self._probe = 0, float("-inf"), None

    def failed(self, now: float, *, opens: bool) -> None:
        """The server failed a call; `opens`: in a way of which one is enough."""
        self._failures = MOST_FAILURES if opens else self._failures + 1
        self._rests_until = now + self._rest_seconds
        self._probe = None

    def end(self, call: str) -> None:
        """A call that was sent there is over, however it went."""
        if self._probe == call:
            self._probe = None
