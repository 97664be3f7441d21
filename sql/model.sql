-- The catalogue of models: loading, replacing, defaults, privileges, refusals.
-- Models come from the test's own files, made by `make fixtures`.
\set tiny16 `base64 -w0 build/fixtures/tiny16.safetensors`
\set other16 `base64 -w0 build/fixtures/other16.safetensors`
\set tiny64 `base64 -w0 build/fixtures/tiny64.safetensors`
\set half `base64 -w0 build/fixtures/half.safetensors`
\set red `base64 -w0 build/fixtures/red.jpg`

-- nothing is loaded yet
SELECT count(*) FROM deephash_models;
SELECT deephash_default_model() IS NULL AS none;
SELECT deephash_encode(decode(:'red', 'base64'));
SELECT deephash_encode(decode(:'red', 'base64'), 'tiny');

-- the first becomes the default
SELECT deephash_load_model('tiny', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('large', contents => decode(:'tiny64', 'base64'));
SELECT name, bits, architecture, length(sha256), size > 1000 AS sized, is_default, loaded_by,
       loaded_at = now() AS now, provenance, metrics
FROM deephash_models ORDER BY name;
SELECT sha256 = encode(sha256(decode(:'tiny16', 'base64')), 'hex') AS true_sha256
FROM deephash_models WHERE name = 'tiny';
SELECT deephash_default_model();
SELECT deephash_default_model('large');
SELECT deephash_default_model();
SELECT length(deephash_encode(decode(:'red', 'base64')));
SELECT deephash_default_model('unheard of');
SELECT deephash_default_model('tiny');

-- the same again is no change; another under the name is refused unless asked for
SELECT deephash_load_model('tiny', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('tiny', decode(:'other16', 'base64'));
SELECT deephash_encode(decode(:'red', 'base64'), 'tiny') AS before \gset
SELECT deephash_load_model('tiny', decode(:'other16', 'base64'), replace => true);
SELECT is_default FROM deephash_models WHERE name = 'tiny';
SELECT deephash_encode(decode(:'red', 'base64'), 'tiny') <> :'before'::hashcode AS changed;
BEGIN;
SELECT deephash_load_model('tiny', decode(:'tiny16', 'base64'), true);
SELECT deephash_encode(decode(:'red', 'base64'), 'tiny') = :'before'::hashcode AS back;
ROLLBACK;
SELECT deephash_encode(decode(:'red', 'base64'), 'tiny') <> :'before'::hashcode AS rolled_back;

-- refused files
SELECT deephash_load_model('broken', ''::bytea);
SELECT deephash_load_model('broken', 'no model at all'::bytea);
SELECT deephash_load_model('broken', decode(:'half', 'base64'));
SELECT deephash_load_model('broken', decode(:'red', 'base64'));
SELECT count(*) FROM deephash_models WHERE name = 'broken';

-- refused arguments
SELECT deephash_load_model('', decode(:'tiny16', 'base64'));
SELECT deephash_load_model(repeat('n', 64), decode(:'tiny16', 'base64'));
SELECT deephash_load_model(NULL, decode(:'tiny16', 'base64'));
SELECT deephash_load_model('x', NULL::text);
SELECT deephash_load_model('x', 'relative/path');
SELECT deephash_load_model('x', '/nowhere/at/all');
SELECT deephash_load_model('x', '/');
SELECT deephash_load_model('x', '/dev/zero');
BEGIN READ ONLY;
SELECT deephash_load_model('x', decode(:'tiny16', 'base64'));
ROLLBACK;
BEGIN READ ONLY;
SELECT deephash_drop_model('tiny');
ROLLBACK;

-- dropping
SELECT deephash_drop_model('unheard of');
SELECT deephash_drop_model('large');
SELECT deephash_encode(decode(:'red', 'base64'), 'large');
SELECT count(*) FROM deephash_model_chunk WHERE model = 'large';
SELECT deephash_drop_model('tiny');
SELECT deephash_default_model() IS NULL AS none;

-- privileges
SELECT deephash_load_model('tiny', decode(:'tiny16', 'base64'));
CREATE ROLE regress_deephash_user;
CREATE ROLE regress_deephash_loader;
GRANT EXECUTE ON FUNCTION deephash_load_model(text, text, boolean) TO regress_deephash_loader;
GRANT EXECUTE ON FUNCTION deephash_load_model(text, bytea, boolean) TO regress_deephash_loader;
GRANT EXECUTE ON FUNCTION deephash_drop_model(text) TO regress_deephash_loader;
SET ROLE regress_deephash_user;
SELECT name, bits FROM deephash_models;
SELECT length(deephash_encode(decode(:'red', 'base64'))), deephash_default_model();
SELECT deephash_load_model('mine', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('mine', '/srv/model.safetensors');
SELECT deephash_drop_model('tiny');
SELECT deephash_default_model('tiny');
SELECT name FROM deephash_model;
SELECT part FROM deephash_model_chunk;
SET ROLE regress_deephash_loader;
SELECT deephash_load_model('mine', '/srv/model.safetensors');
SELECT deephash_load_model('mine', decode(:'tiny64', 'base64'));
SELECT name, loaded_by FROM deephash_models ORDER BY name;
DELETE FROM deephash_model;
INSERT INTO deephash_model_chunk VALUES ('mine', 7, '');
-- a trap in the search path is not stepped into
CREATE TEMP TABLE deephash_model (name name);
SET search_path = pg_temp, public;
SELECT deephash_drop_model('mine');
RESET search_path;
DROP TABLE pg_temp.deephash_model;
RESET ROLE;
SELECT name FROM deephash_models;
SELECT deephash_drop_model('tiny');
REVOKE ALL ON FUNCTION deephash_load_model(text, text, boolean), deephash_load_model(text, bytea, boolean),
  deephash_drop_model(text) FROM regress_deephash_loader;
DROP ROLE regress_deephash_user, regress_deephash_loader;
