-- What the usage of a billed window had to come to by its plan's minimum commitment, in minor units of a currency.

PRAGMA user_version = 5;

ALTER TABLE usage_windows ADD COLUMN usage_minimum INTEGER;
ALTER TABLE usage_windows ADD COLUMN currency TEXT CHECK ((currency IS NULL) = (usage_minimum IS NULL));
