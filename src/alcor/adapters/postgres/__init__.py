"""The store on PostgreSQL: schema, mapping of records, commits, and an embedded server."""
