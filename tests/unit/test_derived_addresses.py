"""Addresses that follow from a MAC address."""

from alcor.model.addressing import derived_ip, ip_from_text, ip_to_text, link_local_ip, mac_from_text


def test_a_host_s_address_is_its_prefix_and_its_mac_address() -> None:
    prefix = ip_from_text("2001:db8:1:2::")
    assert (
        ip_to_text(derived_ip(prefix, mac_from_text("fa:16:3e:12:34:56"))) == "2001:db8:1:2:f816:3eff:fe12:3456"
    )


def test_the_universal_bit_of_a_universal_address_is_set() -> None:
    assert ip_to_text(link_local_ip(mac_from_text("00:00:5e:00:53:01"))) == "fe80::200:5eff:fe00:5301"
