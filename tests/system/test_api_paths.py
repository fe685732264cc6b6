"""The fast path is asked for by ports and port groups, and hosts show how changes reach them."""

from api_scene import scene


async def test_a_port_asks_for_the_fast_path_and_can_be_changed() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        assert (await s.make("port", network_id=network_id))["alcor:fast_path"] is False
        port = await s.make("port", **{"network_id": network_id, "alcor:fast_path": True})
        assert port["alcor:fast_path"] is True
        path = f"/ports/{port['id']}"
        assert (await s.ask("GET", path)).json()["port"]["alcor:fast_path"] is True
        body = {"port": {"alcor:fast_path": False}}
        assert (await s.ask("PUT", path, body)).json()["port"]["alcor:fast_path"] is False
        body = {"port": {"network_id": network_id, "alcor:fast_path": "perhaps"}}
        assert (await s.ask("POST", "/ports", body)).status_code == 400


async def test_a_port_group_asks_for_all_its_ports() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        for group, template in ((True, {}), (False, {"alcor:fast_path": True})):
            body = {
                "port_group": {
                    "network_id": network_id,
                    "hosts": ["host-1", "host-2"],
                    "alcor:fast_path": group,
                    "port": template,
                }
            }
            answer = await s.ask("POST", "/port-groups", body, admin=True)
            assert answer.status_code == 201, answer.text
            made = answer.json()["port_group"]
            assert made["alcor:fast_path"] is True
            ports = (await s.ask("GET", f"/ports?port_group_id={made['id']}")).json()["ports"]
            assert [port["alcor:fast_path"] for port in ports] == [True, True]
