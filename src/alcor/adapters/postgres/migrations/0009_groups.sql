-- Address groups. An entry is a record of its own, so that one address more of ten thousand is one row.
CREATE TABLE address_groups (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX address_groups_project ON address_groups (project_id, id);

CREATE TABLE address_group_entries (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    address_group_id uuid NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX address_group_entries_group ON address_group_entries (address_group_id, id);

ALTER TABLE security_group_rules ADD COLUMN remote_address_group_id uuid;
CREATE INDEX security_group_rules_addresses ON security_group_rules (remote_address_group_id, project_id)
    WHERE remote_address_group_id IS NOT NULL;

-- Rules that new security groups get. Few rows, at first those of Neutron (model/default_rules.py).
-- `remote_group_id` is 'PARENT' where the new group itself is meant.
CREATE TABLE default_rules (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    remote_group_id text COLLATE "C",
    remote_address_group_id uuid,
    body bytea NOT NULL
);
INSERT INTO default_rules (id, project_id, name, revision_number, remote_group_id, remote_address_group_id, body)
VALUES
    ('a1c0de00-0000-4000-8000-000000000001', '', '', 1, NULL, NULL,
     decode('dc0014d92461316330646530302d303030302d343030302d383030302d303030303030303030303031a0a0a0cf000647'
     '4846204000cf00064748462040000190a6656772657373a449507634c0c0c0c0c0c0c0c0c3c3', 'hex')),
    ('a1c0de00-0000-4000-8000-000000000002', '', '', 1, NULL, NULL,
     decode('dc0014d92461316330646530302d303030302d343030302d383030302d303030303030303030303032a0a0a0cf000647'
     '4846204000cf00064748462040000190a6656772657373a449507636c0c0c0c0c0c0c0c0c3c3', 'hex')),
    ('a1c0de00-0000-4000-8000-000000000003', '', '', 1, 'PARENT', NULL,
     decode('dc0014d92461316330646530302d303030302d343030302d383030302d303030303030303030303033a0a0a0cf000647'
     '4846204000cf00064748462040000190a7696e6772657373a449507634c0c0c0a6504152454e54c0c0c0c0c3c2', 'hex')),
    ('a1c0de00-0000-4000-8000-000000000004', '', '', 1, 'PARENT', NULL,
     decode('dc0014d92461316330646530302d303030302d343030302d383030302d303030303030303030303034a0a0a0cf000647'
     '4846204000cf00064748462040000190a7696e6772657373a449507636c0c0c0a6504152454e54c0c0c0c0c3c2', 'hex'));
