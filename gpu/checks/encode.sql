-- Logits and codes of all pictures by all models, into table answer as those of :kind.
INSERT INTO answer
SELECT :'kind', m.model, p.ids[i], ARRAY(SELECT unnest(l[i:i])), c[i]
FROM model AS m,
     LATERAL (SELECT array_agg(id ORDER BY id) AS ids, array_agg(jpeg ORDER BY id) AS jpegs FROM photo GROUP BY id / 64) AS p,
     LATERAL deephash_embed_array(p.jpegs, m.model) AS l,
     LATERAL deephash_encode_array(p.jpegs, m.model) AS c,
     LATERAL generate_subscripts(p.ids, 1) AS i;
