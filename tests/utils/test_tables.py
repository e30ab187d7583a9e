"""Tables as plain text."""

from secateurs.utils import render


def test_numbers_are_aligned_to_the_right_and_text_to_the_left():
    assert render("Title", ["name", "units"], [["conv1", 8], ["head", 128]]) == (
        "Title\nname   units\nconv1      8\nhead     128\n"
    )


def test_long_cells_are_wrapped_to_the_width():
    text = render("", ["name", "reason"], [["a", "one two three"], ["b", "x" * 20]], width=12)
    assert (
        text == "name  reason\na     one\n      two\n      three\nb     xxxxxx\n      xxxxxx\n      xxxxxx\n      xx\n"
    )


def test_floats_have_four_digits_and_empty_cells_stay_empty():
    assert render("", ["x", ""], [[0.123456, ""], [12.0, "y"]]) == "     x\n0.1235\n    12  y\n"
