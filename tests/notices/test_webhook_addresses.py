"""Where webhooks may lead: what is refused when a URL is set, and when it is connected to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.notices import check_url
from omni_grpc.notices.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1",
        "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
        "192.0.0.192", "168.63.129.16", "198.18.0.1", "198.51.100.7", "203.0.113.7", "224.0.0.1",
        "255.255.255.255", "240.0.0.1",
        "::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "fec0::1",
        "127.1", "0x7f000001", "2130706433", "localhost", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1",
        "223.255.0.1", "2606:4700:4700::1111", "2a00:1450:4001:80f::200e", "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
    ],
)  # fmt: skip
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "//example.com/", "example.com", "",
        "https://", "https:///path", "https://user:word@example.com/", "https://user@example.com/",
        "https://example.com/#part", "https://example.com:0/", "https://example.com:99999/",
        "https://example.com:x/", "https://exa mple.com/", "https://example.com/\r\nx: y",
        "https://example.com\\@127.0.0.1/", "https://[::1/", "https://münchen.example/",
        "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://db.internal/",
        "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/",
        "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1:8443/",
        "https://example.com/" + "a" * 2_048,
    ],
)  # fmt: skip
def test_urls_that_no_webhook_can_have(url: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check_url(url, private_hosts=False, field="webhook.url")
    assert refused.value.field == "webhook.url"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/", "https://example.com", "https://hooks.example.com:8443/a?b=c%20d",
        "https://1.1.1.1/", "https://[2606:4700:4700::1111]/", "https://xn--mnchen-3ya.example/",
    ],
)  # fmt: skip
def test_urls_that_a_webhook_can_have(url: str) -> None:
    assert check_url(url, private_hosts=False, field="webhook.url") == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "http://receiver.internal/"])
def test_urls_of_private_hosts_where_the_operator_allows_them(url: str) -> None:
    assert check_url(url, private_hosts=True, field="webhook.url") == url


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com{text}"):
        try:
            assert check_url(url, private_hosts=False, field="webhook.url") == url
        except FieldInvalid as refused:
            assert refused.message
