-- Finds the files that refer to some content, and those whose time is over, for the sweeper.

CREATE INDEX files_by_content ON objects (json_extract(CAST(private AS TEXT), '$.sha256')) WHERE kind = 'file';

CREATE INDEX files_by_expiry ON objects (json_extract(CAST(body AS TEXT), '$.expires_at')) WHERE kind = 'file';
