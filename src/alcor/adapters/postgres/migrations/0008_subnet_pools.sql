-- Subnet pools and address scopes; which pool a subnet is from. Subnets of before are from none.

ALTER TABLE subnets ADD COLUMN subnetpool_id uuid;
CREATE INDEX subnets_pool ON subnets (subnetpool_id, project_id) WHERE subnetpool_id IS NOT NULL;

CREATE TABLE address_scopes (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX address_scopes_project ON address_scopes (project_id, id);

CREATE TABLE subnetpools (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    address_scope_id uuid,
    default_version int8,
    body bytea NOT NULL
);
CREATE INDEX subnetpools_project ON subnetpools (project_id, id);
CREATE INDEX subnetpools_scope ON subnetpools (address_scope_id, project_id) WHERE address_scope_id IS NOT NULL;
CREATE INDEX subnetpools_default ON subnetpools (default_version) WHERE default_version IS NOT NULL;
