-- Every filter of ports that clients use has an index that gives the ports in the order of pages, so that a page
-- costs what is on it, whatever else is stored. Statements repeat the condition of a partial index (queries.py).
CREATE INDEX ports_network ON ports (network_id, id);
CREATE INDEX ports_named ON ports (name, id) WHERE name <> '';
DROP INDEX ports_host;
CREATE INDEX ports_host ON ports (host, id) WHERE host <> '';
DROP INDEX ports_device;
CREATE INDEX ports_device ON ports (device_id, id) WHERE device_id <> '';

-- The claim on a MAC address also finds its port, in whatever network.
ALTER TABLE ports DROP CONSTRAINT ports_mac;
ALTER TABLE ports ADD CONSTRAINT ports_mac UNIQUE (mac, network_id);
