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
-- Many images in one call: all of them are on their way at once.
CREATE FUNCTION @extschema@.deephash_encode_array(images pg_catalog.bytea[], model pg_catalog.text DEFAULT NULL)
  RETURNS @extschema@.hashcode[] LANGUAGE c STABLE PARALLEL SAFE COST 1000000
  AS 'MODULE_PATHNAME', 'deephash_encode_array';
COMMENT ON FUNCTION @extschema@.deephash_encode_array(pg_catalog.bytea[], pg_catalog.text)
  IS 'the codes of many JPEGs';
CREATE FUNCTION @extschema@.deephash_embed_array(images pg_catalog.bytea[], model pg_catalog.text DEFAULT NULL)
  RETURNS pg_catalog.float4[] LANGUAGE c STABLE PARALLEL SAFE COST 1000000
  AS 'MODULE_PATHNAME', 'deephash_embed_array';
COMMENT ON FUNCTION @extschema@.deephash_embed_array(pg_catalog.bytea[], pg_catalog.text)
  IS 'the logits of many JPEGs, a row for each';
CREATE FUNCTION @extschema@.deephash_encode_set(images pg_catalog.bytea[], model pg_catalog.text DEFAULT NULL,
    OUT ordinality pg_catalog.int4, OUT code @extschema@.hashcode, OUT error pg_catalog.text)
  RETURNS SETOF pg_catalog.record LANGUAGE c STABLE PARALLEL SAFE COST 1000000 ROWS 100
  AS 'MODULE_PATHNAME', 'deephash_encode_set';
COMMENT ON FUNCTION @extschema@.deephash_encode_set(pg_catalog.bytea[], pg_catalog.text)
  IS 'the codes of many JPEGs, or why an image has none';
CREATE FUNCTION @extschema@.deephash_encode_trigger()
  RETURNS pg_catalog.trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'deephash_encode_trigger';
COMMENT ON FUNCTION @extschema@.deephash_encode_trigger()
  IS 'BEFORE INSERT OR UPDATE, FOR EACH ROW (image column, code column [, model])';
CREATE FUNCTION @extschema@.deephash_encode_statement_trigger()
  RETURNS pg_catalog.trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'deephash_encode_statement_trigger';
COMMENT ON FUNCTION @extschema@.deephash_encode_statement_trigger()
  IS 'AFTER INSERT OR UPDATE, FOR EACH STATEMENT (image column, code column [, model]): encodes many rows at once';
CREATE PROCEDURE @extschema@.deephash_encode_table("table" pg_catalog.regclass, image_column pg_catalog.name,
    code_column pg_catalog.name, model pg_catalog.text DEFAULT NULL, batch pg_catalog.int4 DEFAULT 256,
    bad_images pg_catalog.text DEFAULT 'warn')
  LANGUAGE c AS 'MODULE_PATHNAME', 'deephash_encode_table';
COMMENT ON PROCEDURE @extschema@.deephash_encode_table(pg_catalog.regclass, pg_catalog.name, pg_catalog.name,
    pg_catalog.text, pg_catalog.int4, pg_catalog.text)
  IS 'codes for all rows that have an image and no code, committed batch by batch';
CREATE FUNCTION @extschema@.deephash_encode_progress(OUT pid pg_catalog.int4, OUT datid pg_catalog.oid,
    OUT relid pg_catalog.oid, OUT model pg_catalog.text, OUT rows_total pg_catalog.int8, OUT rows_done pg_catalog.int8,
    OUT refused pg_catalog.int8, OUT started pg_catalog.timestamptz)
  RETURNS SETOF pg_catalog.record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10
  AS 'MODULE_PATHNAME', 'deephash_encode_progress';
COMMENT ON FUNCTION @extschema@.deephash_encode_progress() IS 'how far each deephash_encode_table is';
CREATE VIEW @extschema@.deephash_progress AS
  SELECT p.pid, d.datname, p.relid, p.model, p.rows_total, p.rows_done, p.refused, p.started,
         pg_catalog.round(p.rows_done OPERATOR(pg_catalog./) s.seconds, 1) AS rows_per_second,
         CASE WHEN p.rows_done OPERATOR(pg_catalog.>) 0 THEN pg_catalog.make_interval(secs =>
           (pg_catalog.round(s.seconds OPERATOR(pg_catalog.*) (p.rows_total OPERATOR(pg_catalog.-) p.rows_done)
             OPERATOR(pg_catalog./) p.rows_done))::pg_catalog.float8) END AS time_left
  FROM @extschema@.deephash_encode_progress() AS p
       LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) p.datid,
       LATERAL (SELECT GREATEST(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
         OPERATOR(pg_catalog.-) p.started), 0.001)::pg_catalog.numeric AS seconds) AS s;
GRANT SELECT ON @extschema@.deephash_progress TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_progress IS 'how far each deephash_encode_table is';

CREATE FUNCTION @extschema@.deephash_ping()
  RETURNS pg_catalog.bool LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_ping';
COMMENT ON FUNCTION @extschema@.deephash_ping() IS 'wait until the encoder serves';
CREATE FUNCTION @extschema@.deephash_engine_status()
  RETURNS pg_catalog.jsonb LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_engine_status';
COMMENT ON FUNCTION @extschema@.deephash_engine_status() IS 'what the encoder is doing';
CREATE FUNCTION @extschema@.deephash_supervisor(OUT pid pg_catalog.int4, OUT state pg_catalog.text,
    OUT reason pg_catalog.text)
  RETURNS pg_catalog.record LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_supervisor';
COMMENT ON FUNCTION @extschema@.deephash_supervisor() IS 'the process that keeps the encoder alive, and how the encoder is';
CREATE FUNCTION @extschema@.deephash_stats_reset()
  RETURNS pg_catalog.void LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'deephash_stats_reset';
REVOKE ALL ON FUNCTION @extschema@.deephash_stats_reset() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.deephash_stats_reset() IS 'begin the statistics of deephash_stats anew';
CREATE VIEW @extschema@.deephash_service AS
  SELECT s.pid, s.device,
         pg_catalog.make_interval(secs => s.uptime_ms OPERATOR(pg_catalog./) 1000.0) AS uptime,
         s.clients, s.models, s.model_memory, s.requests, s.images, s.batches, s.failures, s.dropped,
         s.queued, s.buffered, s.device_memory, s.memory,
         NULLIF(s.memory_limit, 0) AS memory_limit, s.sandbox, s."precision",
         (SELECT u.state FROM @extschema@.deephash_supervisor() AS u) AS state,
         (SELECT u.reason FROM @extschema@.deephash_supervisor() AS u) AS reason
  -- An engine that cannot be had gives a row with the reason instead of an error.
  FROM pg_catalog.jsonb_to_record(
         CASE WHEN (SELECT u.state OPERATOR(pg_catalog.=) 'failed' FROM @extschema@.deephash_supervisor() AS u)
              THEN '{}' ELSE @extschema@.deephash_engine_status() END) AS s(pid pg_catalog.int4, device pg_catalog.text,
         uptime_ms pg_catalog.int8, clients pg_catalog.int4, models pg_catalog.int4,
         model_memory pg_catalog.int8, requests pg_catalog.int8, images pg_catalog.int8,
         batches pg_catalog.int8, failures pg_catalog.int8, dropped pg_catalog.int8,
         queued pg_catalog.int4, buffered pg_catalog.int8, device_memory pg_catalog.int8,
         "precision" pg_catalog.text, sandbox pg_catalog.text,
         memory pg_catalog.int8, memory_limit pg_catalog.int8);
GRANT SELECT ON @extschema@.deephash_service TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_service IS 'what the encoder is doing';
CREATE VIEW @extschema@.deephash_service_models AS
  SELECT (SELECT pg_catalog.string_agg(m.name::pg_catalog.text, ', ' ORDER BY m.name)
          FROM @extschema@.deephash_models AS m WHERE m.sha256 OPERATOR(pg_catalog.=) r.sha256) AS name,
         r.sha256, r.bits, r.memory, r.batch AS batch_size, r.users,
         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
           pg_catalog.make_interval(secs => r.idle_ms OPERATOR(pg_catalog./) 1000.0) AS last_use
  FROM pg_catalog.jsonb_to_recordset(@extschema@.deephash_engine_status() OPERATOR(pg_catalog.->) 'resident')
         AS r(sha256 pg_catalog.text, bits pg_catalog.int4, memory pg_catalog.int8, batch pg_catalog.int4,
              users pg_catalog.int4, idle_ms pg_catalog.int8);
GRANT SELECT ON @extschema@.deephash_service_models TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_service_models IS 'models that the encoder has in memory';
-- Times in milliseconds.
CREATE VIEW @extschema@.deephash_stats AS
  SELECT pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
           pg_catalog.make_interval(secs => s.ms OPERATOR(pg_catalog./) 1000.0) AS since,
         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
           pg_catalog.make_interval(secs => s.uptime_ms OPERATOR(pg_catalog./) 1000.0) AS engine_started, s.restarts,
         s.requests, s.images, s.batches,
         pg_catalog.round(s.images OPERATOR(pg_catalog./) NULLIF(s.batches, 0)::pg_catalog.numeric, 2) AS mean_batch,
         s.largest_batch,
         pg_catalog.round(q.p50 OPERATOR(pg_catalog./) 1000, 3) AS queue_p50, pg_catalog.round(q.p95 OPERATOR(pg_catalog./) 1000, 3) AS queue_p95,
         pg_catalog.round(q.p99 OPERATOR(pg_catalog./) 1000, 3) AS queue_p99,
         pg_catalog.round(d.p50 OPERATOR(pg_catalog./) 1000, 3) AS decode_p50, pg_catalog.round(d.p95 OPERATOR(pg_catalog./) 1000, 3) AS decode_p95,
         pg_catalog.round(d.p99 OPERATOR(pg_catalog./) 1000, 3) AS decode_p99,
         pg_catalog.round(c.p50 OPERATOR(pg_catalog./) 1000, 3) AS compute_p50, pg_catalog.round(c.p95 OPERATOR(pg_catalog./) 1000, 3) AS compute_p95,
         pg_catalog.round(c.p99 OPERATOR(pg_catalog./) 1000, 3) AS compute_p99,
         (SELECT COALESCE(pg_catalog.sum(e.value::pg_catalog.int8), 0)::pg_catalog.int8
          FROM pg_catalog.jsonb_each_text(s.errors) AS e) AS errors,
         s.errors AS errors_by_kind, s.dropped, s.doubtful_bits
  FROM pg_catalog.jsonb_to_record(@extschema@.deephash_engine_status() OPERATOR(pg_catalog.->) 'stats')
         AS s(ms pg_catalog.int8, uptime_ms pg_catalog.int8, restarts pg_catalog.int8, requests pg_catalog.int8, images pg_catalog.int8, batches pg_catalog.int8,
              largest_batch pg_catalog.int4, queue_us pg_catalog.jsonb, decode_us pg_catalog.jsonb,
              compute_us pg_catalog.jsonb, errors pg_catalog.jsonb, dropped pg_catalog.int8, doubtful_bits pg_catalog.int8),
       LATERAL pg_catalog.jsonb_to_record(s.queue_us)
         AS q(p50 pg_catalog.numeric, p95 pg_catalog.numeric, p99 pg_catalog.numeric),
       LATERAL pg_catalog.jsonb_to_record(s.decode_us)
         AS d(p50 pg_catalog.numeric, p95 pg_catalog.numeric, p99 pg_catalog.numeric),
       LATERAL pg_catalog.jsonb_to_record(s.compute_us)
         AS c(p50 pg_catalog.numeric, p95 pg_catalog.numeric, p99 pg_catalog.numeric);
GRANT SELECT ON @extschema@.deephash_stats TO PUBLIC;
COMMENT ON VIEW @extschema@.deephash_stats IS 'what the encoder has done since the last deephash_stats_reset()';
