"""Which addresses are public, and that names that lead inside are not resolved."""

import asyncio

import pytest

from spavl.images.addresses import PrivateAddress, PublicResolver, is_public


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "no address",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not is_public(address)


def test_a_name_that_lies_inside_is_not_resolved() -> None:
    async def resolve() -> None:
        await PublicResolver().resolve("localhost", 80)

    with pytest.raises(PrivateAddress, match=r"^localhost lies at .*, which is not a public address$"):
        asyncio.run(resolve())
