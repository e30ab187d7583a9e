"""A progress callback that interrupts work after a number of items."""


class StoppedError(Exception):
    """Raised by `stop_after`."""


def stop_after(count):
    """A progress callback that raises `StoppedError` after this number of items."""
    remaining = [count]

    def progress(items, description):
        for item in items:
            remaining[0] -= 1
            if remaining[0] < 0:
                raise StoppedError(description)
            yield item

    return progress
