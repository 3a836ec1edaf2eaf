"""Many small cases in one test: as tests of their own they would take longer to hand out than to run.

for law in LAWS:
    with case(law.id):
        assert law.paper.title      # what fails here ends with the note: in the case 'chinchilla'
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def case(name: object) -> Iterator[None]:
    """Name the case in whatever goes wrong in it."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {name!r}")
        raise
