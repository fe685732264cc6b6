"""The thinnest way through the API."""

from api_scene import scene


async def test_a_network_a_subnet_and_a_port_are_made_and_shown() -> None:
    async with scene() as s:
        network_id, subnet_id = await s.wired_network()
        port = await s.make("port", network_id=network_id, name="p")
        assert port["fixed_ips"] == [{"subnet_id": subnet_id, "ip_address": "10.0.0.2"}]
        assert port["status"] == "DOWN"
        assert port["tenant_id"] == "blue"
        assert len(port["security_groups"]) == 1
        group = (await s.ask("GET", "/security-groups", expect=200)).json()["security_groups"][0]
        assert group["name"] == "default"
        assert len(group["security_group_rules"]) == 4
        body = {"ports": [{"network_id": network_id, "name": f"p{n}"} for n in range(100)]}
        made = await s.ask("POST", "/ports", body, expect=201)
        assert made.headers["x-alcor-revision"] == str(await s.store.revision())
        ips = {p["fixed_ips"][0]["ip_address"] for p in made.json()["ports"]}
        assert len(ips) == 100
        listed = (await s.ask("GET", "/ports?limit=30&sort_key=name&fields=name", expect=200)).json()
        assert len(listed["ports"]) == 30
        assert listed["ports_links"][0]["rel"] == "next"
