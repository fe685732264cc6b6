"""Credentials in the form that clients of OpenStack use, and what is asked of Keystone with them."""

from pathlib import Path

import pytest

from alcor.adapters import keystone_login
from alcor.model import errors

PASSWORD = """
# as Horizon gives it out
export OS_AUTH_URL=https://keystone.example:5000/v3/
export OS_USERNAME="neutron"
export OS_PASSWORD='it is $ecret'
export OS_PROJECT_NAME=service
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_ID=default
unset OS_TENANT_ID
"""
APPLICATION = """
OS_AUTH_TYPE=v3applicationcredential
OS_AUTH_URL=http://keystone.example:5000
OS_APPLICATION_CREDENTIAL_ID=abc
OS_APPLICATION_CREDENTIAL_SECRET=xyz
OS_CACERT=/etc/ssl/own.pem
"""


def test_a_password_logs_in_to_a_project() -> None:
    found = keystone_login.parsed(PASSWORD)
    assert found.auth_url == "https://keystone.example:5000/v3"
    user = {"name": "neutron", "domain": {"name": "Default"}, "password": "it is $ecret"}
    assert found.identity == {"methods": ["password"], "password": {"user": user}}
    assert found.scope == {"project": {"name": "service", "domain": {"id": "default"}}}
    assert found.ca_file is None


def test_an_application_credential_has_its_scope_in_itself() -> None:
    found = keystone_login.parsed(APPLICATION)
    credential = {"id": "abc", "secret": "xyz"}
    assert found.identity == {"methods": ["application_credential"], "application_credential": credential}
    assert found.scope is None
    assert found.ca_file == Path("/etc/ssl/own.pem")


@pytest.mark.parametrize(
    "text", ["", "OS_AUTH_URL=keystone:5000", "OS_AUTH_URL=http://k\nOS_USERNAME=x", 'OS_AUTH_URL="http://k']
)
def test_what_cannot_log_in_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "openrc"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(errors.Invalid):
        keystone_login.read(file)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "openrc"
    file.write_text(PASSWORD)
    file.chmod(0o604)
    with pytest.raises(errors.Invalid, match="chmod 600"):
        keystone_login.read(file)
    file.chmod(0o640)  # by the service's group, as configuration under /etc often is
    assert keystone_login.read(file).auth_url
    with pytest.raises(errors.Invalid):
        keystone_login.read(tmp_path / "absent")
