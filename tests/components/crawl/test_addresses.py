"""Which addresses a crawler may ask."""

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from components.crawl.addresses import (
    RefusedURL,
    SourceURL,
    canonical,
    is_public,
    networks,
    target_of,
)

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "fec0::1",
    "3fff::1",
    "5f00::1",
    "::10.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b:1::a00:1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_a_private_address_is_refused_in_whatever_it_is_wrapped(
    address: ipaddress.IPv4Address,
) -> None:
    number = int(address)
    wrapped = (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x0064FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    )
    assert not any(is_public(str(one)) for one in (address, *wrapped))


URLS = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::1]/",
    "http://[::ffff:169.254.169.254]/latest",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://user:word@example.com/",
    "http:///nowhere",
    "//example.com",
    "",
    "http://no-such-name.invalid/",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_leads_inside_or_nowhere_is_refused(url: str) -> None:
    with pytest.raises(RefusedURL):
        asyncio.run(target_of(url))


def test_what_a_source_allows_passes_and_nothing_beside_it() -> None:
    allowed = networks(["127.0.0.1"])
    assert asyncio.run(target_of("http://127.0.0.1:8000/x", allowed)).address == "127.0.0.1"
    with pytest.raises(RefusedURL, match=r"127\.0\.0\.2"):
        asyncio.run(target_of("http://127.0.0.2/", allowed))


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async def found(*_: object, **__: object) -> list[object]:
            return [(2, 1, 6, "", ("1.1.1.1", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found, raising=False)
        await target_of("http://a.example/")

    with pytest.raises(RefusedURL, match=r"10\.0\.0\.1"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://A.example:80/x#part", "http://a.example/x"),
        ("https://a.example:443", "https://a.example/"),
        ("https://a.example:444/?q=1#", "https://a.example:444/?q=1"),
        ("http://a.example?", "http://a.example/?"),
        ("http://a.example?q=1", "http://a.example/?q=1"),
        ("http://a.example/%7e%41%2d?%5f=%c3%a4", "http://a.example/~A-?_=%C3%A4"),
        ("http://a.example/x/%2e%2E/y%2fz", "http://a.example/y%2Fz"),
        ("http://ex%61mple.com/%zz%", "http://example.com/%zz%"),
        ("http://[2606:4700::1111]:8080", "http://[2606:4700::1111]:8080/"),
        ("http://faß.example/ß", "http://xn--fa-hia.example/%C3%9F"),
    ],
)
def test_one_text_stands_for_all_ways_to_write_a_url(url: str, expected: str) -> None:
    assert canonical(url) == expected
    assert canonical(canonical(url)) == expected


def test_a_name_is_looked_up_as_the_request_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def run() -> None:
        async def found(host: str, *_: object, **__: object) -> list[object]:
            asked.append(host)
            return [(2, 1, 6, "", ("1.1.1.1", 80))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found, raising=False)
        target = await target_of("http://faß.example/")
        assert asked == [target.host] == ["xn--fa-hia.example"]

    asyncio.run(run())


@pytest.mark.parametrize("url", ["", "https://a.example", "http://127.0.0.1:8000/x?y"])
def test_a_source_may_be_named(url: str) -> None:
    assert TypeAdapter(SourceURL).validate_python(url) == url


@pytest.mark.parametrize(
    "url", ["rubbish", "ftp://a.example/", "https://u:p@a.example/", "http://"]
)
def test_what_can_be_no_source_is_refused_before_the_job_runs(url: str) -> None:
    with pytest.raises(ValidationError, match="URL"):
        TypeAdapter(SourceURL).validate_python(url)
