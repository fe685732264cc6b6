-- Which subnets are of IPv6, and how addresses come about there. Subnets of before are of IPv4, and so are those that
-- a process of the release before still makes.
ALTER TABLE subnets ADD COLUMN ip_version int8 NOT NULL DEFAULT 4;
ALTER TABLE subnets ADD COLUMN ra_mode text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE subnets ADD COLUMN address_mode text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX subnets_version ON subnets (ip_version, id);
CREATE INDEX subnets_ra_mode ON subnets (ra_mode, id) WHERE ra_mode <> '';
CREATE INDEX subnets_address_mode ON subnets (address_mode, id) WHERE address_mode <> '';
