-- How far the compute service was told of its servers' ports: the revision of the change log (one row, id 1), and
-- for each host a mark of the ports that it was told are plugged there (exclusive-or; hosts without any have no row).
CREATE TABLE told_revision (
    id int2 PRIMARY KEY,
    revision int8 NOT NULL
);
CREATE TABLE told_marks (
    host text COLLATE "C" PRIMARY KEY,
    mark int8 NOT NULL
);
