-- What lets projects see and use objects of others. `target`: a project, or * for all.
CREATE TABLE rbac_policies (
    id uuid PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision_number int8 NOT NULL,
    object_type text COLLATE "C" NOT NULL,
    object_id uuid NOT NULL,
    action text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT rbac_policies_one UNIQUE (object_id, action, target)
);
CREATE INDEX rbac_policies_project ON rbac_policies (project_id, id);
CREATE INDEX rbac_policies_target ON rbac_policies (target, object_id);

-- Which records of one project use an object of another: a policy is not removed while they do. `project_id`: of the
-- record. What projects use of their own is not here. `owner`: of a network, whose owner may see the ports on it.
CREATE TABLE loans (
    object_id uuid NOT NULL,
    project_id text COLLATE "C" NOT NULL,
    borrower_id uuid NOT NULL,
    owner text COLLATE "C",
    PRIMARY KEY (object_id, project_id, borrower_id)
);
CREATE UNIQUE INDEX loans_owner ON loans (owner, borrower_id) WHERE owner IS NOT NULL;

-- Policies say it now. The column goes in a later release, when no process writes it any more.
ALTER TABLE networks ALTER COLUMN shared SET DEFAULT false;
DROP INDEX networks_shared;
