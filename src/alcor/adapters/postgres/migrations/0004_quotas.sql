-- How many records of each kind a project has (`used`), and how many it may have (`ceiling`; NULL: the default;
-- negative: any number). Moved by every commit that makes or removes records, while it holds the revision's row.
CREATE TABLE quotas (
    project_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    used int8 NOT NULL,
    ceiling int8,
    PRIMARY KEY (project_id, kind)
) WITH (fillfactor = 50); -- room in the page for the next versions of its rows

INSERT INTO quotas (project_id, kind, used)
SELECT project_id, 'network', count(*) FROM networks GROUP BY project_id
UNION ALL SELECT project_id, 'subnet', count(*) FROM subnets GROUP BY project_id
UNION ALL SELECT project_id, 'port', count(*) FROM ports GROUP BY project_id
UNION ALL SELECT project_id, 'security_group', count(*) FROM security_groups GROUP BY project_id
UNION ALL SELECT project_id, 'security_group_rule', count(*) FROM security_group_rules GROUP BY project_id
UNION ALL SELECT project_id, 'router', count(*) FROM routers GROUP BY project_id
UNION ALL SELECT project_id, 'port_group', count(*) FROM port_groups GROUP BY project_id;
