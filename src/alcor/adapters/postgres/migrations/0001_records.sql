-- The region's records. Each row holds the whole record in `body` (msgpack); the other columns are what
-- queries, guards and unique claims need. Text sorts by code point, as in Python, whatever the database's locale.
-- Keys are UUIDv7 made by clients. No foreign keys: guards are checked in the commit (contracts/store.py).

CREATE TABLE networks (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    shared bool NOT NULL,
    vni int8 NOT NULL CONSTRAINT networks_vni UNIQUE,
    body bytea NOT NULL
);
CREATE INDEX networks_project ON networks (project_id, id);
CREATE INDEX networks_shared ON networks (id) WHERE shared;

CREATE TABLE subnets (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    network_id uuid NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX subnets_project ON subnets (project_id, id);
CREATE INDEX subnets_network ON subnets (network_id);

CREATE TABLE ports (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    network_id uuid NOT NULL,
    mac int8 NOT NULL,
    host text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    device_owner text COLLATE "C" NOT NULL,
    port_group_id uuid,
    body bytea NOT NULL,
    CONSTRAINT ports_mac UNIQUE (network_id, mac)
);
CREATE INDEX ports_project ON ports (project_id, id);
CREATE INDEX ports_host ON ports (host) WHERE host <> '';
CREATE INDEX ports_device ON ports (device_id) WHERE device_id <> '';
CREATE INDEX ports_group ON ports (port_group_id) WHERE port_group_id IS NOT NULL;

-- Who holds which address: the claim that no address is given twice in a subnet.
CREATE TABLE addresses (
    subnet_id uuid NOT NULL,
    ip bytea NOT NULL,
    port_id uuid NOT NULL,
    PRIMARY KEY (subnet_id, ip)
);
CREATE INDEX addresses_ip ON addresses (ip); -- clients ask for the port with an address, in whatever subnet

CREATE TABLE group_members (
    group_id uuid NOT NULL,
    port_id uuid NOT NULL,
    PRIMARY KEY (group_id, port_id)
);

CREATE TABLE security_groups (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    is_default bool NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX security_groups_project ON security_groups (project_id, id);

CREATE TABLE security_group_rules (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    security_group_id uuid NOT NULL,
    remote_group_id uuid,
    body bytea NOT NULL
);
CREATE INDEX security_group_rules_project ON security_group_rules (project_id, id);
CREATE INDEX security_group_rules_group ON security_group_rules (security_group_id);
CREATE INDEX security_group_rules_remote ON security_group_rules (remote_group_id)
    WHERE remote_group_id IS NOT NULL;

CREATE TABLE routers (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX routers_project ON routers (project_id, id);

CREATE TABLE port_groups (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    network_id uuid NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX port_groups_project ON port_groups (project_id, id);
CREATE INDEX port_groups_network ON port_groups (network_id);

CREATE TABLE hosts (
    id text COLLATE "C" PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    body bytea NOT NULL
);

-- One row per request, in commit order without gaps. `payload` is msgpack: [puts, deletes], two record sets.
CREATE TABLE changes (
    revision int8 PRIMARY KEY,
    committed_at int8 NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    project_id text COLLATE "C" NOT NULL,
    payload bytea NOT NULL
);
-- Not compressed: compression would cost time while the row of the revision is locked.
ALTER TABLE changes ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX changes_request ON changes (request_id);

-- One row: the number of the last commit, locked last in each transaction; and the controller's term.
CREATE TABLE partition (
    id int2 PRIMARY KEY,
    revision int8 NOT NULL,
    epoch int8 NOT NULL
) WITH (fillfactor = 10);
-- Epochs of a new store begin with the clock (seconds), not with 1: agents that kept goal state of an earlier
-- store hold older epochs then, and take the new one's.
INSERT INTO partition (id, revision, epoch) VALUES (1, 0, extract(epoch FROM now())::int8);
