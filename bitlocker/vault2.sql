-- When a machine said that it has removed the protector of a key, and when Intune was asked to have it replaced.
ALTER TABLE refs ADD COLUMN rotated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE refs ADD COLUMN rotation_asked INTEGER NOT NULL DEFAULT 0;
