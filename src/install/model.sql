-- ------------------------------------------------------------------- model
-- The catalogue of models.  The bytes of a model lie in rows of 1 MB, so that
-- dumps and restores of any size work.  Both tables are dumped with the database.
CREATE TABLE @extschema@.deephash_model (
  name        pg_catalog.name PRIMARY KEY CHECK (name OPERATOR(pg_catalog.<>) ''),
  sha256      pg_catalog.bytea NOT NULL CHECK (pg_catalog.length(sha256) OPERATOR(pg_catalog.=) 32),
  bits        pg_catalog.int4 NOT NULL,
  size        pg_catalog.int8 NOT NULL,
  is_default  pg_catalog.bool NOT NULL,
  loaded_by   pg_catalog.name NOT NULL,
  loaded_at   pg_catalog.timestamptz NOT NULL,
  description pg_catalog.jsonb NOT NULL
);
CREATE UNIQUE INDEX deephash_model_default ON @extschema@.deephash_model (is_default) WHERE is_default;
CREATE TABLE @extschema@.deephash_model_chunk (
  model pg_catalog.name REFERENCES @extschema@.deephash_model,
  part  pg_catalog.int4,
  data  pg_catalog.bytea NOT NULL,
  PRIMARY KEY (model, part)
);
-- Weights do not compress.
ALTER TABLE @extschema@.deephash_model_chunk ALTER COLUMN data SET STORAGE EXTERNAL;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.deephash_model', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.deephash_model_chunk', '');
REVOKE ALL ON @extschema@.deephash_model, @extschema@.deephash_model_chunk FROM PUBLIC;

CREATE VIEW @extschema@.deephash_models AS
  SELECT m.name, m.bits, m.description OPERATOR(pg_catalog.->>) 'architecture' AS architecture,
         pg_catalog.encode(m.sha256, 'hex') AS sha256, m.size, m.is_default, m.loaded_by, m.loaded_at,
         m.description OPERATOR(pg_catalog.->) 'provenance' AS provenance,
         m.description OPERATOR(pg_catalog.->) 'metrics' AS metrics,
         m.description
  FROM @extschema@.deephash_model AS m;
GRANT SELECT ON @extschema@.deephash_models TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_models IS 'models that images can be encoded with';

CREATE FUNCTION @extschema@.deephash_load_model(name pg_catalog.text, path pg_catalog.text,
    replace pg_catalog.bool DEFAULT false)
  RETURNS pg_catalog.int4 LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'deephash_load_model_file';
COMMENT ON FUNCTION @extschema@.deephash_load_model(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
  IS 'load a model from a file of the server; returns its code length in bits';
CREATE FUNCTION @extschema@.deephash_load_model(name pg_catalog.text, contents pg_catalog.bytea,
    replace pg_catalog.bool DEFAULT false)
  RETURNS pg_catalog.int4 LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'deephash_load_model_contents';
COMMENT ON FUNCTION @extschema@.deephash_load_model(pg_catalog.text, pg_catalog.bytea, pg_catalog.bool)
  IS 'load a model from its file''s bytes; returns its code length in bits';
CREATE FUNCTION @extschema@.deephash_drop_model(name pg_catalog.text)
  RETURNS pg_catalog.void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'deephash_drop_model';
COMMENT ON FUNCTION @extschema@.deephash_drop_model(pg_catalog.text) IS 'forget a model';
CREATE FUNCTION @extschema@.deephash_default_model(name pg_catalog.text)
  RETURNS pg_catalog.void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'deephash_set_default_model';
COMMENT ON FUNCTION @extschema@.deephash_default_model(pg_catalog.text)
  IS 'choose the model of calls that name none';
CREATE FUNCTION @extschema@.deephash_default_model()
  RETURNS pg_catalog.text LANGUAGE sql STABLE PARALLEL SAFE
  AS 'SELECT m.name::pg_catalog.text FROM @extschema@.deephash_models AS m WHERE m.is_default';
COMMENT ON FUNCTION @extschema@.deephash_default_model() IS 'the model of calls that name none';

-- What codes mean depends on these, so the administrator decides who may call them.
REVOKE ALL ON FUNCTION
  @extschema@.deephash_load_model(pg_catalog.text, pg_catalog.text, pg_catalog.bool),
  @extschema@.deephash_load_model(pg_catalog.text, pg_catalog.bytea, pg_catalog.bool),
  @extschema@.deephash_drop_model(pg_catalog.text),
  @extschema@.deephash_default_model(pg_catalog.text) FROM PUBLIC;

