-- What the encoder tells of itself: statistics and their reset, resident models, the supervisor.
\set tiny16 `base64 -w0 build/fixtures/tiny16.safetensors`
\set tiny64 `base64 -w0 build/fixtures/tiny64.safetensors`
\set red `base64 -w0 build/fixtures/red.jpg`
SELECT deephash_load_model('m16', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('m64', decode(:'tiny64', 'base64'));
SELECT length(deephash_encode(decode(:'red', 'base64'), 'm64'));

-- after a reset there is nothing; the service's own counts go on
SELECT images AS before FROM deephash_service \gset
SELECT deephash_stats_reset();
SELECT requests, images, batches, mean_batch, largest_batch, queue_p50, decode_p99, compute_p95, errors, errors_by_kind, dropped,
  clock_timestamp() - since < '1 minute' AS recent
FROM deephash_stats;
SELECT images - :before AS since_reset FROM deephash_service;

-- twenty images and three that are none
SELECT count(code), count(error) FROM deephash_encode_set(
  array_cat(array_fill(decode(:'red', 'base64'), ARRAY[20]), array_fill('none'::bytea, ARRAY[3])), 'm64');
SELECT requests, images, batches BETWEEN 1 AND 20 AS batches, mean_batch = round(images / batches::numeric, 2) AS mean,
  largest_batch BETWEEN mean_batch AND 32 AS largest, errors, errors_by_kind, dropped
FROM deephash_stats;
SELECT queue_p50 <= queue_p95 AND queue_p95 <= queue_p99 AS queue,
  0 < decode_p50 AND decode_p50 <= decode_p95 AND decode_p95 <= decode_p99 AS decode,
  0 < compute_p50 AND compute_p50 <= compute_p95 AND compute_p95 <= compute_p99 AS compute
FROM deephash_stats;
SELECT doubtful_bits BETWEEN 0 AND images * 64 AS doubtful FROM deephash_stats;
SELECT images - :before AS since_reset FROM deephash_service;

-- models in memory, by the names of this database
SELECT length(deephash_encode(decode(:'red', 'base64'), 'm16'));
SELECT name, bits, memory > 10000 AS memory, batch_size, users, last_use BETWEEN now() - interval '1 hour' AND clock_timestamp() AS last_use
FROM deephash_service_models WHERE name IS NOT NULL ORDER BY name;
SELECT count(*) = (SELECT models FROM deephash_service) AS all_of_them,
  sum(memory) = (SELECT model_memory FROM deephash_service) AS memory FROM deephash_service_models;
SELECT r.sha256 = m.sha256 AS sha256 FROM deephash_service_models r JOIN deephash_models m USING (name);

-- the service and its supervisor
SELECT "precision" FROM deephash_service;
SELECT state, reason LIKE 'ready on device %' AS reason, device_memory = 1024 * 1024 * 1024::int8 AS device_memory FROM deephash_service;
SELECT state, pid > 0 AS pid, reason LIKE 'ready on device %' AS reason FROM deephash_supervisor();

-- everybody may look, not everybody reset
CREATE ROLE regress_visitor;
SET ROLE regress_visitor;
SELECT requests > 0 AS requests FROM deephash_stats;
SELECT count(name) FROM deephash_service_models;
SELECT state FROM deephash_service;
SELECT deephash_stats_reset();
RESET ROLE;
DROP ROLE regress_visitor;
SHOW deephash.engine_timeout;
SET deephash.engine_timeout = 0;
SELECT deephash_drop_model(name::text) FROM deephash_models;
