-- What the operator says of tenants. Few rows: a tenant without one has the defaults.
CREATE TABLE projects (
    id text COLLATE "C" PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    body bytea NOT NULL
);
