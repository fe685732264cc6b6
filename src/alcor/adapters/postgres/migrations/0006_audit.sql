-- Who asked for a change, and what it did in short (msgpack); committed with it. NULL: no request did.
ALTER TABLE changes ADD COLUMN audit bytea;

-- The audit trail: taken over from the change log, and requests that committed nothing. `id` begins with the time.
CREATE TABLE audit (
    id text COLLATE "C" PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX audit_project ON audit (project_id, id);
CREATE INDEX audit_kind ON audit (kind, id);

-- How far the change log was taken over. What is not, must not be trimmed.
CREATE TABLE audit_cursor (
    id int2 PRIMARY KEY,
    revision int8 NOT NULL
);
INSERT INTO audit_cursor (id, revision) SELECT 1, revision FROM partition WHERE id = 1;
