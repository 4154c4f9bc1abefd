-- What the call is about, in one line for its owner.
ALTER TABLE jobs ADD COLUMN about TEXT;
