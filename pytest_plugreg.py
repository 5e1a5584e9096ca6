"""The pytest plugin of plugreg: the fixture ``plugin_host``.

pytest imports this module at each start, in everybody's runs, so it imports nothing but itself.
What the fixture gives is imported when a test asks for it.
"""

from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def plugin_host() -> Iterator[Callable[..., object]]:
    """Make hosts for plugins under test; see ``plugreg.testing``."""
    from plugreg.testing.fixtures import hosts

    with hosts() as make:
        yield make
