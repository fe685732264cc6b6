-- Requests that are carried out once however often they are sent: the key that the project gave one, what it asked
-- for (`fingerprint`), and the change that holds what was made. `until`: microseconds since 1970 UTC.
CREATE TABLE request_keys (
    project_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    revision int8 NOT NULL,
    until int8 NOT NULL,
    PRIMARY KEY (project_id, key)
);
CREATE INDEX request_keys_until ON request_keys (until);
