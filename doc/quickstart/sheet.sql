-- sheet.sql: a page with queries and their ten nearest pictures, complete in
-- itself.  Pictures above 300 kB are left out, so that the page stays light.
\pset footer off
SELECT '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>deephash quick start</title><style>'
	'body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222;background:#fafafa}'
	'h1{font-size:1.5em;margin-bottom:.2em}.row{display:flex;align-items:flex-start;gap:6px;margin:10px 0;overflow-x:auto}'
	'figure{margin:0;text-align:center;font-size:11px;width:80px;flex:none}'
	'img,.none{width:72px;height:72px;object-fit:cover;border:4px solid #bbb;border-radius:6px;background:#eee;display:block;image-rendering:auto}'
	'.right img{border-color:#2a9d4a}.wrong img{border-color:#d1495b}.ask{margin-right:14px}.ask img{border-color:#333}'
	'@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}}'
	'</style></head><body><h1>Queries and their ten nearest pictures</h1><p>Left: a picture that the network and the table have never seen. '
	'Right: its exact nearest neighbours by Hamming distance between 64-bit codes; <b style="color:#2a9d4a">green</b> is the same class, '
	'<b style="color:#d1495b">red</b> another; the number is the distance in bits.</p>';
CREATE FUNCTION pg_temp.html(t text) RETURNS text LANGUAGE sql AS
	$$ SELECT replace(replace(replace(replace(t, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;') $$;
CREATE FUNCTION pg_temp.picture(kind text, jpeg bytea, caption text) RETURNS text LANGUAGE sql AS $$
	SELECT '<figure class="' || kind || '">' || CASE WHEN length(jpeg) <= 300000
		THEN '<img alt="" src="data:image/jpeg;base64,' || translate(encode(jpeg, 'base64'), E'\n', '') || '">'
		ELSE '<div class="none"></div>' END || '<figcaption>' || caption || '</figcaption></figure>' $$;
SELECT '<div class="row">' || pg_temp.picture('ask', q.jpeg, pg_temp.html(q.class)) || string_agg(
	pg_temp.picture(CASE WHEN p.class = q.class THEN 'right' ELSE 'wrong' END, p.jpeg, pg_temp.html(p.class) || '<br>' || p.distance),
	'' ORDER BY p.distance, p.id) || '</div>'
FROM (SELECT *, row_number() OVER (PARTITION BY class ORDER BY id) AS n FROM query ORDER BY n, class LIMIT 30) q,
	LATERAL (SELECT id, class, jpeg, code <~> q.code AS distance FROM photo ORDER BY distance LIMIT 10) p
GROUP BY q.id, q.class, q.jpeg, q.n ORDER BY q.n, q.class;
SELECT '</body></html>';
