-- The opinion about a machine was kept as the record of a source named "incident", over which it got names and a FQDN.
-- It is judged when it is asked for now; see Overlay.
DELETE FROM records WHERE source = 'incident';
DELETE FROM machines WHERE id NOT IN (SELECT machine_id FROM records);
DELETE FROM sources WHERE source = 'incident';
UPDATE generation SET n = n + 1;
