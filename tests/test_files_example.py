"""The example of files and data does what it says, through the command line."""

from __future__ import annotations

import pytest

from .conftest import PROJECT, User

pytestmark = pytest.mark.slow


def test_the_example_of_files_prints_what_is_in_them(user: User) -> None:
    done = user.run("run", str(PROJECT / "examples/script-users/features/files_and_data.lua"))
    assert (done.code, done.err) == (0, ""), done
    assert done.out.splitlines() == [
        "customer: string, 2 different",
        "item: string, 3 different",
        "price: float, 3 different",
        "quantity: integer, 3 different",
        "Ann spent 27.0",
        "Bob spent 7.2",
        "line 4: Ann,honey,6.00,3",
        "line 4: Ann,honey,6.00,3,18.00",
        "Robert'); DROP TABLE orders; --",
        "Created archive with 2 files (180 bytes)",
        "  orders.csv, 79 bytes",
        "  sums.csv, 101 bytes",
    ]
