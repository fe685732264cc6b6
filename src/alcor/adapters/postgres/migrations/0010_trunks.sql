-- Trunks. Their sub-ports are in the body, and each port says itself which trunk it is of: that is the claim.
CREATE TABLE trunks (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    port_id uuid NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX trunks_project ON trunks (project_id, id);
CREATE INDEX trunks_port ON trunks (port_id);
