"""What tests have a cluster do: workers import it by its name."""

import os
import time

from featurestore.errors import InputError


def length(value: bytes) -> int:
    return len(value)


def square(number: int) -> int:
    return number * number


def refuse() -> None:
    raise InputError("got a thing, expected another: change it")


def fail() -> None:
    raise ValueError("the first line\nthe second line")


def die() -> None:
    os._exit(3)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


class Adder:
    def __init__(self, start: int) -> None:
        if start < 0:
            raise InputError(f"got {start}, expected 0 or more")
        self.start = start

    def add(self, number: int) -> int:
        return self.start + number

    def die(self) -> None:
        os._exit(3)
