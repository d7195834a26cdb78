"""Copies are found within a number of bits, the nearest first."""

from spavl.images.dedup import KeptPictures


def test_copies_are_those_within_the_number_of_bits() -> None:
    """0b1111 differs from 0 in four bits, 0b11111 in five."""
    kept = KeptPictures(4)
    assert kept.twin("0" * 16) is None
    kept.add("first", "0" * 16)
    assert kept.twin(f"{0b1111:016x}") == "first"
    assert kept.twin(f"{0b11111:016x}") is None


def test_with_no_bits_only_equal_hashes_are_copies() -> None:
    kept = KeptPictures(0)
    kept.add("first", "f" * 16)
    assert kept.twin("f" * 16) == "first"
    assert kept.twin("f" * 15 + "e") is None


def test_the_nearest_of_several_is_named_and_of_equals_the_first() -> None:
    kept = KeptPictures(4)
    for name, bits in (("three", 0b111), ("one", 0b1), ("other one", 0b10)):
        kept.add(name, f"{bits:016x}")
    assert kept.twin("0" * 16) == "one"


def test_every_one_of_many_is_remembered() -> None:
    kept, hashes = KeptPictures(0), [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(1, 1000)]
    for number, perceptual_hash in enumerate(hashes):
        kept.add(str(number), perceptual_hash)
    assert [kept.twin(perceptual_hash) for perceptual_hash in hashes] == [str(number) for number in range(999)]
