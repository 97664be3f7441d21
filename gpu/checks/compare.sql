-- The answers of the device beside those of the CPU.  A bit may differ only where the CPU's logit is
-- within :tolerance times the length of the picture's logits (their root mean square).
CREATE TEMP TABLE bit AS
SELECT model, id, c AS cpu, d AS device, (c > 0) <> (d > 0) AS differs,
       sqrt(avg(c * c) OVER (PARTITION BY model, id)) AS rms
FROM answer a JOIN answer b USING (model, id), LATERAL unnest(a.logits, b.logits) AS u (c, d)
WHERE a.kind = 'cpu' AND b.kind = 'device';

SELECT b.model, count(DISTINCT id) AS pictures, count(*) AS bits, count(*) FILTER (WHERE differs) AS differ,
       k.differ AS differ_in_codes,
       count(*) FILTER (WHERE abs(cpu) <= :tolerance * rms) AS within_tolerance,
       count(*) FILTER (WHERE differs AND NOT abs(cpu) <= :tolerance * rms) AS outside,
       round(max(abs(cpu - device) / rms)::numeric, 6) AS worst_error,
       round(coalesce(max(abs(cpu) / rms) FILTER (WHERE differs), 0)::numeric, 6) AS worst_differing
FROM bit b
JOIN (SELECT model, sum(a.code <~> b.code) AS differ FROM answer a JOIN answer b USING (model, id)
      WHERE a.kind = 'cpu' AND b.kind = 'device' GROUP BY model) AS k ON k.model = b.model
GROUP BY b.model, k.differ ORDER BY b.model;

\pset tuples_only on
SELECT format('verdict: codes: %s of %s bits differ from the CPU''s, %s outside of the tolerance of %s',
              (SELECT sum(a.code <~> b.code) FROM answer a JOIN answer b USING (model, id)
               WHERE a.kind = 'cpu' AND b.kind = 'device'), count(*),
              -- a logit that is no number, or an answer that is missing, is outside as well
              count(*) FILTER (WHERE differs AND NOT abs(cpu) <= :tolerance * rms OR NOT abs(cpu - device) < rms * :tolerance)
                + (SELECT count(*) FROM (SELECT 1 FROM answer GROUP BY model, id HAVING count(logits) <> 2 OR count(code) <> 2) AS m), :tolerance)
FROM bit;
