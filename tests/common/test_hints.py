from kombu.exceptions import OperationalError

from common.hints import send_hint


def test_it_works() -> None:
    sent: list[int] = []
    send_hint(lambda: sent.append(1), about="a row")
    assert sent == [1]


def test_what_was_done_stands_when_the_broker_is_away() -> None:
    def send() -> None:
        raise OperationalError

    send_hint(send, about="a row")
