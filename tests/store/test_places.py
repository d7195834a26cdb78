"""The compact table of places: what is put in comes out, and a name takes sixteen bytes."""

import random
import tracemalloc

from spavl.store import Places

MANY = 70_000
"""More than twice as many as are kept before they are sorted in."""


def test_every_name_gives_back_its_latest_number() -> None:
    """Names are put in a mixed order, every third a second time with another number, and every seventh is dropped."""
    places, wanted = Places(), {f"name {number}": number for number in range(MANY)}
    order = list(wanted)
    random.Random(0).shuffle(order)
    for name in order:
        places.put(name, wanted[name])
    for name in order[::3]:
        wanted[name] += MANY
        places.put(name, wanted[name])
    for name in order[::7]:
        del wanted[name]
        places.drop(name)
        places.drop(name)
    assert len(places) == len(wanted)
    assert all(places.get(name) == wanted.get(name) for name in order)
    assert all((name in places) == (name in wanted) for name in order)
    assert list(places.in_order()) == sorted(wanted.values())


def test_a_dropped_name_may_come_again() -> None:
    places = Places([("a", 3), ("b", 5)])
    places.drop("a")
    places.put("a", 0)
    assert (len(places), places.get("a"), places.get("c"), list(places.in_order())) == (2, 0, None, [0, 5])


def test_a_name_takes_sixteen_bytes_however_long_it_is() -> None:
    """8 bytes for its hash and 8 for its number, once all are sorted in; 0.5 are allowed for what does not grow."""
    tracemalloc.start()
    places = Places((f"{'a long name ' * 9}{number}", number) for number in range(MANY))
    assert next(places.in_order()) == 0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 16 * MANY <= held < 16.5 * MANY
