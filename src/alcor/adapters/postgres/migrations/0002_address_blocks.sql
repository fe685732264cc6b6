-- Blocks of a subnet's addresses that were leased at least once. `until`: microseconds since 1970 UTC.
-- `exhausted`: every address was claimed when its holder looked; the commit that releases one clears it.
CREATE TABLE address_blocks (
    subnet_id uuid NOT NULL,
    first_ip bytea NOT NULL,
    holder text COLLATE "C" NOT NULL,
    until int8 NOT NULL,
    exhausted bool NOT NULL,
    PRIMARY KEY (subnet_id, first_ip)
);
CREATE INDEX address_blocks_open ON address_blocks (subnet_id, first_ip) WHERE NOT exhausted;
