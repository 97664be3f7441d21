-- The answers of the device in each precision beside those of the CPU.  A bit may differ only where the
-- device's logit is within its tolerance of the threshold: factor * sqrt(mean of the squares of the
-- picture's logits + bias), src/nn/tolerance.h.
CREATE TEMP TABLE bit AS
SELECT d.kind, d.model, d.id, u.cpu, u.device, (u.cpu > 0) <> (u.device > 0) AS differs,
       t.factor * sqrt(avg(u.device * u.device) OVER (PARTITION BY d.kind, d.model, d.id) + t.bias) AS near
FROM answer c JOIN answer d USING (model, id) JOIN tolerance t ON t.kind = d.kind AND t.model = d.model,
     LATERAL unnest(c.logits, d.logits) AS u (cpu, device)
WHERE c.kind = 'cpu';

CREATE TEMP TABLE code AS
SELECT d.kind, d.model, sum(c.code <~> d.code) AS differ
FROM answer c JOIN answer d USING (model, id) WHERE c.kind = 'cpu' AND d.kind <> 'cpu' GROUP BY 1, 2;

SELECT kind AS precision, model, count(DISTINCT id) AS pictures, count(*) AS bits, code.differ AS differ,
       count(*) FILTER (WHERE differs) AS by_logits,
       count(*) FILTER (WHERE abs(device) <= near) AS in_doubt,
       count(*) FILTER (WHERE differs AND NOT abs(device) <= near) AS outside,
       round(max(abs(cpu - device) / near)::numeric, 4) AS worst_error,
       round(coalesce(max(abs(device) / near) FILTER (WHERE differs), 0)::numeric, 4) AS worst_differing
FROM bit JOIN code USING (kind, model) GROUP BY kind, model, code.differ ORDER BY kind, model;

\pset tuples_only on
-- A logit that is no number, or further from the CPU's than the tolerance, and an answer that is missing, are
-- outside as well.
SELECT format('verdict: codes: %s differ from the CPU''s of %s bits in each precision, %s outside of the tolerance',
              (SELECT string_agg(kind || ' ' || differ, ', ') FROM (SELECT kind, sum(differ) AS differ FROM code GROUP BY kind ORDER BY kind) AS k),
              count(*) / greatest(count(DISTINCT kind), 1),
              count(*) FILTER (WHERE differs AND NOT abs(device) <= near OR NOT abs(cpu - device) <= near)
                + (SELECT count(*) FROM photo, model, (SELECT kind FROM tolerance UNION SELECT 'cpu') AS k
                   WHERE NOT EXISTS (SELECT FROM answer a WHERE (a.id, a.model, a.kind) = (photo.id, model.model, k.kind) AND code IS NOT NULL)))
FROM bit;
