-- ----------------------------------------------------------------- encoder
-- Not volatile, so that an index can serve ORDER BY code <~> deephash_encode($1);
-- not immutable, since a name may come to mean another model.
CREATE FUNCTION @extschema@.deephash_encode(image pg_catalog.bytea, model pg_catalog.text DEFAULT NULL)
  RETURNS @extschema@.hashcode LANGUAGE c STABLE PARALLEL SAFE COST 100000
  AS 'MODULE_PATHNAME', 'deephash_encode';
COMMENT ON FUNCTION @extschema@.deephash_encode(pg_catalog.bytea, pg_catalog.text)
  IS 'the code of a JPEG by a model (default: the default model)';
CREATE FUNCTION @extschema@.deephash_embed(image pg_catalog.bytea, model pg_catalog.text DEFAULT NULL)
  RETURNS pg_catalog.float4[] LANGUAGE c STABLE PARALLEL SAFE COST 100000
  AS 'MODULE_PATHNAME', 'deephash_embed';
COMMENT ON FUNCTION @extschema@.deephash_embed(pg_catalog.bytea, pg_catalog.text)
  IS 'the numbers whose signs are the code of a JPEG';
CREATE FUNCTION @extschema@.deephash_encode_trigger()
  RETURNS pg_catalog.trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'deephash_encode_trigger';
COMMENT ON FUNCTION @extschema@.deephash_encode_trigger()
  IS 'BEFORE INSERT OR UPDATE, FOR EACH ROW (image column, code column [, model])';

CREATE FUNCTION @extschema@.deephash_ping()
  RETURNS pg_catalog.bool LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_ping';
COMMENT ON FUNCTION @extschema@.deephash_ping() IS 'wait until the encoder serves';
CREATE FUNCTION @extschema@.deephash_engine_status()
  RETURNS pg_catalog.jsonb LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_engine_status';
COMMENT ON FUNCTION @extschema@.deephash_engine_status() IS 'what the encoder is doing';
CREATE VIEW @extschema@.deephash_service AS
  SELECT s.pid, s.device,
         pg_catalog.make_interval(secs => s.uptime_ms OPERATOR(pg_catalog./) 1000.0) AS uptime,
         s.clients, s.models, s.model_memory, s.requests, s.images, s.batches, s.failures, s.dropped,
         s.queued, s.buffered
  FROM @extschema@.deephash_engine_status() AS status,
       pg_catalog.jsonb_to_record(status) AS s(pid pg_catalog.int4, device pg_catalog.text,
         uptime_ms pg_catalog.int8, clients pg_catalog.int4, models pg_catalog.int4,
         model_memory pg_catalog.int8, requests pg_catalog.int8, images pg_catalog.int8,
         batches pg_catalog.int8, failures pg_catalog.int8, dropped pg_catalog.int8,
         queued pg_catalog.int4, buffered pg_catalog.int8);
GRANT SELECT ON @extschema@.deephash_service TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_service IS 'what the encoder is doing';
