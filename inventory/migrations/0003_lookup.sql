-- One machine is found without reading all of them: by what its records and its operator call it. See lookup.go, which
-- repeats these expressions to the letter; SQLite uses the indexes for nothing else.
CREATE INDEX records_name ON records (lower(substr(fields ->> '$.name', instr(fields ->> '$.name', '\') + 1))) WHERE fields ->> '$.name' IS NOT NULL;
CREATE INDEX records_fqdn ON records (lower(fields ->> '$.fqdn')) WHERE fields ->> '$.fqdn' IS NOT NULL;
CREATE INDEX records_serial ON records (lower(fields ->> '$.serial')) WHERE fields ->> '$.serial' IS NOT NULL;
CREATE INDEX records_owner ON records (lower(fields ->> '$.owner')) WHERE fields ->> '$.owner' IS NOT NULL;
CREATE INDEX records_account ON records (lower(substr(fields ->> '$.owner', instr(fields ->> '$.owner', '\') + 1))) WHERE fields ->> '$.owner' IS NOT NULL;
CREATE INDEX records_guid ON records (lower(fields ->> '$."claims.object_guid"')) WHERE fields ->> '$."claims.object_guid"' IS NOT NULL;
CREATE INDEX records_device ON records (lower(fields ->> '$."claims.entra_device_id"')) WHERE fields ->> '$."claims.entra_device_id"' IS NOT NULL;
