-- peer.sql: an approximate index of pgvector over the same codes as bit strings.  Wants
-- variables peer (name of the figures), index (access method, column and options) and
-- bits; codes, queries and truth as queries.sql does.
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS peer_codes AS SELECT code::varbit::bit(:bits) AS code FROM codes;
VACUUM ANALYZE peer_codes;
SELECT timed(:'peer' || '_build', format('CREATE INDEX peer_index ON peer_codes USING %s', :'index')) \g /dev/null
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
SELECT ask(:'peer', format('SELECT ctid FROM peer_codes ORDER BY code <~> q::varbit::bit(%s) LIMIT 10', :'bits')) \g /dev/null
-- Of the ten nearest, how many it finds: rows no farther than the tenth.
SELECT note(:'peer' || '_recall', avg(found / 10.0)) FROM truth JOIN queries q USING (n)
	CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE d <= distances[10]) AS found
		FROM (SELECT code <~> q.code::varbit::bit(:bits) AS d FROM peer_codes ORDER BY code <~> q.code::varbit::bit(:bits) LIMIT 10) s) f \g /dev/null
SELECT note(:'peer' || '_bytes', pg_relation_size('peer_index')::numeric / count(*)) FROM peer_codes \g /dev/null
SELECT timed(:'peer' || '_insert', 'INSERT INTO peer_codes SELECT code FROM peer_codes LIMIT 2000') \g /dev/null
DROP INDEX peer_index;
