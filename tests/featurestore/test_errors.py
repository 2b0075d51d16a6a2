"""What an error says is one line that moves no cursor, whatever it quotes."""

from featurestore.errors import FeatureStoreError, in_one_line, reason


def test_quoted_bytes_are_escaped() -> None:
    error = FeatureStoreError("got the file 'a\nb\x1b[2J\u202e.jpg' of \u00d6zge, \u65e5\u672c")
    assert str(error) == "got the file 'a\\nb\\x1b[2J\\u202e.jpg' of \u00d6zge, \u65e5\u672c"
    assert str(error).isprintable()


def test_what_somebody_elses_error_says() -> None:
    assert reason(ValueError("first\nsecond")) == "first"
    assert reason(ValueError()) == "ValueError"
    assert in_one_line(OSError("a\n  \u21b3 b   c")) == "a b c"
